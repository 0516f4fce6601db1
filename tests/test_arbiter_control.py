"""The control socket: who is heard, and that nobody keeps others from being heard, or the arbiter from its work."""

import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.accounting import process_stat
from tests.support.gauges import wait_in_flight
from tests.support.server import ServerProcess

Serve = Callable[..., ServerProcess]
PLACES = 16
PATIENCE = 5.0  # s

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"hi"]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "web.py").write_text(APP)
    return tmp_path


def command(path: Path, line: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(line.encode())
        with client.makefile() as answer:
            return answer.readline().strip()


def test_the_control_socket_takes_commands_from_its_owner(site: Path, serve: Serve) -> None:
    path = site / "control"
    server = serve("-w", "1", "--control-socket", str(path), "web:app", cwd=site)
    server.wait_for_log("Worker ready")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert command(path, "scale +1\n") == "ok"
    server.wait_for_log("Worker ready", count=2)
    assert command(path, "scale 1\n") == "ok"
    server.wait_for_log("Worker left")
    assert command(path, "scale 0\n").startswith("error: expected 1 to ")
    assert command(path, "scale x\n") == "error: expected reload, stop, or scale N|+N|-N"
    assert command(path, "dance\n").startswith("error: expected reload")
    assert command(path, "x" * 300).startswith("error: ")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))  # says nothing: nobody else has to wait for it
        assert command(path, "reload\n") == "ok"
    server.wait_for_log("cause=reload exit=0", timeout=20)
    assert command(path, "stop\n") == "ok"
    assert server.wait() == 0
    assert not path.exists()


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))  # a full queue is an error to a socket with a time-out
    client.settimeout(20)
    return client


@pytest.fixture
def silent(site: Path, serve: Serve) -> Iterator[tuple[ServerProcess, Path, list[socket.socket]]]:
    """A server, its control socket, and clients that take every place and say nothing."""
    path = site / "control"
    server = serve("-w", "1", "--control-socket", str(path), "web:app", cwd=site)
    server.wait_for_log("Worker ready")
    with ExitStack() as stack:
        yield server, path, [stack.enter_context(connected(path)) for _ in range(PLACES)]


def test_silent_clients_lose_their_places_and_the_others_are_heard(
    silent: tuple[ServerProcess, Path, list[socket.socket]],
) -> None:
    server, path, clients = silent
    with connected(path) as waiting:
        waiting.sendall(b"scale +1\n")
        with waiting.makefile() as answer:
            assert answer.readline() == "ok\n"
    assert [client.recv(1) for client in clients] == [b""] * PLACES
    server.wait_for_log("Worker ready", count=2)


def test_a_client_that_dribbles_loses_its_place_too(site: Path, serve: Serve) -> None:
    path = site / "control"
    server = serve("-w", "1", "--control-socket", str(path), "web:app", cwd=site)
    server.wait_for_log("Worker ready")
    with connected(path) as dribbling:
        began = time.monotonic()
        try:
            while time.monotonic() - began < 10 * PATIENCE:
                dribbling.sendall(b"x")  # less often than it would take to fill a line
                time.sleep(0.25)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert time.monotonic() - began < 10 * PATIENCE


def test_waiting_for_a_place_costs_the_arbiter_nothing(
    silent: tuple[ServerProcess, Path, list[socket.socket]],
) -> None:
    server, path, _ = silent

    def used() -> float:
        stat = process_stat(server.pid)
        assert stat is not None
        return stat.user + stat.system

    with connected(path):
        before = used()
        time.sleep(2)
        assert used() - before < 0.4  # a busy loop takes what it can get


def test_a_server_that_stops_neither_reloads_nor_scales(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "control"
    server = serve("-w", "1", "--control-socket", str(path), "tests.apps.process:asgi")
    server.wait_for_log("Worker ready")
    with server.connect() as client:
        client.send(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_in_flight(server, 1)
        server.send_signal(signal.SIGTERM)
        server.wait_for_log("Stopping")
        assert command(path, "reload\n") == "error: the server is stopping"
        assert command(path, "scale +1\n") == "error: the server is stopping"
        assert client.read_response().status == 200
    assert server.wait() == 0
    assert server.stderr.count("Worker ready") == 1
