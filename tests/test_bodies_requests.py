"""Request bodies: asked for when the application reads, refused early, and dealt with when nobody reads them."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.support.raw import RawConnection
from tests.support.server import ServerProcess

INTERFACES = {"asgi": "tests.apps.wire_asgi:app", "wsgi": "tests.apps.wire_wsgi:app"}
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture(scope="module", params=INTERFACES)
def interface(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def server(interface: str) -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", "--max-requests", "0", INTERFACES[interface]) as server:
        yield server


def post(client: RawConnection, path: str, *fields: str, body: bytes = b"", version: str = "HTTP/1.1") -> None:
    client.send("\r\n".join([f"POST {path} {version}", "Host: t", *fields, "", ""]).encode() + body)


# Expect: RFC 9110, section 10.1.1.


def test_continue_is_said_when_the_application_reads(interface: str, server: ServerProcess) -> None:
    """A short body is collected before WSGI takes a thread, so its 100 comes at once; else it comes with the read."""
    for framing, body in (("Content-Length: 5", b"hello"), (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n")):
        with server.connect() as client:
            asked = time.monotonic()
            post(client, "/late_read?s=1", framing, "Expect: 100-continue")
            assert client.read_response().status == 100
            told = time.monotonic()
            client.send(body)
            assert client.read_response().body == b"5"
            answered = time.monotonic()
            # The application waits for a second: before the 100 when it is the read that asks, else after the body.
            if interface == "wsgi" and framing != CHUNKED:
                assert answered - told > 0.95
            else:
                assert told - asked > 0.95
            assert client.is_open()


def test_continue_is_said_before_a_body_beyond_body_memory_only_when_it_is_read(server: ServerProcess) -> None:
    size = 4 * 1024 * 1024
    with server.connect() as client:
        began = time.monotonic()
        post(client, "/late_read?s=0.3", f"Content-Length: {size}", "Expect: 100-continue")
        assert client.read_response().status == 100
        assert time.monotonic() - began > 0.28
        client.send(bytes(size))
        assert client.read_response().body == str(size).encode()


def test_no_continue_to_a_client_that_did_not_wait_for_it(server: ServerProcess) -> None:
    with server.connect() as client:
        post(client, "/late_read?s=0.1", "Content-Length: 5", "Expect: 100-continue", body=b"hello")
        response = client.read_response()
        if response.status == 100:  # the body was not seen yet when the head was
            response = client.read_response()
        assert response.body == b"5"
        assert client.get("/next").body == b"hello /next"


def test_no_continue_in_http_1_0(server: ServerProcess) -> None:
    with server.connect() as client:
        post(client, "/count", "Content-Length: 5", "Expect: 100-continue", body=b"hello", version="HTTP/1.0")
        assert client.read_response().body == b"5"


def test_no_continue_for_a_request_without_a_body(server: ServerProcess) -> None:
    with server.connect() as client:
        for fields in (("Expect: 100-continue",), ("Content-Length: 0", "Expect: 100-continue")):
            post(client, "/count", *fields)
            assert client.read_response().body == b"0"


def test_an_answer_without_a_look_at_the_body_comes_without_continue(interface: str, server: ServerProcess) -> None:
    """The client may then never send the body, so the connection cannot be used again."""
    with server.connect() as client:
        post(client, "/ignore", CHUNKED, "Expect: 100-continue")
        response = client.read_response()
        assert (response.status, response.header("connection")) == (200, "close")
        client.half_close()
        client.wait_closed()


def test_an_unknown_expectation_is_refused(server: ServerProcess) -> None:
    with server.connect() as client:
        post(client, "/count", "Content-Length: 5", "Expect: 200-ok")
        assert client.read_response().status == 417


def test_a_client_that_waits_to_be_asked_is_not_held_to_the_byte_rate(server: ServerProcess) -> None:
    """The grace of the floor is 5 s; until the application reads, the client has nothing to send."""
    with server.connect() as client:
        post(client, "/late_read?s=6", CHUNKED, "Expect: 100-continue")
        assert client.read_response().status == 100
        client.send(b"5\r\nhello\r\n0\r\n\r\n")
        assert client.read_response().body == b"5"


# Bodies that nobody reads.


@pytest.mark.parametrize("size", [1, 1000, 60_000])
def test_a_short_unread_body_is_skipped_and_the_connection_stays(server: ServerProcess, size: int) -> None:
    with server.connect() as client:
        for _ in range(3):
            post(client, "/ignore", f"Content-Length: {size}", body=bytes(size))
            response = client.read_response()
            assert (response.body, response.header("connection")) == (b"ignored", None)
        assert client.get("/next").body == b"hello /next"


def test_a_short_unread_body_that_comes_later_is_no_request(interface: str, server: ServerProcess) -> None:
    with server.connect() as client:
        smuggled = b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n"
        post(client, "/ignore", f"Content-Length: {len(smuggled)}")
        if interface == "asgi":
            assert client.read_response().body == b"ignored"
            client.send(smuggled)
        else:
            client.send(smuggled)
            assert client.read_response().body == b"ignored"
        assert client.get("/next").body == b"hello /next"
    assert "/smuggled" not in server.stdout


def test_a_long_unread_body_ends_the_connection_after_the_answer(server: ServerProcess) -> None:
    size = 8 * 1024 * 1024
    with server.connect() as client:
        post(client, "/ignore", f"Content-Length: {size}")
        response = client.read_response()
        assert (response.body, response.header("connection")) == (b"ignored", "close")
        try:
            client.send(bytes(size))
        except OSError:
            pass  # it was said that nobody reads on
        assert client.is_open(after=0.0) in {True, False}


def test_an_unread_chunked_body_is_no_request(server: ServerProcess) -> None:
    with server.connect() as client:
        body = b"5\r\nhello\r\n0\r\n\r\n"
        post(client, "/ignore", CHUNKED, body=body + b"GET /next HTTP/1.1\r\nHost: t\r\n\r\n")
        response = client.read_response()
        assert response.body == b"ignored"
        if response.header("connection") is None:
            assert client.read_response().body == b"hello /next"
        else:
            client.wait_closed()


def test_a_body_that_ends_with_the_connection_is_not_taken_for_whole(interface: str, server: ServerProcess) -> None:
    with server.connect() as client:
        post(client, "/count", "Content-Length: 10", body=b"hello")
        client.half_close()
        with pytest.raises((AssertionError, EOFError, OSError)):
            assert client.read_response().status < 400
    with server.connect() as client:
        post(client, "/count", CHUNKED, body=b"5\r\nhello\r\n")
        client.half_close()
        with pytest.raises((AssertionError, EOFError, OSError)):
            assert client.read_response().status < 400


def test_a_body_arrives_as_it_was_sent_whatever_its_pieces(server: ServerProcess) -> None:
    chunks = [b"a", b"bc" * 3000, b"\r\n0\r\n\r\n", b"d" * 70_000]
    wire = b"".join(b"%X;ext=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nX-Trailer: t\r\n\r\n"
    for size in (1_000_000, 4096, 511):
        with server.connect() as client:
            post(client, "/echo", CHUNKED)
            client.send_slowly(wire, size=size)
            assert client.read_response().body.count(b"d") >= 70_000
            assert client.is_open()


def test_a_body_of_declared_length_ends_where_it_was_said_to(server: ServerProcess) -> None:
    """Large ones are read without the parser, which must not take the next request for content, nor lose any of it."""
    body = b"".join(b"%07d " % number for number in range(25_000))
    request = b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    for size in (1_000_000, 65_536, 16_384, 4099):
        with server.connect() as client:
            client.send_slowly(request + b"GET /last HTTP/1.1\r\nHost: t\r\n\r\n", size=size)
            assert json.loads(client.read_response().body)["body"].encode() == body
            assert client.read_response().body == b"hello /last"
            assert client.is_open()
