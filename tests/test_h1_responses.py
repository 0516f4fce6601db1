"""Responses: framing that holds the application to its word, and nothing an application does can forge a message."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.raw import MalformedResponseError, RawConnection, Response
from tests.support.server import ServerProcess

INTERFACES = {"asgi": "tests.apps.wire_asgi:app", "wsgi": "tests.apps.wire_wsgi:app"}


@pytest.fixture(scope="module", params=INTERFACES)
def interface(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def server(interface: str) -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", "--max-requests", "0", INTERFACES[interface]) as server:
        yield server


def ask(client: RawConnection, *, method: str = "POST", **wanted: Any) -> None:
    """Have the application answer as described."""
    body = json.dumps(wanted).encode()
    head = f"{method} /response HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n"
    client.send(head.encode() + body)


def answer(client: RawConnection, *, method: str = "POST", **wanted: Any) -> Response:
    ask(client, method=method, **wanted)
    return client.read_response(method=method)


# Framing: RFC 9110, section 8.6; RFC 9112, section 6.


def test_a_whole_body_gets_its_length(server: ServerProcess) -> None:
    with server.connect() as client:
        for body in ("", "x", "y" * 100_000):
            response = answer(client, body=[body])
            assert response.header("content-length") == str(len(body))
            assert response.header("transfer-encoding") is None
            assert response.body == body.encode()


def test_a_body_in_parts_is_chunked(server: ServerProcess) -> None:
    with server.connect() as client:
        response = answer(client, body=["one", "", "x" * 70_000, "three"])
        assert response.header("transfer-encoding") == "chunked"
        assert response.header("content-length") is None
        assert response.body == b"one" + b"x" * 70_000 + b"three"
        assert client.is_open()


def test_a_declared_length_is_sent_as_declared(server: ServerProcess) -> None:
    with server.connect() as client:
        response = answer(client, headers=[["Content-Length", "6"]], body=["abc", "def"])
        assert response.header("content-length") == "6"
        assert response.header("transfer-encoding") is None
        assert response.body == b"abcdef"
        assert client.is_open()


@pytest.mark.parametrize(
    ("status", "headers", "length"),
    [(204, [], None), (204, [["Content-Length", "0"]], None), (304, [], None), (304, [["Content-Length", "7"]], "7")],
)
@pytest.mark.parametrize("body", ["", "content"])
def test_no_content_is_sent_with_204_and_304(
    server: ServerProcess, status: int, headers: list[list[str]], length: str | None, body: str
) -> None:
    with server.connect() as client:
        if status == 204 and headers and body:
            headers = [["Content-Length", str(len(body))]]
        response = answer(client, status=status, headers=headers, body=[body])
        assert response.status == status
        assert response.header("content-length") == length
        assert response.header("transfer-encoding") is None
        # The next answer begins right behind the head: not a byte of content was sent.
        assert client.get("/next").body == b"hello /next"


@pytest.mark.parametrize("body", [["content"], ["con", "tent"]])
def test_head_has_the_fields_of_get_and_no_content(server: ServerProcess, body: list[str]) -> None:
    with server.connect() as client:
        response = answer(client, method="HEAD", body=body)
        if len(body) == 1:
            assert response.header("content-length") == "7"
        assert client.get("/next").body == b"hello /next"
        response = answer(client, method="HEAD", headers=[["Content-Length", "1000"]], body=["" for _ in body])
        assert response.header("content-length") == "1000"
        assert client.get("/next").body == b"hello /next"


@pytest.mark.parametrize("size", [2, 100_000])
@pytest.mark.parametrize("off", [-1, 1])
def test_a_whole_body_that_is_not_as_long_as_declared_is_a_logged_500_and_the_connection_goes_on(
    server: ServerProcess, size: int, off: int
) -> None:
    said = (
        "response body longer than its Content-Length" if off < 0 else "response body shorter than its Content-Length"
    )
    before = server.stderr.count(said)
    with server.connect() as client:
        response = answer(client, headers=[["Content-Length", str(size + off)]], body=["x" * size])
        assert (response.status, response.body) == (500, b"500 Internal Server Error: the application failed\n")
        assert response.header("connection") is None
        assert client.get("/next").body == b"hello /next"
    server.wait_for_log(said, count=before + 1)


def test_a_first_part_that_is_too_long_and_a_body_that_is_missing_are_a_500(server: ServerProcess) -> None:
    with server.connect() as client:
        assert answer(client, headers=[["Content-Length", "4"]], body=["abcdef", ""]).status == 500
        assert answer(client, headers=[["Content-Length", "4"]], body=[]).status == 500
        assert client.get("/next").body == b"hello /next"


def test_too_much_body_ends_the_connection_and_is_logged(server: ServerProcess) -> None:
    with server.connect() as client:
        ask(client, headers=[["Content-Length", "4"]], body=["abc", "def"])
        with pytest.raises((MalformedResponseError, OSError, EOFError)):
            client.read_response()
    server.wait_for_log("response body longer than its Content-Length")


def test_too_little_body_ends_the_connection_and_is_logged(server: ServerProcess) -> None:
    with server.connect() as client:
        ask(client, headers=[["Content-Length", "10"]], body=["abc", "def"])
        # The client must be able to tell: six bytes are not the ten that were promised.
        with pytest.raises((MalformedResponseError, OSError)):
            client.read_response()
    server.wait_for_log("response body shorter than its Content-Length")


# What an application may not say.


@pytest.mark.parametrize(
    "headers",
    [
        [["X-A", "b\r\nX-Injected: yes"]],
        [["X-A", "b\nX-Injected: yes"]],
        [["X-A", "b\rX-Injected: yes"]],
        [["X-A", "nul\0"]],
        [["X-A: b\r\nX-Injected", "yes"]],
        [["X A", "b"]],
        [["", "b"]],
        [["X-A:", "b"]],
        [["Content-Length", "4, 4"]],
        [["Content-Length", "-4"]],
        [["Content-Length", "0x4"]],
        [["Content-Length", "4"], ["Content-Length", "4"]],
        [["Content-Length", "99999999999999999999"]],
    ],
)
def test_a_field_that_could_forge_a_message_is_a_logged_500(server: ServerProcess, headers: list[list[str]]) -> None:
    before = server.stderr.count("Exception in")
    with server.connect() as client:
        response = answer(client, headers=headers, body=["body"])
        assert response.status == 500
        assert response.header("x-injected") is None
        assert b"X-Injected" not in response.body
        assert client.get("/next").body == b"hello /next"
    server.wait_for_log("Exception in", count=before + 1)


def test_a_reason_phrase_cannot_split_the_response(interface: str, server: ServerProcess) -> None:
    if interface == "asgi":
        return  # it has none
    with server.connect() as client:
        assert answer(client, status_line="200 Quite alright").reason == "Quite alright"
        response = answer(client, status_line="200 OK\r\nX-Injected: yes")
        assert (response.status, response.header("x-injected")) == (500, None)


@pytest.mark.parametrize("status", [100, 101, 199, 0, 1000, 99])
def test_only_final_statuses_are_taken_from_applications(server: ServerProcess, status: int) -> None:
    with server.connect() as client:
        assert answer(client, status=status).status == 500


def test_an_unassigned_status_is_passed_on(server: ServerProcess) -> None:
    with server.connect() as client:
        assert answer(client, status=299).status == 299
        assert answer(client, status=999).status == 999


def test_hop_by_hop_fields_are_removed_and_that_is_said_once(interface: str) -> None:
    with ServerProcess("--workers", "1", INTERFACES[interface]) as server, server.connect() as client:
        fields = [
            ["Connection", "keep-alive"],
            ["Keep-Alive", "timeout=5"],
            ["Transfer-Encoding", "chunked"],
            ["Upgrade", "h2c"],
            ["Proxy-Connection", "keep-alive"],
            ["X-Kept", "yes"],
        ]
        for _ in range(5):
            response = answer(client, headers=fields, body=["body"])
            names = {name.lower() for name, _ in response.fields}
            assert names.isdisjoint({"connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection"})
            assert response.header("x-kept") == "yes"
            assert response.body == b"body"
        server.wait_for_log("was removed")
        assert server.stderr.count("was removed") == 1


def test_an_application_may_close_its_connection(server: ServerProcess) -> None:
    with server.connect() as client:
        response = answer(client, headers=[["Connection", "close"]], body=["last"])
        assert (response.header("connection"), response.body) == ("close", b"last")
        client.wait_closed()


# What the server adds.


def test_date_and_server_are_added_once(server: ServerProcess) -> None:
    with server.connect() as client:
        response = client.get("/")
        assert response.header("server") == "ferrule"
        assert re.fullmatch(
            r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", response.header("date") or ""
        )
        response = answer(client, headers=[["Server", "mine"], ["dAte", "today"]])
        assert (response.values("server"), response.values("date")) == (["mine"], ["today"])


def test_what_the_server_adds_is_the_operators_choice(interface: str) -> None:
    options = ["--no-server-header", "--no-date-header", "--header", "X-Frame-Options: DENY", "--header", "X-B: 1"]
    with ServerProcess("--workers", "1", *options, INTERFACES[interface]) as server, server.connect() as client:
        response = client.get("/")
        assert response.header("server") is None
        assert response.header("date") is None
        assert response.header("x-frame-options") == "DENY"
        assert answer(client, headers=[["x-b", "2"]]).values("x-b") == ["2"]
        client.send(b"BAD\r\n\r\n")
        assert client.read_response().header("x-frame-options") == "DENY"


# Interim responses: RFC 8297.


def test_early_hints_go_out_before_the_response(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(b"GET /early_hints?times=2 HTTP/1.1\r\nHost: t\r\n\r\n")
        for _ in range(2):
            hint = client.read_response()
            assert hint.status == 103
            assert hint.values("link") == ["</a.css>; rel=preload", "</b.js>; rel=preload"]
        assert client.read_response().body == b"after hints"
        assert client.is_open()


def test_http_1_0_clients_get_no_early_hints(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(b"GET /early_hints HTTP/1.0\r\n\r\n")
        assert client.read_response().status == 200


# Errors of the application.


def test_an_exception_before_the_response_is_a_500_and_the_connection_stays(server: ServerProcess) -> None:
    with server.connect() as client:
        response = client.get("/crash?when=before")
        assert response.status == 500
        assert (response.header("content-type") or "").startswith("text/plain")
        assert b"script" not in response.body
        assert client.get("/next").body == b"hello /next"
    server.wait_for_log("RuntimeError: crashed before")


def test_an_exception_before_any_body_is_a_500(server: ServerProcess) -> None:
    with server.connect() as client:
        assert client.get("/crash?when=started").status == 500
    server.wait_for_log("RuntimeError: crashed started")


def test_an_exception_within_the_body_never_looks_like_a_complete_response(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(b"GET /crash?when=body HTTP/1.1\r\nHost: t\r\n\r\n")
        with pytest.raises((MalformedResponseError, OSError, EOFError)):
            client.read_response()
    server.wait_for_log("RuntimeError: crashed body")
    with server.connect() as client:
        assert client.get("/next").body == b"hello /next"


def test_the_debug_page_shows_the_error_escaped_and_credentials_masked(interface: str) -> None:
    with ServerProcess("--workers", "1", "--debug", INTERFACES[interface]) as server, server.connect() as client:
        fields = (
            "Cookie: session=topsecret\r\nAuthorization: Bearer topsecret\r\nProxy-Authorization: topsecret\r\n"
            "X-Evil: <img src=x>\r\n"
        )
        response = client.get("/crash?when=before&x=<b>", fields=fields)
        assert response.status == 500
        assert response.header("content-type") == "text/html; charset=utf-8"
        page = response.body.decode()
        assert "RuntimeError: crashed before" in page
        assert "&lt;script&gt;" in page
        assert "<script>" not in page
        assert "&lt;img src=x&gt;" in page
        assert "<img" not in page
        assert "GET /crash?when=before&amp;x=&lt;b&gt;" in page
        assert "topsecret" not in page
        assert client.get("/next").body == b"hello /next"
