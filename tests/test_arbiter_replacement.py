"""Replacing workers under load, for every cause: no request is lost."""

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.gauges import Gauges
from tests.support.load import Load
from tests.support.server import REPOSITORY, ServerProcess, wait_until

MIXED = ("/", "/", "/slow", "/", "/stream")
Serve = Callable[..., ServerProcess]
APPS = pytest.mark.parametrize("app", ["tests.apps.process:asgi", "tests.apps.process:wsgi"])


def pids(server: ServerProcess) -> set[int]:
    return set(server.workers())


@APPS
def test_hup_again_and_again_loses_nothing(serve: Serve, app: str) -> None:
    server = serve("-w", "2", app)
    server.wait_for_log("Worker ready", count=2)
    with Load(server.address, MIXED) as load:
        for turn in range(1, 11):
            before = pids(server)
            server.send_signal(signal.SIGHUP)
            server.wait_for_log("cause=reload exit=0", count=2 * turn, timeout=30)
            assert pids(server).isdisjoint(before)
    assert load.failures == []
    assert load.total > 100


@APPS
def test_recycling_by_requests_loses_nothing(serve: Serve, app: str) -> None:
    limits = ("--max-requests", "50", "--max-requests-jitter", "10", "--min-worker-lifetime", "0")
    server = serve("-w", "2", *limits, app)
    server.wait_for_log("Worker ready", count=2)
    gauges = Gauges(server)
    least = gauges.ready()
    with Load(server.address, MIXED) as load:
        while server.stderr.count("cause=max-requests exit=0") < 6:
            least = min(least, gauges.ready())
            assert load.total < 5000, "workers that are not recycled"
    assert load.failures == []
    assert least == 2
    points = [int(number) for number in re.findall(r"cause=max-requests requests=(\d+)", server.stderr)]
    assert min(points) >= 40
    assert len(pids(server)) >= 2


def test_scaling_up_and_down_loses_nothing(serve: Serve) -> None:
    server = serve("-w", "2", "tests.apps.process:asgi")
    server.wait_for_log("Worker ready", count=2)
    with Load(server.address, MIXED) as load:
        server.send_signal(signal.SIGTTIN)
        server.wait_for_log("Worker ready", count=3)
        for turn in (1, 2):
            server.send_signal(signal.SIGTTOU)
            server.wait_for_log('cause="scaled down" exit=0', count=turn, timeout=30)
    assert load.failures == []
    assert len(pids(server)) == 1
    server.send_signal(signal.SIGTTOU)
    server.wait_for_log("Number of workers stays")
    assert len(pids(server)) == 1


def test_recycling_by_memory_replaces_the_worker_that_grew(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "web.py").write_text(
        "from tests.apps.process import wsgi\n"
        "hoard = []\n"
        "def app(environ, start_response):\n"
        "    hoard.append(bytearray(b'x') * (4 << 20))\n"
        "    return wsgi(environ, start_response)\n"
    )
    limits = ("--max-worker-memory", "100", "--min-worker-lifetime", "0")
    server = serve("-w", "2", *limits, "web:app", cwd=tmp_path, env={"PYTHONPATH": str(REPOSITORY)})
    server.wait_for_log("Worker ready", count=2)
    with Load(server.address, MIXED) as load:
        server.wait_for_log("cause=max-worker-memory exit=0", count=3, timeout=40)
    assert load.failures == []


def test_recycling_by_age_replaces_one_after_the_other(serve: Serve) -> None:
    server = serve("-w", "2", "--worker-lifetime", "1", "--min-worker-lifetime", "0", "tests.apps.process:wsgi")
    server.wait_for_log("cause=worker-lifetime exit=0", count=2, timeout=30)


def test_a_killed_idle_worker_costs_no_request_and_is_replaced_within_a_second(serve: Serve) -> None:
    server = serve("-w", "2", "tests.apps.process:wsgi")
    server.wait_for_log("Worker ready", count=2)
    victim = server.workers()[0]
    killed = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    server.wait_for_log("Worker ready", count=3)
    replaced = time.monotonic() - killed
    # What importing the application takes is not our doing on a busy machine.
    boot = int(server.wait_for_log(r"boot_ms=(\d+)", count=3)[1]) / 1000
    assert replaced < 1 + boot, f"{replaced:.2f} s, {boot:.2f} s of them to boot"
    server.wait_for_log(rf"Worker died pid={victim} .*signal=SIGKILL in_flight=0")
    assert victim not in pids(server)
    assert len(pids(server)) == 2


def test_a_worker_that_is_told_to_stop_by_others_drains_and_is_no_crash(serve: Serve) -> None:
    server = serve("-w", "2", "tests.apps.process:asgi")
    server.wait_for_log("Worker ready", count=2)
    with Load(server.address, MIXED) as load:
        victim = server.workers()[0]
        os.kill(victim, signal.SIGTERM)
        server.wait_for_log(rf"Worker left pid={victim} .*exit=0", timeout=30)
        server.wait_for_log("Worker ready", count=3)
    assert load.failures == []
    assert "Worker died" not in server.stderr


@pytest.mark.parametrize(("app", "stuck_in", "idle"), [("asgi", 1, 0), ("wsgi", 2, 1)], ids=["asgi", "wsgi"])
def test_a_stuck_worker_is_replaced_with_its_tracebacks_in_the_log(
    serve: Serve, app: str, stuck_in: int, idle: int
) -> None:
    """`stuck_in` requests are what it takes: one that blocks the loop, or one for each thread. The log has `idle` more
    threads at least: a WSGI worker's main thread."""
    server = serve("-w", "1", "--timeout", "1.5", "--threads", "2", f"tests.apps.process:{app}")
    server.wait_for_log("Worker ready")
    stuck = server.workers()[0]
    with ExitStack() as clients:
        for _ in range(stuck_in):
            client = clients.enter_context(server.connect())
            client.send(b"GET /block?it=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        server.wait_for_log("Worker ready", count=2)
        server.wait_for_log(rf"Worker left pid={stuck} .*cause=timeout signal=SIGKILL")
    assert f"Worker is stuck, tracebacks follow pid={stuck}" in server.stderr
    named = re.findall(rf'Request in flight pid={stuck} request="GET /block\?it=1" age_s=[1-9]', server.stderr)
    assert len(named) == stuck_in
    assert len(re.findall(rf'process.py", line \d+ in {app}', server.stderr)) == stuck_in
    assert server.stderr.count("most recent call first") >= stuck_in + idle
    with server.connect() as client:
        assert client.get("/").status == 200


def test_one_stuck_thread_of_several_is_not_a_stuck_worker(serve: Serve) -> None:
    server = serve("-w", "1", "--timeout", "3", "--graceful-timeout", "1", "tests.apps.process:wsgi")
    server.wait_for_log("Worker ready")
    with server.connect() as client:
        client.send(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
        with Load(server.address, clients=2) as load:
            time.sleep(4.5)
    assert load.failures == []
    assert "stuck" not in server.stderr


def test_a_crash_loop_backs_off(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "web.py").write_text(
        "import os, threading\n"
        "threading.Timer(0.1, lambda: os._exit(7)).start()\n"
        "def app(environ, start_response): return []\n"
    )
    server = serve("-w", "1", "web:app", cwd=tmp_path, ready=False)
    server.wait_for_log("Worker died .*exit=7", count=5, timeout=30)
    before = server.stderr.count("Worker died")
    time.sleep(1.5)
    assert server.stderr.count("Worker died") - before <= 1
    wait_until(lambda: server.running, message="an arbiter that survives")


def test_a_reload_that_cannot_start_leaves_the_old_workers_serving(serve: Serve, tmp_path: Path) -> None:
    good = (
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', '1')])\n"
        "    return [b'%s']\n"
    )
    (tmp_path / "web.py").write_text(good % "1")
    config = tmp_path / "c.py"
    config.write_text("")
    server = serve("-c", "c.py", "-w", "2", "web:app", cwd=tmp_path)
    server.wait_for_log("Worker ready", count=2)
    with Load(server.address) as load:
        (tmp_path / "web.py").write_text("import nothing_like_this\n")
        server.send_signal(signal.SIGHUP)
        server.wait_for_log("Reload failed, the old workers go on")
        assert "ModuleNotFoundError: No module named 'nothing_like_this'" in server.stderr
        config.write_text("workers = [\n")
        server.send_signal(signal.SIGHUP)
        server.wait_for_log(r"Reload failed, the old workers go on reason=.c\.py: line 1: ")
        # What goes on in a Python file is its author's; it must not take the server with it.
        config.write_text("import sys\nsys.exit('no database')\n")
        server.send_signal(signal.SIGHUP)
        server.wait_for_log("Reload failed, the old workers go on reason=.*SystemExit: no database")
        config.write_text("")
        (tmp_path / "web.py").write_text(good % "2")
        server.send_signal(signal.SIGHUP)
        server.wait_for_log("cause=reload exit=0", count=2, timeout=30)
        wait_until(lambda: load.served["2"] > 10, message="answers of the new code")
    assert load.failures == []
    assert set(load.served) == {"1", "2"}
