"""The end of HTTP/2 connections that the server wants: told twice, nothing under way is lost, nothing new is missed.
And what is counted or refused per stream."""

import signal
import time
from collections.abc import Callable

import pytest

from tests.support.gauges import wait_in_flight
from tests.support.h2 import H2Connection
from tests.support.h2_load import H2Load
from tests.support.server import ServerProcess, wait_until

Serve = Callable[..., ServerProcess]
APPS = pytest.mark.parametrize("app", ["tests.apps.process:asgi", "tests.apps.process:wsgi"])
CHECKS = ("--health-path", "/healthz", "--ready-path", "/readyz")
NO_ERROR, LAST_POSSIBLE = 0, 2**31 - 1


def start(serve: Serve, *arguments: str, workers: int = 1) -> ServerProcess:
    server = serve("-w", str(workers), *arguments)
    server.wait_for_log("Worker ready", count=workers)
    return server


@APPS
def test_goaway_comes_twice_and_what_is_under_way_is_answered(serve: Serve, app: str) -> None:
    server = start(serve, app)
    with H2Connection(server.address) as client:
        client.greet()
        client.ack_pings = False  # the client has not seen the first GOAWAY, as far as the server knows
        stream = client.request("GET", "/long")
        client.wait(lambda: client.exchanges[stream].has_head, "the head")
        server.send_signal(signal.SIGTERM)
        client.wait(lambda: bool(client.goaways), "GOAWAY")
        assert (client.goaways[0].last_stream_id, client.goaways[0].error_code) == (LAST_POSSIBLE, NO_ERROR)
        between = client.request("GET", "/")
        assert client.response(between).status == 200, "a request that crossed the first GOAWAY is served"
        assert len(client.goaways) == 1
        (ping,) = client.pings
        ping.flags.add("ACK")
        client.send_frames(ping)
        client.wait(lambda: len(client.goaways) == 2, "the second GOAWAY")
        assert (client.goaways[1].last_stream_id, client.goaways[1].error_code) == (between, NO_ERROR)
        late = client.request("GET", "/")
        assert client.response(stream).body == b"." * 125
        client.wait_closed()
        assert not client.exchanges[late].heads, "the client knows that this one was not served"
    assert server.wait() == 0
    assert "cut off" not in server.stderr


@APPS
def test_a_client_that_does_not_answer_is_told_the_last_stream_all_the_same(serve: Serve, app: str) -> None:
    server = start(serve, "--graceful-timeout", "4", app)
    with H2Connection(server.address) as client:
        client.ack_pings = False
        assert client.get("/").status == 200
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        client.wait(lambda: bool(client.goaways), "GOAWAY")
        client.pause(0.4)
        late = client.get("/")
        assert late.status == 200, "served within the first part of the grace"
        client.wait_closed()
        assert [goaway.last_stream_id for goaway in client.goaways] == [LAST_POSSIBLE, 3]
        assert 1.8 < time.monotonic() - began < 20
    assert server.wait() == 0


@APPS
def test_readiness_says_503_on_streams_of_a_draining_worker(serve: Serve, app: str) -> None:
    server = start(serve, *CHECKS, app)
    with H2Connection(server.address) as probe:
        probe.ack_pings = False
        busy = probe.request("GET", "/long")
        for method in ("GET", "HEAD", "POST"):
            health = probe.response(probe.request(method, "/healthz", body=b"" if method == "POST" else None))
            assert (health.status, bytes(health.body)) == (200, b"" if method == "HEAD" else b"200 OK: ok\n"), method
        assert probe.get("/readyz").status == 200
        server.send_signal(signal.SIGTERM)
        probe.wait(lambda: bool(probe.goaways), "GOAWAY")
        assert probe.get("/readyz").status == 503
        assert probe.get("/healthz").status == 200
        assert probe.response(busy).status == 200
    assert server.wait() == 0


@APPS
def test_no_request_fails_while_workers_are_replaced_under_load(serve: Serve, app: str) -> None:
    server = start(serve, app, workers=2)
    with H2Load(server.address) as load:
        for turn in range(1, 6):
            before = load.total
            server.send_signal(signal.SIGHUP)
            server.wait_for_log("Worker ready", count=2 + 2 * turn, timeout=30)
            wait_until(lambda before=before: load.total > before + 20, message="answers")  # type: ignore[misc]
    assert load.failures == []
    assert load.total > 200
    assert len(load.served) >= 4, "workers of several generations answered"
    assert load.connections > 3, "clients were sent away, and came back"


@APPS
def test_streams_count_as_requests_for_recycling(serve: Serve, app: str) -> None:
    limits = ("--max-requests", "20", "--max-requests-jitter", "0", "--min-worker-lifetime", "0")
    server = start(serve, *limits, app)
    with H2Connection(server.address) as client:
        for _ in range(19):
            assert client.get("/").status == 200
        assert "Worker retired" not in server.stderr
        assert client.get("/").status == 200
        server.wait_for_log("Worker retired .*cause=max-requests")
        client.wait_closed()
        assert client.goaways[-1].last_stream_id == 39
    with H2Connection(server.address) as client:
        assert client.get("/").status == 200


@APPS
def test_requests_beyond_the_limit_are_refused_stream_by_stream(serve: Serve, app: str) -> None:
    server = start(serve, "--limit-concurrency", "2", app)
    with H2Connection(server.address) as client:
        served = [client.request("GET", "/long") for _ in range(2)]
        wait_in_flight(server, 2)
        refused = [client.get("/") for _ in range(4)]
        assert [(answer.status, answer.head["retry-after"]) for answer in refused] == [(503, "1")] * 4
        assert [client.response(stream).status for stream in served] == [200, 200]
        assert client.get("/").status == 200
