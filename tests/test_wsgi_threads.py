"""The threads of a WSGI worker: slow, stuck and busy applications cost their own requests and nobody else's."""

import signal
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.crowd import Answers, crowd, for_seconds
from tests.support.gauges import wait_in_flight
from tests.support.server import ServerProcess, wait_until
from tests.support.tries import best_of

APP = "tests.apps.wsgi_threads:app"
Serve = Callable[..., ServerProcess]


@pytest.fixture
def start(serve: Serve) -> Serve:
    """One WSGI worker; the access log stays out of the way."""

    def start(*arguments: str, **options: object) -> ServerProcess:
        return serve("--workers", "1", "--interface", "wsgi", "--no-access-log", *arguments, APP, **options)

    return start


def test_four_threads_serve_an_app_that_sleeps_10_ms_at_nearly_400_requests_a_second(start: Serve) -> None:
    server = start("--threads", "4")

    def load() -> Answers:
        return crowd(server, 64, lambda _: for_seconds(1.5, "/sleep?s=0.01", b"slept"))

    assert best_of(5, lambda: load().rate / _ceiling(server, threads=4), lambda share: share >= 0.85) >= 0.85


def _ceiling(server: ServerProcess, threads: int) -> float:
    """Requests a second if the server cost nothing: 400 for four threads, less what this machine overslept since the
    last time."""
    with server.connect() as connection:
        return threads / float(connection.get("/slept").body)


def test_a_stuck_thread_does_not_stop_the_others(start: Serve) -> None:
    server = start("--threads", "4", "--timeout", "0", "--graceful-timeout", "1")
    with server.connect() as stuck:
        stuck.send(b"GET /sleep?s=60 HTTP/1.1\r\nHost: test\r\n\r\n")

        def load() -> Answers:
            return crowd(server, 30, lambda _: for_seconds(1.5, "/sleep?s=0.01", b"slept"))

        assert best_of(5, lambda: load().rate / _ceiling(server, threads=3), lambda share: share >= 0.85) >= 0.85


def test_with_one_thread_all_application_code_runs_on_it(start: Serve) -> None:
    server = start("--threads", "1")
    seen = set()

    def ask(_: int) -> None:
        with server.connect() as connection:
            for _ in range(20):
                seen.add(connection.get("/thread").body)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(16)))
    assert len(seen) == 1
    called, iterated, multithread = seen.pop().decode().split()
    assert called == iterated
    assert multithread == "False"


def test_with_more_threads_the_environ_says_so(start: Serve) -> None:
    with start("--threads", "2").connect() as connection:
        assert connection.get("/thread").body.endswith(b" True")


@pytest.mark.parametrize("way", ["sleep", "spin"])
def test_while_every_thread_is_busy_the_io_thread_answers_what_needs_none(start: Serve, way: str) -> None:
    server = start(
        "--threads", "2", "--limit-concurrency", "3", "--health-path", "/-/health", "--header-timeout", "1.5"
    )
    with ThreadPoolExecutor(3) as pool:
        # Two run; the third is read, parsed and waits for a thread.
        busy = [pool.submit(lambda: _once(server, f"/{way}?s=4")) for _ in range(3)]
        wait_in_flight(server, 3)
        began = time.monotonic()
        with server.connect() as health, server.connect() as fourth, server.connect() as slow:
            slow.send(b"GET / HTTP/1.1\r\nHost:")
            assert health.get("/-/health").status == 200
            refused = fourth.get("/echo?text=x")
            assert refused.status == 503
            assert refused.header("retry-after") is not None
            late = slow.read_response()
            assert late.status == 408
            assert time.monotonic() - began > 1.3
            assert health.get("/-/health").status == 200
        assert not any(each.done() for each in busy)
        assert [each.result() for each in busy] == [200, 200, 200]


def _once(server: ServerProcess, target: str) -> int:
    with server.connect(timeout=30) as connection:
        return connection.get(target).status


def test_short_busy_calls_do_not_keep_new_connections_waiting(start: Serve) -> None:
    server = start("--threads", "4", "--health-path", "/-/health")

    def median_wait() -> float:
        with ThreadPoolExecutor(1) as pool:
            busy = pool.submit(crowd, server, 100, lambda _: for_seconds(2, "/spin?s=0.0015", b"spun"))
            time.sleep(0.5)
            waits = []
            for _ in range(20):
                began = time.monotonic()
                assert _once(server, "/-/health") == 200
                waits.append(time.monotonic() - began)
            assert busy.result().responses > 200
            return sorted(waits)[10]

    # A round of all 100 takes 150 ms and more.
    assert best_of(4, median_wait, lambda wait: wait < 0.075) < 0.075


def test_requests_lose_nothing_among_sleeping_and_busy_handlers(start: Serve) -> None:
    server = start("--threads", "4")

    def ask(number: int) -> Iterable[tuple[str, bytes]]:
        for turn in range(50):
            text = f"{number}.{turn}"
            match (number + turn) % 25:
                case 0:
                    yield "/sleep?s=0.005", b"slept"
                case 1:
                    yield "/spin?s=0.003", b"spun"
                case _:
                    yield f"/echo?text={text}", text.encode()

    load = crowd(server, 200, ask)
    assert load.responses == 10_000


def test_pipelined_requests_are_answered_in_order_by_four_threads(start: Serve) -> None:
    server = start("--threads", "4")
    delays = ["0.02", "0", "0.005", "0", "0", "0.01", "0", "0.003", "0", "0"]
    requests = b"".join(
        f"GET /echo?text={number}&sleep={delay} HTTP/1.1\r\nHost: test\r\n\r\n".encode()
        for number, delay in enumerate(delays)
    )

    def ask(_: int) -> list[bytes]:
        with server.connect() as connection:
            connection.send(requests)
            return [connection.read_response().body for _ in delays]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(64)))
    assert answers == [[str(number).encode() for number in range(len(delays))]] * 64


def test_the_first_answer_does_not_wait_for_a_slow_request_behind_it(start: Serve) -> None:
    with start("--threads", "1").connect() as connection:
        connection.send(b"GET /echo?text=1 HTTP/1.1\r\nHost: test\r\n\r\nGET /sleep?s=2 HTTP/1.1\r\nHost: test\r\n\r\n")
        began = time.monotonic()
        assert connection.read_response().body == b"1"
        assert time.monotonic() - began < 1.9
        assert connection.read_response().body == b"slept"


def test_a_drain_answers_what_runs_and_what_waits_for_a_thread(start: Serve) -> None:
    server = start("--threads", "2", "--graceful-timeout", "10")
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(_once, server, "/sleep?s=0.7") for _ in range(8)]
        wait_in_flight(server, 8)
        server.send_signal(signal.SIGTERM)
        assert [each.result() for each in asked] == [200] * 8
    assert server.wait() == 0


def test_a_drain_leaves_stuck_threads_behind_at_the_end_of_its_grace(start: Serve) -> None:
    server = start("--threads", "2", "--graceful-timeout", "1")
    with server.connect() as connection:
        connection.send(b"GET /sleep?s=60 HTTP/1.1\r\nHost: test\r\n\r\n")
        wait_in_flight(server, 1)
        began = time.monotonic()
        assert server.stop() == 0
        assert 0.8 < time.monotonic() - began < 15


def test_an_idle_worker_costs_next_to_nothing(start: Serve) -> None:
    server = start("--threads", "4")
    with server.connect() as connection:
        assert connection.get("/echo?text=x").body == b"x"
        time.sleep(1)
        before = server.cpu()
        time.sleep(3)
        assert (server.cpu() - before).total < 0.1


def test_a_worker_out_of_descriptors_neither_spins_nor_floods_the_log_and_recovers(start: Serve) -> None:
    server = start("--threads", "2", prefix=["prlimit", "--nofile=80:80"])
    with server.connect() as greedy:
        greedy.send(b"GET /descriptors?count=100 HTTP/1.1\r\nHost: test\r\n\r\n")
        # Its head and first line come once it has them all.
        assert greedy.socket.recv(1, socket.MSG_PEEK)
        before = server.cpu()
        with server.connect() as late:
            late.send(b"GET /echo?text=late HTTP/1.1\r\nHost: test\r\n\r\n")
            assert late.read_response().body == b"late"
        assert (server.cpu() - before).total < 0.4
        assert greedy.read_response().body.endswith(b"given back")
    assert server.stderr.count("Cannot accept a connection") == 1


def test_a_child_that_the_application_forked_cannot_close_a_strangers_connection(start: Serve) -> None:
    server = start("--threads", "2")
    first = server.connect()
    assert first.get("/fork?s=5").body == b"forked"
    # The worker closes its side; the child keeps the socket, and with it its registration, alive.
    assert first.get("/echo?text=x", fields="Connection: close\r\n").body == b"x"
    strangers = [server.connect() for _ in range(4)]
    for stranger in strangers:
        assert stranger.get("/echo?text=y").body == b"y"
    first.reset()
    time.sleep(0.5)
    for stranger in strangers:
        assert stranger.get("/echo?text=z").body == b"z"
        stranger.close()
    wait_until(lambda: len(server.survivors()) == 1, message="the forked child ends")


def test_as_many_requests_run_at_once_as_there_are_threads(start: Serve) -> None:
    server = start("--threads", "60")
    began = time.monotonic()
    with ThreadPoolExecutor(60) as pool:
        assert list(pool.map(lambda _: _once(server, "/sleep?s=2"), range(60))) == [200] * 60
    assert time.monotonic() - began < 3.9
