"""Bodies without end: they last as long as their client, and hold nothing for one that gets no body."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.h2 import H2Connection
from tests.support.server import ServerProcess, wait_until

Serve = Callable[..., ServerProcess]

APP = """
import asyncio, time
running = 0
def head(target):
    return {"/204": "204 No Content", "/304": "304 Not Modified"}.get(target, "200 OK")
def endless():
    global running
    running += 1
    try:
        while True:
            time.sleep(0.01)
            yield b"tick"
    finally:
        running -= 1
def wsgi(environ, start_response):
    start_response(head(environ["PATH_INFO"]), [])
    return [str(running).encode()] if environ["PATH_INFO"] == "/running" else endless()
async def asgi(scope, receive, send):
    global running
    assert scope["type"] == "http"
    status = int(head(scope["path"])[:3])
    await send({"type": "http.response.start", "status": status, "headers": []})
    if scope["path"] == "/running":
        return await send({"type": "http.response.body", "body": str(running).encode()})
    running += 1
    try:
        while True:
            await asyncio.sleep(0.01)
            await send({"type": "http.response.body", "body": b"tick", "more_body": True})
    finally:
        running -= 1
"""

BODILESS = pytest.mark.parametrize(("method", "path"), [("HEAD", "/"), ("GET", "/204"), ("GET", "/304")])


@pytest.fixture
def start(serve: Serve, tmp_path: Path) -> Callable[[str], ServerProcess]:
    (tmp_path / "web.py").write_text(APP)

    def start(interface: str) -> ServerProcess:
        server = serve("-w", "1", "--threads", "1", f"web:{interface}", cwd=tmp_path)
        server.wait_for_log("Worker ready")
        return server

    return start


def test_a_thread_is_free_once_a_response_without_a_body_has_its_head(start: Callable[[str], ServerProcess]) -> None:
    server = start("wsgi")
    with server.connect() as client:
        for method, path in [("HEAD", "/"), ("GET", "/204"), ("GET", "/304")]:
            client.send(f"{method} {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
            assert client.read_response(method=method).body == b""
            assert client.get("/running").body == b"0"
    with H2Connection(server.address) as client_2:
        assert client_2.response(client_2.request("HEAD")).status == 200
        assert client_2.get("/running").body == b"0"


@BODILESS
def test_a_task_learns_that_the_client_of_a_response_without_a_body_has_gone(
    start: Callable[[str], ServerProcess], method: str, path: str
) -> None:
    server = start("asgi")
    with server.connect() as client:
        client.send(f"{method} {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        assert client.read_response(method=method).body == b""
    with server.connect() as other:
        wait_until(lambda: other.get("/running").body == b"0", message="the end of the task")
    assert "[ERROR]" not in server.stderr
