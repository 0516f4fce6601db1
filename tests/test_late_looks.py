"""What a client has done while the server was busy counts: deadlines are for clients, not for applications that block a
loop or keep a thread."""

import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hyperframe.frame import DataFrame, HeadersFrame

from tests.support.h2 import H2Connection
from tests.support.raw import RawConnection
from tests.support.server import ServerProcess

ASGI, WSGI = "tests.apps.wire_asgi:app", "tests.apps.wsgi_threads:app"
Serve = Callable[..., ServerProcess]
# The time that a client has here, and for how long the server is busy.
LIMIT, BUSY = 1.5, 2.5


def one_loop(serve: Serve, *arguments: str) -> ServerProcess:
    return serve("--workers", "1", "--no-access-log", *arguments, ASGI)


def frozen(server: ServerProcess, seconds: float = BUSY) -> RawConnection:
    """Keeps the only loop busy from now on."""
    client = server.connect(timeout=20)
    client.send(f"GET /freeze?s={seconds} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
    time.sleep(0.3)
    return client


def test_a_request_on_a_kept_connection(serve: Serve) -> None:
    server = one_loop(serve, "--keep-alive", str(LIMIT))
    with server.connect() as client:
        client.get("/hello")
        with frozen(server):
            assert client.get("/hello").status == 200


def test_a_request_on_a_kept_connection_over_http_2(serve: Serve) -> None:
    server = one_loop(serve, "--keep-alive", str(LIMIT))
    with H2Connection(server.address) as client:
        assert client.get("/hello").status == 200
        with frozen(server):
            assert client.get("/hello").status == 200


def test_the_rest_of_a_head(serve: Serve) -> None:
    server = one_loop(serve, "--header-timeout", str(LIMIT))
    with server.connect() as client:
        client.send(b"GET /hello HTTP/1.1\r\nHo")
        time.sleep(0.2)
        with frozen(server):
            client.send(b"st: t\r\n\r\n")
            assert client.read_response().status == 200


def test_a_head_whose_rest_does_not_come_is_still_late(serve: Serve) -> None:
    server = one_loop(serve, "--header-timeout", str(LIMIT))
    with server.connect() as client:
        client.send(b"GET /hello HTTP/1.1\r\nHo")
        with frozen(server):
            client.send(b"st: t\r\n")
            assert client.read_response().status == 408


def test_a_body(serve: Serve) -> None:
    server = one_loop(serve)
    with server.connect(timeout=20) as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5000\r\n\r\n")
        time.sleep(0.2)
        # The floor of the rate counts after five seconds.
        with frozen(server, 6):
            client.send(bytes(5000))
            assert client.read_response().status == 200


def test_a_client_that_has_taken_what_it_could(serve: Serve, tmp_path: Path) -> None:
    size = 16 << 20
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(size)
    server = one_loop(serve, "--write-timeout", "2")
    with RawConnection(server.address, timeout=20, receive_buffer=65536) as client:
        client.send(f"GET /pathsend?file={path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        time.sleep(0.5)
        with frozen(server, 3):
            assert len(client.read_response().body) == size


def test_the_time_for_the_next_request_begins_when_a_response_is_out(serve: Serve) -> None:
    server = one_loop(serve, "--keep-alive", "2")
    with server.connect() as client:
        for path, after in (("/hello", 0.2), ("/freeze?s=1.5", 0.8)):
            assert client.get(path).status == 200
            assert client.is_open(after=after)
        client.wait_closed()


def test_it_begins_then_beside_other_requests_too(serve: Serve) -> None:
    """Both come while the loop is busy, so that it finds them at once."""
    server = one_loop(serve, "--keep-alive", "2")
    with server.connect() as client, server.connect() as other:
        assert client.get("/hello").status == other.get("/hello").status == 200
        with frozen(server, 1):
            client.send(b"GET /freeze?s=1.5&size=5000 HTTP/1.1\r\nHost: t\r\n\r\n")
            other.send(b"GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
            assert len(client.read_response().body) == 5000
            assert client.is_open(after=0.8)
            assert other.read_response().status == 200


@pytest.mark.parametrize("together", [False, True], ids=["later", "together"])
def test_a_request_behind_a_thread_that_has_answered(serve: Serve, together: bool) -> None:
    """It is still in the iterable's `close`, longer than a connection is kept."""
    server = serve("--workers", "1", "--interface", "wsgi", "--keep-alive", str(LIMIT), WSGI)
    first = f"GET /late_close?s={BUSY} HTTP/1.1\r\nHost: t\r\n\r\n".encode()
    second = b"GET /echo?text=next HTTP/1.1\r\nHost: t\r\n\r\n"
    with server.connect() as client:
        client.send(first + second if together else first)
        assert client.read_response().body == b"closing"
        if not together:
            client.send(second)
        assert client.read_response().body == b"next"


def test_a_stop_waits_for_threads_whose_client_has_gone(serve: Serve, tmp_path: Path) -> None:
    server = serve("--workers", "1", "--interface", "wsgi", WSGI)
    closed = tmp_path / "closed"
    with server.connect() as client:
        response = client.get(f"/late_close?s={BUSY}&file={closed}", fields="Connection: close\r\n")
        assert response.body == b"closing"
    assert server.stop(signal.SIGTERM) == 0
    assert closed.exists()
    assert "still busy" not in server.stderr


@pytest.mark.parametrize("more", ["whole", "partial"])
@pytest.mark.parametrize("app", [ASGI, WSGI], ids=["asgi", "wsgi"])
def test_an_answer_held_back_on_an_old_connection(serve: Serve, app: str, more: str) -> None:
    """Older than what a client may take for a response: the answer waits for the next one, not for its client."""
    server = serve("--workers", "1", "--no-access-log", "--write-timeout", "1", app)
    second = b"GET /sleep?s=0 HTTP/1.1\r\nHost: t\r\n\r\n"
    with server.connect() as client:
        assert client.get("/sleep?s=0").status == 200
        time.sleep(1.2)
        sent = second if more == "whole" else second[:10]
        client.send(b"GET /sleep?s=0.05 HTTP/1.1\r\nHost: t\r\n\r\n" + sent)
        assert client.read_response().status == 200
        client.send(second[len(sent) :])
        assert client.read_response().status == 200


@pytest.mark.parametrize("app", [ASGI, WSGI], ids=["asgi", "wsgi"])
def test_bytes_behind_the_last_request_do_not_cost_the_response(serve: Serve, app: str, tmp_path: Path) -> None:
    """To close a socket that holds some would reset the connection."""
    size = 8 << 20
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(size)
    target = f"/pathsend?file={path}" if app == ASGI else f"/file?size={size}"
    server = serve("--workers", "1", "--no-access-log", app)
    with RawConnection(server.address, timeout=20, receive_buffer=65536) as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
        assert client.socket.recv(1, socket.MSG_PEEK)
        client.send(b"GET /never HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.2)
        assert len(client.read_response().body) == size
        assert client.socket.recv(1) == b""


def test_the_end_behind_a_body_that_nobody_reads(serve: Serve) -> None:
    """More of it was received than parsed, and its request began longer ago than a client that sends on may take."""
    server = one_loop(serve)
    chunk = b"2710\r\n" + bytes(10_000) + b"\r\n"
    with server.connect() as client:
        client.send(b"POST /sleep?s=2.3 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" + 20 * chunk)
        assert client.read_response().status == 200
        # FIN, not a reset.
        assert client.socket.recv(1) == b""


def test_a_stream_that_was_answered_is_not_refused_again(serve: Serve) -> None:
    """A body that is too long behind an answer, in one read with the request after it."""
    server = one_loop(serve, "--health-path", "/-/live", "--limit-request-body", "1000")
    with H2Connection(server.address) as client:
        client.settle()
        answered, other = client.next_stream(), client.next_stream()
        heads = [
            HeadersFrame(stream, client.encoder.encode(client.head("POST", path)), flags=["END_HEADERS"])
            for stream, path in ((answered, "/-/live"), (other, "/echo"))
        ]
        client.send_frames(*heads, DataFrame(answered, bytes(2000)))
        assert client.response(answered).status == 200
        client.data(other, b"body", end=True)
        assert client.response(other).status == 200
