"""Requests that arrive before the answer to the one before them: in order, none lost, and the look-ahead bounded."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.support.raw import every_split
from tests.support.server import ServerProcess

INTERFACES = {"asgi": "tests.apps.wire_asgi:app", "wsgi": "tests.apps.wire_wsgi:app"}

PLAIN = b"GET /%d HTTP/1.1\r\nHost: t\r\n\r\n"
LENGTH = b"POST /echo/%d HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody"
CHUNKED = b"PUT /echo/%d HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n1\r\ny\r\n0\r\n\r\n"
TEN = b"".join((LENGTH, PLAIN, PLAIN, CHUNKED, PLAIN)[number % 5] % number for number in range(10))
"""Ten requests: without a body, with one of declared length, and with a chunked one."""


@pytest.fixture(scope="module", params=INTERFACES)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", "--max-requests", "0", INTERFACES[request.param]) as server:
        yield server


def check_ten(server: ServerProcess, *pieces: bytes, pause: float = 0.0) -> None:
    with server.connect() as client:
        for piece in pieces:
            client.send(piece)
            if pause:
                time.sleep(pause)
        for number in range(10):
            response = client.read_response()
            assert response.status == 200
            if number % 5 in {1, 2, 4}:
                assert response.body == b"hello /%d" % number
            else:
                told = json.loads(response.body)
                assert (told["raw_path"], told["body"]) == (f"/echo/{number}", "body")
        assert client.is_open()


def test_ten_requests_in_one_write_get_ten_answers_in_order(server: ServerProcess) -> None:
    check_ten(server, TEN)


def test_ten_requests_cut_at_every_place_get_ten_answers_in_order(server: ServerProcess) -> None:
    for pieces in every_split(TEN):
        check_ten(server, *pieces, pause=0.0005)


def test_ten_requests_byte_by_byte_get_ten_answers_in_order(server: ServerProcess) -> None:
    check_ten(server, *(bytes([byte]) for byte in TEN), pause=0.0002)


def test_a_request_sent_while_the_one_before_it_runs_is_answered_after_it(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(b"GET /sleep?s=0.2 HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.05)
        client.send(b"GET /second HTTP/1.1\r\nHost: t\r\n\r\nGET /thi")
        time.sleep(0.05)
        client.send(b"rd HTTP/1.1\r\nHost: t\r\n\r\n")
        assert [client.read_response().body for _ in range(3)] == [b"s=0.2", b"hello /second", b"hello /third"]


def test_an_answer_does_not_wait_for_the_slow_request_behind_it(server: ServerProcess) -> None:
    with server.connect() as client:
        began = time.monotonic()
        client.send(b"GET /fast HTTP/1.1\r\nHost: t\r\n\r\nGET /sleep?s=3 HTTP/1.1\r\nHost: t\r\n\r\n")
        assert client.read_response().body == b"hello /fast"
        assert time.monotonic() - began < 2.9


def test_an_answer_does_not_wait_for_the_rest_of_the_next_request(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(b"GET /one HTTP/1.1\r\nHost: t\r\n\r\nGET /two HTTP/1.1\r\nHo")
        assert client.read_response().body == b"hello /one"
        client.send(b"st: t\r\n\r\n")
        assert client.read_response().body == b"hello /two"


def test_a_flood_of_pipelined_requests_is_read_no_further_than_the_look_ahead(server: ServerProcess) -> None:
    """What a client sends ahead waits in its own socket: the server holds a bounded part of it."""
    requests = 20_000
    wire = b"GET /x HTTP/1.1\r\nHost: t\r\n\r\n" * requests
    with server.connect(timeout=30) as client:
        client.send(b"GET /sleep?s=1 HTTP/1.1\r\nHost: t\r\n\r\n")
        before = server.worker_rss()
        client.socket.settimeout(0.3)
        sent = 0
        try:
            while sent < len(wire):
                sent += client.socket.send(wire[sent:])
        except TimeoutError:
            pass
        assert server.worker_rss() - before < 2 * 1024 * 1024
        client.socket.settimeout(30)
        assert client.read_response().body == b"s=1"
        complete = sent // 28
        for _ in range(complete):
            assert client.read_response().body == b"hello /x"


def test_requests_behind_one_that_closes_are_not_run(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(b"GET /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: t\r\n\r\n")
        assert client.read_response().header("connection") == "close"
        client.wait_closed()
    assert 'path="/b"' not in server.stdout


def test_a_bad_request_behind_good_ones_is_refused_after_their_answers(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(b"GET /a HTTP/1.1\r\nHost: t\r\n\r\nGET /b HTTP/1.1\r\nHost: t\r\n\r\nGET  /c HTTP/1.1\r\n\r\n")
        assert [client.read_response().status for _ in range(3)] == [200, 200, 400]
        client.wait_closed()


def test_a_next_request_that_fin_cut_off_does_not_hold_the_connection(server: ServerProcess) -> None:
    for rest in (b"T", b"GET /next HTTP/1.1\r\nHost: t", b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\n"):
        began = time.monotonic()
        with server.connect() as client:
            client.send(b"GET /sleep?s=0.05 HTTP/1.1\r\nHost: t\r\n\r\n" + rest)
            client.half_close()
            assert client.read_response().body == b"s=0.05"
            client.read_to_end()
        assert time.monotonic() - began < 8  # instead of 10 or more, the time for a head


def test_a_client_that_hangs_up_after_its_requests_gets_all_answers(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(TEN)
        client.half_close()
        for _ in range(10):
            assert client.read_response().status == 200
        client.wait_closed()
