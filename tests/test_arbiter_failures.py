"""What the arbiter and its helpers do when the machine, or a part of the server, fails: those who serve go on serving,
nobody is left behind, and nothing spins."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from benchmarks.accounting import process_stat
from tests.support.gauges import wait_in_flight
from tests.support.raw import RawConnection
from tests.support.server import ServerProcess, wait_until

Serve = Callable[..., ServerProcess]
PROCESS_APPS = pytest.mark.parametrize("app", ["tests.apps.process:asgi", "tests.apps.process:wsgi"])

HELLO = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"hi"]
"""


def killed_arbiter(server: ServerProcess) -> None:
    """SIGKILL it, and wait until nobody of its session is left."""
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    wait_until(lambda: not server.survivors(), timeout=20, message="everybody to leave")


def is_idle(pid: int) -> bool:
    """Whether a process uses next to no CPU: less than a fifth of one over half a second."""

    def used() -> float:
        stat = process_stat(pid)
        assert stat is not None
        return stat.user + stat.system

    before = used()
    time.sleep(0.5)
    return used() - before < 0.1


@PROCESS_APPS
def test_a_worker_whose_application_keeps_the_gil_does_not_outlive_the_arbiter(serve: Serve, app: str) -> None:
    server = serve("-w", "1", app)
    server.wait_for_log("Worker ready")
    with server.connect() as client:
        client.send(b"GET /gil HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_in_flight(server, 1)
        killed_arbiter(server)


def test_a_worker_that_still_boots_does_not_outlive_the_arbiter(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "web.py").write_text("import sys, time\nsys.stderr.write('importing\\n')\ntime.sleep(3600)\n")
    server = serve("-w", "1", "web:app", cwd=tmp_path)
    server.wait_for_log("importing")
    killed_arbiter(server)


# Ways to stay for ever once the worker is to leave: in ASGI's shutdown, with a thread, at the interpreter's end.
STAYING = """
import asyncio, atexit, sys, threading, time
def stay():
    sys.stderr.write("staying\\n")
    time.sleep(3600)
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if KIND == "shutdown":
            sys.stderr.write("staying\\n")
            await asyncio.sleep(3600)
        if KIND == "executor":
            asyncio.get_running_loop().run_in_executor(None, stay)
        if KIND == "atexit":
            atexit.register(stay)
        if KIND == "thread":
            threading.Thread(target=stay).start()
        await send({"type": "lifespan.shutdown.complete"})
"""


@pytest.mark.parametrize("kind", ["shutdown", "executor", "atexit", "thread"])
def test_a_worker_that_hangs_in_its_end_does_not_outlive_the_arbiter(serve: Serve, tmp_path: Path, kind: str) -> None:
    (tmp_path / "web.py").write_text(f"KIND = {kind!r}\n{STAYING}")
    server = serve("-w", "1", "web:app", cwd=tmp_path)
    server.wait_for_log("Worker ready")
    killed_arbiter(server)
    assert "staying" in server.stderr


def test_without_an_arbiter_idle_connections_are_not_kept_beside_busy_ones(serve: Serve) -> None:
    server = serve("-w", "1", "tests.apps.process:asgi")
    server.wait_for_log("Worker ready")
    with server.connect() as idle, server.connect() as busy:
        assert idle.get().status == 200
        busy.send(b"GET /until-draining HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_in_flight(server, 1)
        os.kill(server.pid, signal.SIGKILL)
        assert busy.read_response().status == 200  # a tenth of a second after draining began
        idle.socket.settimeout(0.2)
        assert idle.socket.recv(1) == b""
    server.wait()
    wait_until(lambda: not server.survivors(), message="everybody to leave")


def test_with_reload_nobody_outlives_the_arbiter(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "web.py").write_text(HELLO)
    server = serve("--reload", "web:app", cwd=tmp_path)
    server.wait_for_log("Worker ready")
    assert len(server.workers()) == 2, "a worker and what watches the files"
    killed_arbiter(server)


def test_the_end_of_what_watches_the_files_is_told_and_costs_nothing_else(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "web.py").write_text(HELLO)
    server = serve("--reload", "web:app", cwd=tmp_path)
    server.wait_for_log("Worker ready")
    worker = int(server.wait_for_log(r"Worker ready pid=(\d+)")[1])
    (watcher,) = set(server.workers()) - {worker}
    os.kill(watcher, signal.SIGKILL)
    server.wait_for_log(r"\[ERROR\] Files are not watched any more")
    assert is_idle(server.pid)
    assert httpx.get(server.url, timeout=30).text == "hi"


def test_a_fork_that_fails_costs_no_worker_that_serves(serve: Serve) -> None:
    server = serve("-w", "2", "tests.apps.process:wsgi")
    server.wait_for_log("Worker ready", count=2)
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, hard))
    victim, survivor = server.workers()
    os.kill(victim, signal.SIGKILL)
    server.wait_for_log(r"\[ERROR\] Worker cannot be started worker=3 reason=")
    for number in (signal.SIGHUP, signal.SIGUSR2):
        server.send_signal(number)
    server.wait_for_log("Upgrade failed, this generation goes on")
    assert httpx.get(server.url, timeout=30).text == str(survivor)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (hard, hard))
    server.wait_for_log("Worker ready", count=3, timeout=20)
    assert survivor in server.workers() or "cause=reload" in server.stderr


def test_the_old_generation_idles_once_the_new_one_has_other_workers(serve: Serve) -> None:
    server = serve("-w", "1", "tests.apps.process:wsgi")
    server.wait_for_log("Worker ready")
    server.send_signal(signal.SIGUSR2)
    new = int(server.wait_for_log(r"New generation is ready pid=(\d+)", timeout=20)[1])
    os.kill(new, signal.SIGHUP)  # the workers of its start leave
    server.wait_for_log("Worker left .*cause=reload", timeout=20)
    assert is_idle(server.pid)
    os.kill(new, signal.SIGTERM)
    server.wait_for_log("New generation ended, this one goes on")


def test_a_reload_that_fails_half_way_listens_nowhere_else(serve: Serve, tmp_path: Path) -> None:
    config = tmp_path / "conf.toml"
    config.write_text(f"app = 'tests.apps.process:wsgi'\nbind = ['unix:{tmp_path}/a']\nworkers = 1\n")
    server = serve("-c", str(config), default_bind=False)
    server.wait_for_log("Worker ready")
    missing = tmp_path / "none" / "log"
    config.write_text(f"{config.read_text()}access-log-file = '{missing}'\n".replace("/a'", "/b'"))
    server.send_signal(signal.SIGHUP)
    server.wait_for_log("Reload failed, the old workers go on .*access-log-file")
    assert not (tmp_path / "b").exists()
    with RawConnection(str(tmp_path / "a")) as client:
        assert client.get().status == 200


def test_without_a_recycle_grace_a_retired_worker_finishes_whatever_it_has(serve: Serve) -> None:
    limits = ("--max-requests", "1", "--min-worker-lifetime", "0", "--recycle-grace", "0", "--graceful-timeout", "1")
    server = serve("-w", "1", *limits, "tests.apps.process:asgi")
    server.wait_for_log("Worker ready")
    with server.connect() as client:
        assert client.get("/long").body == b"." * 125  # over 2.5 s


def test_a_daemon_whose_starter_has_gone_serves(tmp_path: Path) -> None:
    (tmp_path / "web.py").write_text(
        f"import time\nwhile not __import__('os').path.exists('go'): time.sleep(0.01)\n{HELLO}"
    )
    command = [
        sys.executable,
        "-m",
        "ferrule",
        "-D",
        "-w",
        "1",
        "-b",
        f"unix:{tmp_path}/s",
        "-p",
        "pid",
        "--log-file",
        "log",
    ]
    starter = subprocess.Popen([*command, "web:app"], cwd=tmp_path, stdin=subprocess.DEVNULL)
    pid_file, log = tmp_path / "pid", tmp_path / "log"
    wait_until(pid_file.exists, message="a daemon")
    pid = int(pid_file.read_text())
    try:
        starter.kill()
        starter.wait()
        (tmp_path / "go").touch()
        wait_until(lambda: "Ready" in log.read_text(), message="a worker")
        with RawConnection(str(tmp_path / "s")) as client:
            assert client.get().body == b"hi"
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not pid_file.exists(), message="the daemon to end")
    assert "failed" not in log.read_text()


def test_reloads_leak_no_descriptors(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "log"
    files = ("--log-file", str(log), "--access-log-file", str(tmp_path / "access"))
    server = serve("-w", "1", *files, "-b", f"unix:{tmp_path}/s", "tests.apps.process:wsgi", ready=False)

    def reloaded(turn: int) -> int:

        wait_until(lambda: log.read_text().count("cause=reload") >= 2 * turn, message="a reload")  # retired, and left
        return len(os.listdir(f"/proc/{server.pid}/fd"))

    wait_until(lambda: log.exists() and "Worker ready" in log.read_text(), message="a worker")
    server.send_signal(signal.SIGHUP)
    first = reloaded(1)
    for turn in range(2, 6):
        server.send_signal(signal.SIGHUP)
        last = reloaded(turn)
    assert last == first
