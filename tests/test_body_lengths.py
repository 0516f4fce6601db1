"""A body that is not as long as its Content-Length: while nothing of the response was sent, the client gets a 500."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.h2 import H2Connection
from tests.support.server import ServerProcess

Serve = Callable[..., ServerProcess]

# Applications that take the refusal for what they like.
CAUGHT = """
async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
    try:
        await send({"type": "http.response.body", "body": b"four"})
    except RuntimeError:
        if scope["path"] == "/mended":
            await send({"type": "http.response.body", "body": b"two", "more_body": False})
        elif scope["path"] == "/again":
            await send({"type": "http.response.body", "body": b"fifth"})

def wsgi(environ, start_response):
    write = start_response("200 OK", [("Content-Length", "3")])
    try:
        write(b"four")
    except RuntimeError as error:
        if environ["PATH_INFO"] == "/replaced":
            start_response("503 Service Unavailable", [], (type(error), error, None))
            return [b"another"]
        if environ["PATH_INFO"] == "/mended":
            return [b"two"]
    return []
"""

FILES = """
import os
async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
    await send({"type": "http.response.pathsend", "path": os.environ["SHORT_FILE"]})

def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Length", "100")])
    return environ["wsgi.file_wrapper"](open(os.environ["SHORT_FILE"], "rb"))
"""


@pytest.fixture(scope="module", params=["asgi", "wsgi"])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", f"tests.apps.wire_{request.param}:app") as server:
        yield server


def answered(client: H2Connection, **wanted: Any) -> int | None:
    """The status of an answer that is whole, None of one that was reset."""
    got = client.post("/response", json.dumps(wanted).encode())
    return got.status if got.ended else None


@pytest.mark.parametrize("size", [2, 100_000])
@pytest.mark.parametrize("off", [-1, 1])
def test_a_whole_body_of_another_length_is_a_500_over_http2(server: ServerProcess, size: int, off: int) -> None:
    with H2Connection(server.address) as client:
        assert answered(client, headers=[["Content-Length", str(size + off)]], body=["x" * size]) == 500
        assert answered(client, headers=[["Content-Length", "1"]], body=["x"]) == 200
    server.wait_for_log("response body (longer|shorter) than its Content-Length")


def test_what_has_begun_is_reset_over_http2(server: ServerProcess) -> None:
    with H2Connection(server.address) as client:
        for body in (["abc", "def"], ["a", "b"]):
            assert answered(client, headers=[["Content-Length", "4"]], body=body) is None
        assert answered(client, headers=[["Content-Length", "4"]], body=["abc", "d"]) == 200


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
@pytest.mark.parametrize("http", [1, 2])
def test_an_application_that_catches_the_refusal_still_has_its_response_to_give(
    serve: Serve, tmp_path: Path, interface: str, http: int
) -> None:
    (tmp_path / "web.py").write_text(CAUGHT)
    server = serve("-w", "1", f"web:{interface}", cwd=tmp_path)
    expected = {"/left": (500, None), "/mended": (200, b"two")}
    expected |= {"/again": (500, None)} if interface == "asgi" else {"/replaced": (503, b"another")}
    with server.connect() as first, H2Connection(server.address) as second:
        for path, (status, body) in expected.items():
            response = first.get(path) if http == 1 else second.get(path)
            assert response.status == status
            assert body is None or bytes(response.body) == body


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_a_file_that_is_too_short_for_its_head_is_a_500(serve: Serve, tmp_path: Path, interface: str) -> None:
    (tmp_path / "web.py").write_text(FILES)
    (tmp_path / "short").write_bytes(b"s" * 99)
    server = serve("-w", "1", f"web:{interface}", cwd=tmp_path, env={"SHORT_FILE": str(tmp_path / "short")})
    with server.connect() as first, H2Connection(server.address) as second:
        assert first.get().status == 500
        assert first.get().status == 500, "and the connection goes on"
        assert second.get().status == 500
