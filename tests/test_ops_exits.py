"""Applications that end or fork their process: nobody else's request is lost."""

import contextlib
import os
import re
import signal
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.h2 import H2Connection
from tests.support.raw import RawConnection
from tests.support.server import ServerProcess
from tests.support.tls import Authority

Serve = Callable[..., ServerProcess]

# `/exit` ends the process as a library would, `/interrupt` raises what Ctrl-C does, `/slow` is a request beside them.
EXIT = """
import asyncio, sys
async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/exit":
        await asyncio.sleep(0.05)
        sys.exit(3)
    if scope["path"] == "/interrupt":
        await asyncio.sleep(0.05)
        raise KeyboardInterrupt("within")
    if scope["path"] == "/slow":
        await asyncio.sleep(0.5)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})
"""

# The child of `/fork?KIND` comes back into the server in one of three ways; the parent waits for its end.
FORK = """
import asyncio, os, sys
def fork(kind):
    pid = os.fork()
    if pid:
        return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode()
    if kind == "exit":
        sys.exit(7)
    if kind == "raise":
        raise ValueError("in the child")
    return b"from the child"
def wsgi(environ, start_response):
    body = fork(environ["QUERY_STRING"]) if environ["PATH_INFO"] == "/fork" else b"here"
    start_response("200 OK", [])
    return [body]
async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    body = fork(scope["query_string"].decode()) if scope["path"] == "/fork" else b"here"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


# `/fork` leaves a child behind that holds a copy of the client's socket, as multiprocessing and libraries do. Each of
# the ways to end a response is asked for by name.
COPIES = """
import os, time
def fork():
    pid = os.fork()
    if not pid:
        try:
            time.sleep(60)
        finally:
            os._exit(0)
    print("child", pid, flush=True)
def wsgi(environ, start_response):
    fork()
    start_response("200 OK", [("Connection", "close")] if environ["PATH_INFO"] == "/close" else [])
    if environ["PATH_INFO"] == "/break":
        def broken():
            yield b"part"
            raise RuntimeError("in the middle")
        return broken()
    return [b"whole"]
async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    fork()
    fields = [(b"connection", b"close")] if scope["path"] == "/close" else []
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    if scope["path"] == "/break":
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        raise RuntimeError("in the middle")
    await send({"type": "http.response.body", "body": b"whole"})
"""


def test_an_exit_within_a_request_loses_no_other_request_and_the_worker_is_replaced(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "web.py").write_text(EXIT)
    server = serve("-w", "1", "web:app", cwd=tmp_path)
    server.wait_for_log("Worker ready")
    (first,) = server.workers()
    with server.connect() as slow, server.connect() as ending:
        slow.send(b"GET /slow HTTP/1.1\r\nHost: t\r\n\r\n")
        assert ending.get("/exit").status == 500
        assert slow.read_response().body == b"here"
    server.wait_for_log("Worker left .*cause=exit")
    assert first not in server.workers()
    assert "SystemExit: 3" in server.stderr


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_a_forked_child_that_comes_back_ends_without_touching_a_client(
    serve: Serve, tmp_path: Path, interface: str
) -> None:
    (tmp_path / "web.py").write_text(FORK)
    server = serve("-w", "1", "--threads", "2", f"web:{interface}", cwd=tmp_path)
    server.wait_for_log("Worker ready")
    with server.connect() as client:
        for kind, status in [("exit", b"7"), ("raise", b"1"), ("return", b"1")]:
            assert client.get(f"/fork?{kind}").body == status
        assert client.get("/").body == b"here"
    assert server.stderr.count("came back into the server") == 2
    assert "ValueError: in the child" in server.stderr
    assert len(server.workers()) == 1


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_interrupt_within_a_request_is_that_requests_exception_and_nobody_elses(
    serve: Serve, tmp_path: Path, loop: str
) -> None:
    (tmp_path / "web.py").write_text(EXIT)
    server = serve("-w", "1", "--loop", loop, "web:app", cwd=tmp_path)
    server.wait_for_log("Worker ready")
    before = server.workers()
    with server.connect() as slow, server.connect() as ending:
        slow.send(b"GET /slow HTTP/1.1\r\nHost: t\r\n\r\n")
        for _ in range(3):
            assert ending.get("/interrupt").status == 500
        assert slow.read_response().body == b"here"
        assert ending.get("/").body == b"here"
    server.wait_for_log("KeyboardInterrupt: within", count=3)
    assert server.stderr.count('Exception in ASGI application method=GET path="/interrupt"') == 3
    assert server.workers() == before


@pytest.fixture
def copies(serve: Serve, tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Serve `COPIES`; its children are ended by the test."""
    (tmp_path / "web.py").write_text(COPIES)
    servers = []

    def start(interface: str, *arguments: str) -> ServerProcess:
        servers.append(serve("-w", "1", "--no-access-log", *arguments, f"web:{interface}", cwd=tmp_path))
        return servers[-1]

    yield start
    for server in servers:
        for child in re.findall(r"^child (\d+)$", server.stdout, re.MULTILINE):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
@pytest.mark.parametrize("sealed", [False, True])
def test_a_connection_ends_for_its_client_although_a_child_has_a_copy_of_the_socket(
    copies: Callable[..., ServerProcess], tmp_path: Path, interface: str, sealed: bool
) -> None:
    authority = Authority(tmp_path)
    server = copies(interface, *(authority.issue().flags if sealed else ()))

    def connect() -> RawConnection:
        client = server.connect()
        if sealed:
            client.socket = authority.client().wrap_socket(
                client.socket, server_hostname="localhost", suppress_ragged_eofs=False
            )
        return client

    with connect() as client:
        assert client.get("/close").body == b"whole"
        client.wait_closed()
    with connect() as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.read_to_end().endswith(b"whole")
    # What is broken off may not look whole, copy or not.
    with connect() as client:
        client.send(b"GET /break HTTP/1.0\r\n\r\n")
        with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
            client.read_to_end()


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_a_connection_of_http2_ends_for_its_client_although_a_child_has_a_copy_of_the_socket(
    copies: Callable[..., ServerProcess], interface: str
) -> None:
    server = copies(interface, "--keep-alive", "0.2")
    with H2Connection(server.address) as client:
        assert client.get("/").body == b"whole"
        client.wait_closed()
