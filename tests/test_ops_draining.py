"""Draining: what is refused, what is finished, who is told, and how long it may take."""

import signal
import time
from collections.abc import Callable

import pytest

from tests.support.gauges import wait_in_flight
from tests.support.raw import RawConnection
from tests.support.server import ServerProcess, wait_until

Serve = Callable[..., ServerProcess]
APPS = pytest.mark.parametrize("app", ["tests.apps.process:asgi", "tests.apps.process:wsgi"])
CHECKS = ("--health-path", "/healthz", "--ready-path", "/readyz")


def start(serve: Serve, *arguments: str, workers: int = 1) -> ServerProcess:
    server = serve("-w", str(workers), *arguments)
    server.wait_for_log("Worker ready", count=workers)
    return server


def ask(connection: RawConnection, path: str) -> None:
    connection.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())


@APPS
def test_a_draining_server_finishes_its_streams_and_refuses_new_connections(serve: Serve, app: str) -> None:
    server = start(serve, app, workers=2)
    with server.connect() as stream:
        ask(stream, "/long")
        wait_in_flight(server, 1)
        server.send_signal(signal.SIGTERM)
        wait_until(server.refuses, message="connections refused")
        assert stream.read_response().body == b"." * 125
    assert server.wait() == 0


@APPS
def test_readiness_says_503_from_the_first_moment_and_a_kept_connection_is_not_cut_under_its_client(
    serve: Serve, app: str
) -> None:
    server = start(serve, *CHECKS, app)
    with server.connect() as kept, server.connect() as probe, server.connect() as busy:
        assert kept.get("/").status == 200
        assert probe.get("/readyz").status == 200
        ask(busy, "/until-draining")
        wait_in_flight(server, 1)
        server.send_signal(signal.SIGTERM)
        # The worker has been told when its application has: from then on there is no other answer.
        assert busy.read_response().status == 200
        assert probe.get("/readyz").status == 503
        response = kept.get("/")
        assert (response.status, response.header("connection")) == (200, "close")
        kept.wait_closed()
    assert server.wait() == 0


@APPS
def test_an_idle_kept_connection_is_closed_after_the_first_part_of_the_grace(serve: Serve, app: str) -> None:
    server = start(serve, "--graceful-timeout", "4", app)
    with server.connect() as kept:
        assert kept.get("/").status == 200
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert kept.is_open(after=1)
        kept.wait_closed()
        assert 1.9 < time.monotonic() - began < 3.9
    assert server.wait() == 0


@APPS
def test_the_drain_delay_serves_everybody_while_readiness_says_503(serve: Serve, app: str) -> None:
    server = start(serve, *CHECKS, "--drain-delay", "1.5", app, workers=2)
    began = time.monotonic()
    server.send_signal(signal.SIGTERM)
    server.wait_for_log("Stopping by=SIGTERM")
    answers = []
    while time.monotonic() - began < 1.2:
        with server.connect() as client:
            ready, response, health = (client.get(path) for path in ("/readyz", "/", "/healthz"))
        if time.monotonic() - began < 1.5:  # not one that a busy machine has let slip out of the delay
            answers.append((ready.status, response.status, response.header("connection"), health.status))
    assert set(answers) == {(503, 200, None, 200)}
    assert server.wait() == 0
    assert time.monotonic() - began >= 1.5


@APPS
def test_applications_see_that_their_worker_drains(serve: Serve, app: str) -> None:
    server = start(serve, app)
    with server.connect() as client:
        ask(client, "/until-draining")
        wait_in_flight(server, 1)
        server.send_signal(signal.SIGTERM)
        response = client.read_response()
        assert (response.status, response.header("connection")) == (200, "close")
        assert server.wait() == 0


@APPS
def test_a_recycled_worker_lets_streams_go_on_for_the_recycle_grace(serve: Serve, app: str) -> None:
    limits = ("--max-requests", "2", "--max-requests-jitter", "0", "--min-worker-lifetime", "0")
    server = start(serve, *limits, "--graceful-timeout", "0.5", app)
    with server.connect() as stream, server.connect() as other:
        ask(stream, "/long")
        assert other.get("/").status == 200
        server.wait_for_log("Worker retired .*cause=max-requests")
        assert stream.read_response().body == b"." * 125
    server.wait_for_log("Worker left .*cause=max-requests exit=0")
    assert "cut off" not in server.stderr


@APPS
def test_the_recycle_grace_ends(serve: Serve, app: str) -> None:
    limits = ("--max-requests", "2", "--max-requests-jitter", "0", "--min-worker-lifetime", "0")
    server = start(serve, *limits, "--graceful-timeout", "0.5", "--recycle-grace", "1", app)
    with server.connect() as stream, server.connect() as other:
        ask(stream, "/hang" if app.endswith(":asgi") else "/block")
        began = time.monotonic()
        assert other.get("/").status == 200
        server.wait_for_log("Worker retired .*cause=max-requests")
        server.wait_for_log("Requests cut off at the end of the grace worker=1 in_flight=1")
        assert time.monotonic() - began > 0.9
    server.wait_for_log("Worker left .*cause=max-requests exit=0")


def test_health_is_answered_while_every_thread_is_busy(serve: Serve) -> None:
    server = start(serve, *CHECKS, "--threads", "2", "--graceful-timeout", "0.5", "tests.apps.process:wsgi")
    clients = [server.connect() for _ in range(6)]  # more than there are threads: some wait for one
    for client in clients:
        ask(client, "/block")
    wait_in_flight(server, 6)
    with server.connect() as probe:
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            probe.send(f"{method} /healthz HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n".encode())
            assert probe.read_response(method=method).status == 200
        assert probe.get("/readyz").status == 200
        ask(probe, "/healthz/")  # an exact match: this one is the application's, and waits with the others
        probe.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            probe.read_response()
    for client in clients:
        client.close()
