"""What happens to requests when processes end in the middle of a crowd: nothing, to those of anybody else."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.raw import RawConnection
from tests.support.server import ServerProcess, wait_until

INTERFACES = {"asgi": "tests.apps.wire_asgi:app", "wsgi": "tests.apps.wire_wsgi:app"}


@pytest.fixture(params=INTERFACES)
def app(request: pytest.FixtureRequest) -> str:
    return INTERFACES[request.param]


class Crowd:
    """Clients on keep-alive connections of their own, each asking for `/pid` until it ends or is told to."""

    def __init__(self, address: tuple[str, int] | str, count: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._clients = [RawConnection(address) for _ in range(count)]
        self.pids = [int(client.get("/pid").body) for client in self._clients]
        self.failed_pids: list[int] = []
        pairs = zip(self._clients, self.pids, strict=True)
        self._threads = [threading.Thread(target=self._run, args=pair) for pair in pairs]

    def close(self) -> None:
        """For a crowd that was never started."""
        for client in self._clients:
            client.close()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _run(self, client: RawConnection, pid: int) -> None:
        outcome = "told to end"
        with client:
            while not self.ended.is_set():
                try:
                    response = client.get("/pid")
                except (OSError, EOFError) as error:
                    outcome = type(error).__name__
                    self.failed_pids.append(pid)
                    break
                assert int(response.body) == pid
                with self._lock:
                    self.answers[pid] += 1
                if response.header("connection") == "close":
                    outcome = "said close"
                    break
        with self._lock:
            self.outcomes[outcome] += 1


def wrk(address: tuple[str, int], seconds: int) -> subprocess.Popen[bytes] | None:
    """64 connections of load beside the clients that count; none on a machine without wrk."""
    if shutil.which("wrk") is None:
        return None
    url = f"http://{address[0]}:{address[1]}/"
    return subprocess.Popen(["wrk", "-c64", "-t1", f"-d{seconds}s", url], stdout=subprocess.DEVNULL)


def test_term_under_load_answers_every_accepted_request(app: str, tmp_path: Path) -> None:
    path = tmp_path / "ferrule.sock"
    options = ["--workers", "2", "--max-requests", "0", "--no-access-log", "--bind", "127.0.0.1:0"]
    with ServerProcess(*options, "--bind", f"unix:{path}", app) as server:
        crowds = [Crowd(server.address, 12), Crowd(str(path), 4)]
        load = wrk(server.address, 2)
        try:
            for crowd in crowds:
                crowd.start()
            time.sleep(0.7)
            assert server.stop() == 0
        finally:
            for crowd in crowds:
                crowd.ended.set()
                crowd.join()
            if load is not None:
                load.terminate()
                load.wait()
        # Each connection had its last request answered, and was told that it was the last.
        assert [crowd.outcomes for crowd in crowds] == [{"said close": 12}, {"said close": 4}]
        assert not server.survivors()
        assert not path.exists()


def test_a_killed_worker_is_replaced_and_the_other_does_not_notice(app: str) -> None:
    options = ["--workers", "2", "--max-requests", "0", "--no-access-log"]
    with ServerProcess(*options, app) as server:
        wait_until(lambda: server.stderr.count("Worker ready") == 2, message="two workers")
        crowd = Crowd(server.address, 16)
        tries = 0
        while len(set(crowd.pids)) < 2 and tries < 20:  # which worker takes a connection is chance
            tries += 1
            crowd.close()
            crowd = Crowd(server.address, 16)
        victim, other = sorted(set(crowd.pids))
        load = wrk(server.address, 3)
        try:
            crowd.start()
            time.sleep(0.5)
            killed = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: server.stderr.count("Worker ready") == 3, message="a replacement that is ready")
            replaced = time.monotonic() - killed
            before = crowd.answers[other]
            wait_until(lambda: crowd.answers[other] > before + 20, message="answers of the other worker")
        finally:
            crowd.ended.set()
            crowd.join()
            if load is not None:
                load.terminate()
                load.wait()
        # A second, and what importing the application took: on a busy machine that is not our doing.
        boot = int(server.wait_for_log(r"boot_ms=(\d+)", count=3)[1]) / 1000
        assert replaced < 1 + boot, f"{replaced:.2f} s, {boot:.2f} s of them to boot"
        assert set(crowd.failed_pids) == {victim}
        assert crowd.outcomes["told to end"] == crowd.pids.count(other)
        workers = server.workers()
        assert len(workers) == 2
        assert victim not in workers
        assert other in workers
        assert server.stop() == 0
        assert not server.survivors()


def test_out_of_descriptors_a_worker_waits_instead_of_spinning(app: str) -> None:
    """Clients beyond the limit stay in the queue of the kernel, and are served once others have left."""
    limit = ["bash", "-c", 'ulimit -n 48; exec "$@"', "--"]
    with ServerProcess("--workers", "1", "--no-access-log", app, prefix=limit) as server:
        clients = [server.connect() for _ in range(60)]
        server.wait_for_log("Cannot accept a connection")
        before, lines = server.cpu().total, server.stderr.count("\n")
        time.sleep(1.0)
        assert server.cpu().total - before < 0.3
        assert server.stderr.count("\n") - lines < 30
        for client in clients[:30]:
            client.close()
        for client in clients[30:]:
            with client:
                assert client.get("/").status == 200
