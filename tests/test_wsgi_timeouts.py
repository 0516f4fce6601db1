"""Requests that take too long: the client is told, the log shows where the thread is, the worker is replaced."""

import re
import signal
import time
from collections.abc import Callable

import pytest

from tests.support.server import ServerProcess, wait_until

APP = "tests.apps.wsgi_threads:app"
Serve = Callable[..., ServerProcess]


@pytest.fixture
def start(serve: Serve) -> Serve:
    def start(*arguments: str) -> ServerProcess:
        return serve("--workers", "1", "--interface", "wsgi", *arguments, APP)

    return start


def test_a_stuck_request_is_answered_504_with_its_stack_in_the_log_and_a_new_thread(start: Serve) -> None:
    server = start("--threads", "1", "--request-timeout", "1")
    began = time.monotonic()
    with server.connect() as stuck, server.connect() as next_one:
        stuck.send(b"GET /sleep?s=20 HTTP/1.1\r\nHost: test\r\n\r\n")
        response = stuck.read_response()
        assert response.status == 504
        assert response.header("connection") == "close"
        assert time.monotonic() - began > 0.9
        # The only thread is stuck: this answer comes from its successor.
        assert next_one.get("/echo?text=x").body == b"x"
        assert time.monotonic() - began < 19
    server.wait_for_log(r'Request timed out.*path="/sleep"')
    server.wait_for_log("in serve_sleep")
    server.wait_for_log(r"time\.sleep\(float\(s\)\)")


@pytest.mark.parametrize("size", [0, 48_000], ids=["without a body", "with a body that it does not read"])
def test_the_worker_of_a_stuck_request_is_replaced_without_losing_any_other(start: Serve, size: int) -> None:
    server = start("--threads", "2", "--request-timeout", "1")
    with server.connect() as connection:
        first = connection.get("/pid").body
    with server.connect() as stuck:
        stuck.send(b"POST /sleep?s=60 HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        assert stuck.read_response().status == 504
    pids = set()

    def replaced() -> bool:
        with server.connect() as connection:
            pids.add(connection.get("/pid").body)
        return pids > {first} and len(server.workers()) == 1

    wait_until(replaced, timeout=15, message="the worker is replaced and gone")
    assert re.search(r"request-timeout", server.stderr)


def test_a_thread_that_comes_back_late_leaves_quietly(start: Serve) -> None:
    server = start("--threads", "1", "--request-timeout", "0.5", "--recycle-grace", "60")
    with server.connect() as stuck:
        stuck.send(b"GET /sleep?s=1.5 HTTP/1.1\r\nHost: test\r\n\r\n")
        assert stuck.read_response().status == 504
    for _ in range(20):
        with server.connect() as connection:
            assert connection.get("/echo?text=x").body == b"x"
        time.sleep(0.1)
    assert "Exception" not in server.stderr
    assert server.stop() == 0


def test_a_response_that_has_begun_is_cut_off_not_completed(start: Serve) -> None:
    server = start("--threads", "2", "--request-timeout", "1")
    with server.connect() as connection:
        connection.send(b"GET /blocks?size=10&pause=3 HTTP/1.1\r\nHost: test\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            connection.read_to_end()


def test_a_thread_that_waits_for_its_client_is_not_given_up(start: Serve) -> None:
    server = start("--threads", "1", "--request-timeout", "1", "--body-memory", "1024")
    with server.connect() as slow:
        slow.send(b"POST /count?size=-1 HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n" + bytes(2000))
        assert slow.read_response().status == 504
    with server.connect() as connection:
        assert connection.get("/echo?text=x").body == b"x"
    time.sleep(1.5)
    assert "stuck" not in server.stderr
    assert "request-timeout" not in server.stderr


def test_requests_that_wait_too_long_for_a_thread_are_answered_too(start: Serve) -> None:
    server = start("--threads", "1", "--request-timeout", "1")
    with server.connect() as first, server.connect() as second:
        first.send(b"GET /sleep?s=10 HTTP/1.1\r\nHost: test\r\n\r\n")
        time.sleep(0.3)
        second.send(b"GET /sleep?s=0.9 HTTP/1.1\r\nHost: test\r\n\r\n")
        assert first.read_response().status == 504
        # Its time began when it came, not when a thread took it.
        assert second.read_response().status in {200, 504}
        assert len(re.findall("Request timed out", server.stderr)) <= 2


def test_a_worker_whose_threads_are_all_stuck_is_killed_and_replaced(start: Serve) -> None:
    server = start("--threads", "2", "--timeout", "2")
    # On a busy machine the worker may have been late with its beat, and its successor be on the way.
    wait_until(lambda: len(server.workers()) == 1, message="there is one worker")
    (worker,) = server.workers()
    with server.connect() as first, server.connect() as second:
        for victim in (first, second):
            victim.send(b"GET /sleep?s=60 HTTP/1.1\r\nHost: test\r\n\r\n")
        wait_until(lambda: worker not in server.workers(), message="the stuck worker is killed")
    with server.connect() as connection:
        assert connection.get("/echo?text=x").body == b"x"
    assert server.stderr.count("in serve_sleep") == 2


def test_long_streams_are_not_taken_for_stuck_threads(start: Serve) -> None:
    server = start("--threads", "1", "--timeout", "2")
    with server.connect() as connection:
        connection.send(b"GET /ticks?count=10&pause=0.5 HTTP/1.1\r\nHost: test\r\n\r\n")
        assert connection.read_response().body.count(b"data:") == 10
    assert server.stop(signal.SIGTERM) == 0
