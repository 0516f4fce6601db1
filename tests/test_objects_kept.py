"""What an application keeps of a request stays that request's: objects are used again only if nobody has kept them."""

from collections.abc import Iterator

import pytest

from tests.support.server import ServerProcess

ASGI = {
    "headers": "b'first'",
    "receive": "{'type': 'http.disconnect'}",
    "send": "http.response.start was sent twice: it is sent once per response",
    "weakly": "None",
}
WSGI = {
    "input": "b''",
    "start_response": "start_response was called twice without exc_info (PEP 3333)",
    "weakly": "None",
}


@pytest.fixture(scope="module")
def asgi() -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", "--max-requests", "0", "tests.apps.asgi_kept:app") as server:
        yield server


@pytest.fixture(scope="module")
def wsgi() -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", "--max-requests", "0", "tests.apps.wsgi_kept:app") as server:
        yield server


@pytest.mark.parametrize("query", ["", "?wait"])
@pytest.mark.parametrize("what", ASGI)
def test_what_an_asgi_application_keeps_never_becomes_the_next_requests(
    asgi: ServerProcess, what: str, query: str
) -> None:
    with asgi.connect() as client:
        assert client.get(f"/{what}{query}", fields="x-name: first\r\n").body == b"kept"
        response = client.get(f"/kept{query}", fields="x-name: second\r\n")
    assert (response.status, response.body.decode()) == (200, ASGI[what])


@pytest.mark.parametrize("what", WSGI)
def test_what_a_wsgi_application_keeps_never_becomes_the_next_requests(wsgi: ServerProcess, what: str) -> None:
    post = "POST /{} HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n{}"
    with wsgi.connect() as client:
        client.send(post.format(what, "first").encode())
        assert client.read_response().body == b"first"
        client.send(post.format("kept", "other").encode())
        response = client.read_response()
    assert (response.status, response.body.decode()) == (200, WSGI[what])


def test_headers_given_again_are_read_again_where_anything_in_them_has_changed() -> None:
    steps = [
        ("/", 200, ["1"]),
        ("/", 200, ["1"]),
        ("/other-status", 404, ["1"]),
        ("/bad-status", 500, []),
        ("/", 200, ["1"]),
        ("/other-value", 200, ["2"]),
        ("/pair-in-a-list", 200, ["3"]),
        ("/", 200, ["3"]),
        ("/refused", 500, []),
        ("/", 500, []),
        ("/mutable", 200, ["5"]),
        ("/changed-in-place", 200, ["7"]),
        ("/mutable-anew", 200, ["6"]),
        ("/", 200, ["6"]),
    ]
    with ServerProcess("--workers", "1", "--max-requests", "0", "tests.apps.asgi_same_headers:app") as server:
        for path, status, values in steps:
            with server.connect() as client:
                response = client.get(path)
            assert (path, response.status, response.values("x-one")) == (path, status, values)
