"""Panics in the core: one costs the connection that brought it about, and nothing else.

They are brought about the only way there is from outside: pyo3 has a Python exception that stands for a panic, and goes
on with the panic when such an exception comes back to Rust.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.server import ServerProcess

Serve = Callable[..., ServerProcess]

APP = """
import asyncio, time
from ferrule import logs

def panic(where):
    raise next(kind for kind in BaseException.__subclasses__() if kind.__name__ == "PanicException")(where)

def write(self, level, message, write=logs.Log.write, **more):
    if "Request refused" in message:
        panic("in the log")
    write(self, level, message, **more)

def fail_to_schedule():
    loop = asyncio.get_running_loop()
    before = loop.call_soon
    def call_soon(callback, *arguments, **more):
        if getattr(callback, "__name__", "") == "poll":
            loop.call_soon = before
            print("panics", flush=True)
            panic("in call_soon")
        return before(callback, *arguments, **more)
    loop.call_soon = call_soon

async def respond(scope, send):
    if scope["path"] == "/crowd":
        fail_to_schedule()
        time.sleep(0.5)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})

def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError("none")
    logs.Log.write = write
    if scope["path"] == "/panic":
        panic("in the application")
    return respond(scope, send)

def wsgi(environ, start_response):
    logs.Log.write = write
    if environ["PATH_INFO"] == "/panic":
        panic("in the application")
    start_response("200 OK", [])
    return [b"here"]
"""


@pytest.fixture(params=["asgi", "wsgi"])
def server(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path) -> ServerProcess:
    (tmp_path / "web.py").write_text(APP)
    arguments = ("-w", "1", "--threads", "1", "--loop", "asyncio", "--no-access-log", "--interface", request.param)
    server = serve(*arguments, f"web:{request.param}", cwd=tmp_path)
    server.wait_for_log("Worker ready")
    return server


def test_a_panic_closes_its_connection_and_no_other(server: ServerProcess) -> None:
    before = server.workers()
    with server.connect() as other:
        assert other.get("/").body == b"here"
        for _ in range(3):
            with server.connect() as client:
                client.send(b"GET /panic HTTP/1.1\r\nHost: t\r\n\r\n")
                with pytest.raises(ConnectionResetError):
                    client.read_to_end()
            assert other.get("/").body == b"here"
    server.wait_for_log("Internal error: the connection was closed", count=3)
    assert server.workers() == before


def test_a_panic_in_the_log_ends_no_thread_and_no_turn(server: ServerProcess) -> None:
    before = server.workers()
    with server.connect() as other:
        assert other.get("/").body == b"here"
        for _ in range(3):
            with server.connect() as client:
                client.send(b"GET / HTTP/1.1\r\n\r\n")
                assert client.read_response().status == 400
                client.wait_closed()
            assert other.get("/").body == b"here"
    assert server.workers() == before


@pytest.mark.parametrize("server", ["asgi"], indirect=True)
def test_a_panic_in_a_turn_leaves_the_rest_to_the_next(server: ServerProcess) -> None:
    with server.connect() as first:
        first.send(b"GET /crowd HTTP/1.1\r\nHost: t\r\n\r\n")
        server.wait_for_log("Worker ready")
        # More than are accepted in one turn: another has to follow.
        crowd = [server.connect() for _ in range(64)]
        for client in crowd:
            client.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        assert first.read_response().body == b"here"
        assert [client.read_response().body for client in crowd] == [b"here"] * len(crowd)
        for client in crowd:
            client.close()
    server.wait_for_stdout("panics")
    server.wait_for_log("Internal error: the server goes on")
