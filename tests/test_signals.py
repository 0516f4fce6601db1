"""Every signal an operator may send, to real servers with real work."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.gauges import wait_in_flight
from tests.support.load import Load
from tests.support.server import ServerProcess, wait_until

Serve = Callable[..., ServerProcess]
APPS = pytest.mark.parametrize("app", ["tests.apps.process:asgi", "tests.apps.process:wsgi"])
MIXED = ("/", "/", "/slow", "/", "/stream")
SCRIPT = Path(sys.executable).with_name("server")  # the console script
REQUEST = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


def ready(serve: Serve, *arguments: str, workers: int = 2, **options: object) -> ServerProcess:
    server = serve("-w", str(workers), *arguments, **options)
    server.wait_for_log("Worker ready", count=workers)
    return server


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def has_open(pid: int, path: Path) -> bool:
    """Whether a process has the file of that name open: not one that was renamed since."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(descriptor) == str(path):
                return True
        except FileNotFoundError:
            continue  # closed meanwhile
    return False


@APPS
def test_term_answers_what_is_in_flight_then_ends_with_0(serve: Serve, app: str) -> None:
    server = ready(serve, app)
    clients = [server.connect() for _ in range(4)]
    for client in clients:
        client.send(REQUEST % b"/until-draining")
    wait_in_flight(server, 4)
    server.send_signal(signal.SIGTERM)
    for client in clients:
        response = client.read_response()
        assert response.status == 200
        assert response.header("connection") == "close"
        client.close()
    assert server.wait() == 0


def test_term_runs_the_lifespan_shutdown_after_the_last_request(serve: Serve) -> None:
    server = ready(serve, "tests.apps.process:asgi", workers=1)
    with server.connect() as client:
        client.send(REQUEST % b"/until-draining")
        wait_in_flight(server, 1)
        server.send_signal(signal.SIGTERM)
        assert client.read_response().status == 200
    assert server.wait() == 0
    assert server.stderr.index("waited until draining") < server.stderr.index("lifespan.shutdown")


@APPS
def test_the_graceful_timeout_cuts_off_what_never_ends(serve: Serve, app: str) -> None:
    path = b"/hang" if app.endswith(":asgi") else b"/block"
    server = ready(serve, "--graceful-timeout", "1", app, workers=1)
    with server.connect() as client:
        client.send(REQUEST % path)
        wait_in_flight(server, 1)
        began = time.monotonic()
        assert server.stop() == 0
        assert 0.9 < time.monotonic() - began < 10  # instead of 30
    assert "Requests cut off at the end of the grace worker=1 in_flight=1" in server.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
@APPS
def test_int_and_quit_do_not_wait_for_requests(serve: Serve, app: str, number: signal.Signals) -> None:
    server = ready(serve, app)
    with server.connect() as client:
        client.send(REQUEST % (b"/hang" if app.endswith(":asgi") else b"/block"))
        wait_in_flight(server, 1)
        began = time.monotonic()
        assert server.stop(number) == 0
        assert time.monotonic() - began < 10  # instead of 30


def test_a_second_int_ends_at_once(serve: Serve) -> None:
    server = ready(serve, "tests.apps.process:asgi")
    with server.connect() as client:
        client.send(REQUEST % b"/block")  # the loop itself: a quick stop has to wait until it is killed
        wait_in_flight(server, 1)
        server.send_signal(signal.SIGINT)
        server.wait_for_log("Stopping quickly")
        began = time.monotonic()
        server.send_signal(signal.SIGINT)
        assert server.wait() == 0
        assert time.monotonic() - began < 2.5  # instead of 3: the grace of a quick stop, and what kills after it


def test_an_interrupt_of_the_whole_terminal_is_one_quick_stop(serve: Serve) -> None:
    server = ready(serve, "tests.apps.process:asgi")
    os.killpg(server.pid, signal.SIGINT)
    assert server.wait() == 0
    assert "Traceback" not in server.stderr


@APPS
def test_workers_do_not_outlive_a_killed_arbiter(serve: Serve, app: str) -> None:
    server = ready(serve, app)
    workers = server.workers()
    with server.connect() as client:
        client.send(REQUEST % (b"/hang" if app.endswith(":asgi") else b"/block"))
        wait_in_flight(server, 1)
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        wait_until(lambda: not any(alive(pid) for pid in workers), message="workers to leave")


def test_a_worker_with_a_blocked_loop_does_not_outlive_a_killed_arbiter(serve: Serve) -> None:
    server = ready(serve, "tests.apps.process:asgi", workers=1)
    workers = server.workers()
    with server.connect() as client:
        client.send(REQUEST % b"/block")
        wait_in_flight(server, 1)
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        wait_until(lambda: not any(alive(pid) for pid in workers), message="workers to leave")


@APPS
def test_stop_under_load_leaves_nothing_behind(serve: Serve, tmp_path: Path, app: str) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    path = tmp_path / "s"
    server = serve(
        "-w", "2", "-b", "127.0.0.1:0", "-b", f"unix:{path}", app,
        env={"XDG_RUNTIME_DIR": str(runtime)},
    )  # fmt: skip
    server.wait_for_log("Worker ready", count=2)
    assert path.exists()
    wait_until((runtime / "ferrule" / str(server.pid) / "server.json").exists, message="server.json")
    assert (runtime / "ferrule" / str(server.pid)).stat().st_mode & 0o777 == 0o700
    with Load(server.address, MIXED) as load:
        wait_until(lambda: load.total > 20, message="load")
        assert server.stop() == 0
        load.end()
    assert not path.exists()
    assert os.listdir(runtime / "ferrule") == []
    assert server.survivors() == []


def test_usr1_reopens_rotated_logs_in_every_process(serve: Serve, tmp_path: Path) -> None:
    log, access = tmp_path / "log", tmp_path / "access"
    config = ("--log-file", str(log), "--access-log-file", str(access))
    socket_path = tmp_path / "s"
    server = serve(*config, "-w", "2", "-b", f"unix:{socket_path}", "tests.apps.process:wsgi", ready=False)
    wait_until(lambda: log.exists() and log.read_text().count("Worker ready") == 2, message="two workers")
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_path)), timeout=30) as client:
        assert client.get("http://x/before").status_code == 200
        wait_until(lambda: "/before" in access.read_text(), message="the access line")
        log.rename(tmp_path / "log.1")
        access.rename(tmp_path / "access.1")
        server.send_signal(signal.SIGUSR1)
        wait_until(lambda: log.exists() and access.exists(), message="fresh files")
        # Workers are told after the arbiter has reopened.
        wait_until(lambda: all(has_open(pid, access) for pid in server.workers()), message="workers to reopen")
        for number in range(20):
            assert client.get(f"http://x/after{number}", headers={"connection": "close"}).status_code == 200
        wait_until(lambda: access.read_text().count("/after") == 20, message="access lines in the fresh file")
    assert "/after" not in (tmp_path / "access.1").read_text()
    assert server.stop() == 0
    assert "Stopped" in log.read_text()


@pytest.fixture
def upgraded(serve: Serve, tmp_path: Path) -> Iterator[tuple[ServerProcess, int, Path]]:
    """A server that has been sent USR2 and whose successor is ready: (old server, new pid, socket file)."""
    path = tmp_path / "s"
    pid_file = tmp_path / "pid"
    server = serve("-w", "2", "-b", "127.0.0.1:0", "-b", f"unix:{path}", "-p", str(pid_file), "tests.apps.process:asgi")
    server.wait_for_log("Worker ready", count=2)
    server.send_signal(signal.SIGUSR2)
    new = int(server.wait_for_log(r"New generation is ready pid=(\d+)", timeout=20)[1])
    yield server, new, path
    if alive(new):
        os.kill(new, signal.SIGTERM)
        wait_until(lambda: not alive(new), message="the new generation to end")


@APPS
@pytest.mark.parametrize("program", [(sys.executable, "-m", "ferrule"), (str(SCRIPT),)], ids=["module", "script"])
def test_an_upgrade_under_load_loses_nothing_and_the_new_generation_takes_over(
    serve: Serve, tmp_path: Path, app: str, program: tuple[str, ...]
) -> None:
    path, pid_file = tmp_path / "s", tmp_path / "pid"
    binds = ("-b", "127.0.0.1:0", "-b", f"unix:{path}")
    server = ready(serve, *binds, "-p", str(pid_file), app, program=program)
    with Load(server.address, MIXED) as load:
        server.send_signal(signal.SIGUSR2)
        new = int(server.wait_for_log(r"New generation is ready pid=(\d+)", timeout=20)[1])
        assert pid_file.read_text() == f"{new}\n"
        assert (tmp_path / "pid.oldbin").read_text() == f"{server.pid}\n"
        time.sleep(0.3)  # both generations serve
        assert server.stop() == 0
        served = load.total
        wait_until(lambda: load.total > served + 20, message="requests served by the new generation")
    assert load.failures == []
    assert path.exists()
    assert not (tmp_path / "pid.oldbin").exists()
    os.kill(new, signal.SIGTERM)
    wait_until(lambda: not alive(new), message="the new generation to end")
    assert not path.exists()  # the last generation tidies up
    assert not pid_file.exists()


def test_an_upgrade_can_be_taken_back(upgraded: tuple[ServerProcess, int, Path], tmp_path: Path) -> None:
    server, new, path = upgraded
    os.kill(new, signal.SIGTERM)
    server.wait_for_log("New generation ended, this one goes on")
    assert path.exists()
    assert (tmp_path / "pid").read_text() == f"{server.pid}\n"
    assert httpx.get(server.url, timeout=30).status_code == 200
    assert server.stop() == 0
    assert not path.exists()


def test_a_second_upgrade_beside_a_running_one_is_refused(upgraded: tuple[ServerProcess, int, Path]) -> None:
    server, new, _ = upgraded
    server.send_signal(signal.SIGUSR2)
    server.wait_for_log(rf"Upgrade refused: a new generation runs already pid={new}")


def test_winch_to_a_daemon_retires_the_workers_and_keeps_the_arbiter(tmp_path: Path) -> None:
    log, pid_file = tmp_path / "log", tmp_path / "pid"
    command = [sys.executable, "-m", "ferrule", "-D", "-w", "2", "-b", "127.0.0.1:0", "--log-file", str(log)]
    started = subprocess.run([*command, "-p", str(pid_file), "tests.apps.process:asgi"], timeout=20, check=False)
    assert started.returncode == 0
    pid = int(pid_file.read_text())  # ready means written
    try:
        wait_until(lambda: log.read_text().count("Worker ready") == 2, message="two workers")
        assert os.getsid(pid) != os.getsid(0)
        os.kill(pid, signal.SIGWINCH)
        wait_until(lambda: log.read_text().count("Worker left") == 2, message="no workers")
        assert alive(pid)
        os.kill(pid, signal.SIGHUP)
        wait_until(lambda: log.read_text().count("Worker ready") == 4, message="workers again")
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not alive(pid), message="the daemon to end")
    assert not pid_file.exists()


@APPS
def test_whoever_reads_the_output_of_a_daemons_start_is_let_go(tmp_path: Path, app: str) -> None:
    pid_file = tmp_path / "pid"
    command = [sys.executable, "-m", "ferrule", "-D", "-w", "2", "-b", "127.0.0.1:0", "-p", str(pid_file), app]
    try:
        started = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # to the end of both
        assert started.returncode == 0
        assert "Without --log-file nobody will see the log" in started.stderr
        assert "Ready" in started.stderr
    finally:
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not alive(pid), message="the daemon to end")


def test_a_daemon_that_cannot_start_says_so_to_its_caller(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ferrule", "-D", "-w", "1", "-b", "127.0.0.1:0", "nothing.such:app"]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, cwd=tmp_path)
    assert failed.returncode == 3
    assert "no module named nothing" in failed.stderr


PRELOADED = """
import sys, time
sys.stderr.write("importing\\n")
time.sleep({seconds})
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"hi"]
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_still_starts_stops_tidily(serve: Serve, tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "web.py").write_text(PRELOADED.format(seconds=3600))
    server = serve("--preload", "-b", "unix:s", "-p", "pid", "web:app", cwd=tmp_path, ready=False)
    server.wait_for_log("importing")
    assert (tmp_path / "s").exists()
    assert (tmp_path / "pid").exists()
    assert server.stop(number) == 0
    assert f"Stopped before it served by={number.name}" in server.stderr
    assert "Traceback" not in server.stderr
    assert not (tmp_path / "s").exists()
    assert not (tmp_path / "pid").exists()


def test_a_reload_while_the_server_still_starts_is_done_afterwards(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "web.py").write_text(PRELOADED.format(seconds=1))
    server = serve("--preload", "-w", "1", "web:app", cwd=tmp_path, ready=False)
    server.wait_for_log("importing")
    server.send_signal(signal.SIGHUP)
    server.wait_for_log("Reloading signal=SIGHUP")
    server.wait_for_log("Worker ready")
    assert httpx.get(server.url, timeout=30).text == "hi"
