"""The access log's file through reloads: what the arbiter opens it closes, and nobody writes to what it has closed."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.gauges import wait_in_flight
from tests.support.server import ServerProcess, run_to_exit, wait_until

Serve = Callable[..., ServerProcess]
APP = "tests.apps.process:wsgi"


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process are, without what a moment opens and closes."""
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(os.readlink(entry))
        except FileNotFoundError:
            continue
    return links


def settled(pid: int) -> int:
    """How many they are once the start is done with those that it needed."""
    before = -1
    while (count := len(open_files(pid))) != before:
        before = count
        time.sleep(0.3)
    return count


def reloaded(server: ServerProcess, config: Path, text: str, times: int) -> None:
    """Have the server read `text` as its configuration, and wait until the only worker is the new one."""
    config.write_text(f"workers = 1\n{text}\n")
    server.send_signal(signal.SIGHUP)
    server.wait_for_log("Worker ready", count=1 + times, timeout=30)
    server.wait_for_log("Worker left", count=times, timeout=30)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "server.toml"


@pytest.mark.parametrize(
    "others",
    [
        ("access-log-file = 'b'",),
        ("",),
        ("access-log = false", "access-log-file = 'b'"),
    ],
    ids=["another file", "no file", "switched off"],
)
def test_reloads_leave_no_descriptors_behind(
    serve: Serve, tmp_path: Path, config: Path, others: tuple[str, ...]
) -> None:
    first = "access-log-file = 'a'"
    config.write_text(f"workers = 1\n{first}\n")
    server = serve("-c", str(config), "--app-dir", os.getcwd(), APP, cwd=tmp_path)
    server.wait_for_log("Worker ready")
    before = settled(server.pid)
    turns = [text for _ in range(10 // (1 + len(others))) for text in (*others, first)]
    for times, text in enumerate(turns, 1):
        reloaded(server, config, text, times)
    wait_until(
        lambda: len(open_files(server.pid)) == before, message=f"{before} descriptors, not {open_files(server.pid)}"
    )
    (worker,) = server.workers()
    assert open_files(worker).count(str(tmp_path / "a")) >= 1
    assert open_files(worker).count(str(tmp_path / "b")) == 0


def test_workers_of_the_old_generation_keep_their_access_log(serve: Serve, tmp_path: Path, config: Path) -> None:
    config.write_text("workers = 1\naccess-log-file = 'a'\n")
    server = serve("-c", str(config), "--app-dir", os.getcwd(), APP, cwd=tmp_path)
    server.wait_for_log("Worker ready")
    with server.connect() as client:
        client.send(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_in_flight(server, 1)
        config.write_text("workers = 1\naccess-log = false\n")
        server.send_signal(signal.SIGHUP)
        server.wait_for_log("Worker ready", count=2)
        assert client.read_response().status == 200
    server.wait_for_log("Worker left")
    assert 'path="/long"' in (tmp_path / "a").read_text()


def test_after_a_reload_that_failed_workers_write_to_the_old_file(serve: Serve, tmp_path: Path, config: Path) -> None:
    config.write_text(f"workers = 1\naccess-log-file = 'a'\napp = '{APP}'\n")
    server = serve("-c", str(config), "--app-dir", os.getcwd(), cwd=tmp_path)
    server.wait_for_log("Worker ready")
    config.write_text("workers = 1\naccess-log-file = 'b'\napp = 'tests.apps.nothing:here'\n")
    before = settled(server.pid)
    server.send_signal(signal.SIGHUP)
    server.wait_for_log("Reload failed, the old workers go on")
    wait_until(lambda: len(open_files(server.pid)) == before, message="as many descriptors as before")
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    server.wait_for_log("Worker ready", count=2)
    (successor,) = server.workers()
    assert str(tmp_path / "a") in open_files(successor)
    assert str(tmp_path / "b") not in open_files(successor)


def test_a_fifo_without_a_reader_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    result = run_to_exit("--access-log-file", str(tmp_path / "fifo"), "--port", "0", APP)
    assert result.returncode == 2
    assert "fifo: it is a FIFO that nobody reads" in result.stderr


def test_a_relative_file_stays_where_the_server_was_started(serve: Serve, tmp_path: Path) -> None:
    """The application lives elsewhere, and after rotation it is the worker that opens the file."""
    server = serve("-w", "1", "--access-log-file", "a", "--app-dir", os.getcwd(), APP, cwd=tmp_path)
    server.wait_for_log("Worker ready")
    (tmp_path / "a").rename(tmp_path / "a.1")
    server.send_signal(signal.SIGUSR1)
    (worker,) = server.workers()
    wait_until(lambda: str(tmp_path / "a") in open_files(worker), message="the fresh file")
