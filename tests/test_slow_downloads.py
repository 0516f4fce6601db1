"""A client that takes its response slowly, but takes it, gets all of it, whatever ends once its request is answered."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.raw import RawConnection
from tests.support.server import ServerProcess

# More than the kernel takes in advance.
SIZE = 24 << 20
# Longer than a connection that ends is read from, or one that is kept waits for a request here.
PAUSE = 3.0
APPS = {"asgi": "tests.apps.wire_asgi:app", "wsgi": "tests.apps.wsgi_threads:app"}
Serve = Callable[..., ServerProcess]


@pytest.fixture(params=APPS)
def interface(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def start(serve: Serve, interface: str) -> Serve:
    def start(*arguments: str) -> ServerProcess:
        return serve("--workers", "1", "--interface", interface, "--no-access-log", *arguments, APPS[interface])

    return start


@pytest.fixture
def target(interface: str, tmp_path: Path) -> str:
    """A file, whose response is complete for the application at once."""
    if interface == "wsgi":
        return f"/file?size={SIZE}"
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(SIZE)
    return f"/pathsend?file={path}"


def slow(server: ServerProcess) -> RawConnection:
    return RawConnection(server.address, timeout=20, receive_buffer=65536)


@pytest.mark.parametrize("ending", ["1.1 close", "1.0", "1.0 half-closed"])
def test_a_response_that_ends_the_connection(start: Serve, target: str, ending: str) -> None:
    version, _, how = ending.partition(" ")
    last = "Connection: close\r\n" if how == "close" else ""
    server = start()
    with slow(server) as client:
        client.send(f"GET {target} HTTP/{version}\r\nHost: t\r\n{last}\r\n".encode())
        if how == "half-closed":
            client.half_close()
        time.sleep(PAUSE)
        assert len(client.read_response().body) == SIZE


def test_a_response_to_a_request_whose_body_nobody_reads(start: Serve, target: str) -> None:
    """The body is thrown away before the response is out."""
    server = start()
    with slow(server) as client:
        client.send(f"POST {target} HTTP/1.0\r\nHost: t\r\nContent-Length: 48000\r\n\r\n".encode() + bytes(48_000))
        client.half_close()
        time.sleep(PAUSE)
        assert len(client.read_response().body) == SIZE


def test_a_response_that_takes_longer_than_keep_alive(start: Serve, target: str) -> None:
    server = start("--keep-alive", "1")
    with slow(server) as client:
        for _ in range(2):
            client.send(f"GET {target} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
            time.sleep(PAUSE)
            assert len(client.read_response().body) == SIZE
        # The time for the next request begins when the response is out.
        time.sleep(PAUSE)
        assert client.socket.recv(1) == b""


def test_a_response_that_is_on_its_way_when_the_server_stops(start: Serve, target: str) -> None:
    server = start("--graceful-timeout", "20")
    with slow(server) as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        assert client.socket.recv(1)
        server.send_signal(signal.SIGTERM)
        # Idle connections are closed after at most five seconds.
        time.sleep(6.5)
        taken = 1
        while part := client.socket.recv(1 << 20):
            taken += len(part)
        assert taken > SIZE
        assert server.wait() == 0
