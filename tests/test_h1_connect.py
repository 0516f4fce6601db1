"""CONNECT (RFC 9110, 9.3.6): behind an answer of 2xx the bytes are a tunnel's, and nobody serves them as requests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.server import ServerProcess

Serve = Callable[..., ServerProcess]

APP = """
async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    print("asked", scope["method"], flush=True)
    status = 405 if b"refused" in dict(scope["headers"])[b"host"] else 200
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"said"})

def wsgi(environ, start_response):
    print("asked", environ["REQUEST_METHOD"], flush=True)
    status = "405 No" if "refused" in environ["HTTP_HOST"] else "200 OK"
    start_response(status, [("Content-Length", "4")])
    return [b"said"]
"""
INSIDE = b"GET /inside HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
@pytest.mark.parametrize("at_once", [True, False])
def test_nothing_is_served_behind_a_2xx_answer(serve: Serve, tmp_path: Path, interface: str, at_once: bool) -> None:
    (tmp_path / "web.py").write_text(APP)
    server = serve("-w", "1", "--no-access-log", f"web:{interface}", cwd=tmp_path)
    with server.connect() as client:
        client.send(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n" + INSIDE * at_once)
        head, _, rest = client.read_to_end().partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"http/1.1 200 ok"
    assert b"connection: close" in lines
    assert not [line for line in lines if line.startswith((b"content-length", b"transfer-encoding"))]
    assert rest == b"said"
    with server.connect() as client:
        client.get("/last")
    assert server.stdout.split("\n")[:-1] == ["asked CONNECT", "asked GET"]


def test_a_refused_connect_leaves_the_connection_as_it_was(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "web.py").write_text(APP)
    server = serve("-w", "1", "web:asgi", cwd=tmp_path)
    with server.connect() as client:
        client.send(b"CONNECT refused.example:443 HTTP/1.1\r\nHost: refused.example:443\r\n\r\n" + INSIDE)
        response = client.read_response()
        assert (response.status, response.body) == (405, b"said")
        assert client.read_response().status == 200
