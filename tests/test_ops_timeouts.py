"""The deadline of one request: its client is told, everybody else is served, the log shows where it was stuck."""

import time
from collections.abc import Callable

import pytest

from tests.support.load import Load
from tests.support.server import ServerProcess, wait_until

Serve = Callable[..., ServerProcess]


@pytest.mark.parametrize(
    ("app", "path", "frame"),
    [
        ("asgi", "/hang", "await asyncio.Event().wait()"),
        ("wsgi", "/block", "time.sleep(3600)"),
    ],
)
def test_a_request_beyond_its_deadline_gets_504_and_a_thousand_others_200(
    serve: Serve, app: str, path: str, frame: str
) -> None:
    server = serve("-w", "1", "--request-timeout", "1", f"tests.apps.process:{app}")
    server.wait_for_log("Worker ready")
    with Load(server.address, ("/",), clients=8) as load, server.connect() as slow:
        began = time.monotonic()
        slow.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        response = slow.read_response()
        assert response.status == 504
        assert response.header("connection") == "close"
        assert time.monotonic() - began > 0.9
        wait_until(lambda: load.total >= 1000, timeout=60, message="a thousand answers")
        if app == "wsgi":  # a thread cannot be ended from outside: its worker is replaced, readiness first
            server.wait_for_log("Worker retired .*cause=request-timeout")
            server.wait_for_log("Worker ready", count=2)
            served = load.total
            wait_until(lambda: load.total > served + 100, timeout=30, message="answers of the new worker")
    assert load.failures == []
    assert frame in server.stderr
    assert f'path="{path}"' in server.stderr or f"path={path}" in server.stderr
    if app == "asgi":  # its task was cancelled: nothing to replace
        assert "Worker retired" not in server.stderr
