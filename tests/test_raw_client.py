"""The suite's own client: it must refuse what is not HTTP/1.1, or tests that use it could not fail."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.raw import MalformedResponseError, RawConnection, every_split


@pytest.fixture
def pair() -> Iterator[tuple[RawConnection, socket.socket]]:
    """A client and the server's end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with RawConnection(listener.getsockname(), timeout=5) as client:
            peer, _ = listener.accept()
            with peer:
                yield client, peer


def test_responses_are_read_one_at_a_time(pair: tuple[RawConnection, socket.socket]) -> None:
    client, peer = pair
    peer.sendall(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Two: a\r\nx-two: b\r\n\r\nhi"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nT: 1\r\n\r\n"
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n"
        b"HTTP/1.1 204 \r\n\r\n"
    )
    assert client.read_response().status == 103
    second = client.read_response()
    assert (second.status, second.reason, second.body) == (200, "OK", b"hi")
    assert second.values("X-Two") == ["a", "b"]
    assert client.read_response().body == b"abcd"
    assert client.read_response(method="HEAD").status == 404
    assert client.read_response().reason == ""


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", id="short-content"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n", id="long-chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", id="no-last-chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", id="two-lengths"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="length-and-chunked",
        ),
        pytest.param(b"HTTP/1.1 OK\r\n\r\n", id="no-status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nBad Name : x\r\n\r\n", id="space-before-colon"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-", id="cut-head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: a\nY: b\r\nContent-Length: 0\r\n\r\n", id="bare-line-feed"),
    ],
)
def test_malformed_responses_are_refused(pair: tuple[RawConnection, socket.socket], wire: bytes) -> None:
    client, peer = pair
    peer.sendall(wire)
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(MalformedResponseError):
        client.read_response()


def test_an_open_connection_is_told_from_a_closed_one(pair: tuple[RawConnection, socket.socket]) -> None:
    client, peer = pair
    assert client.is_open()
    peer.close()
    assert not client.is_open(after=0.05)
    client.wait_closed()


def test_every_split_covers_every_cut() -> None:
    assert list(every_split(b"abc")) == [(b"a", b"bc"), (b"ab", b"c")]
