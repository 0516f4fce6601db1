"""Applications that end or fork their process: nobody else's request is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.server import ServerProcess

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
