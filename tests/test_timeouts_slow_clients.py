"""Clients that are slow on purpose or by misfortune: each is closed in time, and honest ones do not notice."""

import select
import statistics
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.raw import RawConnection
from tests.support.server import ServerProcess, wait_until

INTERFACES = {"asgi": "tests.apps.wire_asgi:app", "wsgi": "tests.apps.wire_wsgi:app"}


@pytest.fixture(params=INTERFACES)
def app(request: pytest.FixtureRequest) -> str:
    return INTERFACES[request.param]


@pytest.fixture(scope="module", params=INTERFACES)
def impatient(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """A server that waits for nobody longer than a second."""
    options = ["--header-timeout=1", "--keep-alive=1", "--write-timeout=1", "--max-requests=0"]
    with ServerProcess("--workers", "1", *options, INTERFACES[request.param]) as server:
        yield server


def test_heads_that_drip_are_closed_at_the_header_timeout_and_honest_clients_do_not_notice(app: str) -> None:
    """200 connections send a byte a second each; all get 408 and are closed, and others are served as ever."""
    head = b"GET / HTTP/1.1\r\nHost: t\r\nX-Slow: " + b"x" * 100
    with ServerProcess("--workers", "1", "--header-timeout=3", "--max-requests=0", app) as server:
        with server.connect() as honest:
            began = time.monotonic()
            dripping = [server.connect() for _ in range(200)]
            latencies = []
            try:
                for second in range(3):
                    for client in dripping:
                        client.send(head[second : second + 1])
                    while time.monotonic() < began + second + 1:
                        asked = time.monotonic()
                        assert honest.get("/honest").status == 200
                        latencies.append(time.monotonic() - asked)
                        time.sleep(0.01)
                for client in dripping:
                    assert client.read_response().status == 408
                    client.wait_closed()
                    client.close()
                elapsed = time.monotonic() - began
            finally:
                for client in dripping:
                    client.close()
            assert 2.9 < elapsed < 10
            assert statistics.median(latencies) < 0.25
            assert sorted(latencies)[int(len(latencies) * 0.95)] < 1
            assert honest.get("/honest").status == 200
        server.wait_for_log("the request head did not come in time")


def test_a_head_is_timed_as_a_whole_however_steadily_it_comes(impatient: ServerProcess) -> None:
    with impatient.connect() as client:
        began = time.monotonic()
        client.send(b"GET / HTTP/1.1\r\nHost: t\r\n")
        while not select.select([client.socket], [], [], 0.1)[0]:
            client.send(b"X: v\r\n")
            assert time.monotonic() - began < 5
        assert client.read_response().status == 408


def test_a_connection_that_says_nothing_is_closed_without_a_word(impatient: ServerProcess) -> None:
    with impatient.connect() as client:
        began = time.monotonic()
        client.wait_closed()
        assert time.monotonic() - began > 0.8


def test_an_idle_connection_is_closed_after_keep_alive(impatient: ServerProcess) -> None:
    with impatient.connect() as client:
        for _ in range(4):
            time.sleep(0.3)
            assert client.get("/").status == 200  # used in time, it stays
        began = time.monotonic()
        client.wait_closed()
        assert time.monotonic() - began > 0.8


def test_the_next_head_on_a_connection_is_timed_from_its_first_byte(impatient: ServerProcess) -> None:
    def in_two_parts() -> bool:
        """Whether both parts were sent when they should be, which a busy machine may thwart."""
        with impatient.connect() as client:
            client.get("/")
            answered = time.monotonic()
            time.sleep(0.6)
            began = time.monotonic()
            try:
                client.send(b"GET / HT")
                time.sleep(0.6)  # past keep-alive since the last response, within the time for a head
                client.send(b"TP/1.1\r\nHost: t\r\n\r\n")
                status = client.read_response().status
            except (OSError, EOFError):
                status = 0
            in_time = began - answered < 0.8 and time.monotonic() - began < 0.8
            assert status == 200 or not in_time
            return in_time

    wait_until(in_two_parts, timeout=30, message="a machine that is quiet for a second")


def test_a_slow_application_is_not_a_slow_client(impatient: ServerProcess) -> None:
    with impatient.connect() as client:
        assert client.get("/sleep?s=1.6").body == b"s=1.6"
        assert client.get("/").status == 200


@pytest.mark.parametrize("path", ["/stream?size=100000000", "/stream?size=100000000&length&chunk=1048576"])
def test_a_client_that_never_reads_is_closed_at_the_write_timeout(impatient: ServerProcess, path: str) -> None:
    before = impatient.stderr.count("does not read its response")
    with RawConnection(impatient.address, receive_buffer=4096) as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        began = time.monotonic()
        impatient.wait_for_log("does not read its response", count=before + 1)
        assert 0.8 < time.monotonic() - began < 5
    wait_until(lambda: in_flight_is_gone(impatient), message="the end of the request of a client that never read")


def in_flight_is_gone(server: ServerProcess) -> bool:
    with server.connect() as client:
        return client.get("/").status == 200


def test_a_client_that_never_reads_pipelined_answers_is_closed_at_the_write_timeout(impatient: ServerProcess) -> None:
    before = impatient.stderr.count("does not read its response")
    with RawConnection(impatient.address, receive_buffer=4096, timeout=0.5) as client:
        wire = b"GET /%s HTTP/1.1\r\nHost: t\r\n\r\n" % (b"x" * 4000)
        try:
            for _ in range(20_000):
                client.send(wire)
        except OSError:  # nobody reads any more
            pass
        impatient.wait_for_log("does not read its response", count=before + 1)


def test_a_response_begun_outside_the_reactor_has_its_deadline_too() -> None:
    """The application wakes by a timer of its own, and only then sends more than the client ever takes."""
    options = ["--workers=1", "--write-timeout=1", "--keep-alive=30", "--header-timeout=30"]
    with ServerProcess(*options, INTERFACES["asgi"]) as server:
        with RawConnection(server.address, receive_buffer=4096) as client:
            client.send(b"GET /slow_start HTTP/1.1\r\nHost: t\r\n\r\n")
            server.wait_for_log("does not read its response")


def test_a_timer_of_the_loop_that_fires_too_early_costs_no_deadline() -> None:
    """The deadline holds although nothing else happens on the worker that would make it look again."""
    options = ["--workers=1", "--loop=asyncio", "--header-timeout=1", "--write-timeout=1"]
    with ServerProcess(*options, "tests.apps.early_timers:app") as server:
        with server.connect() as client:
            client.send(b"GET / HT")
            assert client.read_response().status == 408
        with RawConnection(server.address, receive_buffer=4096) as client:
            client.send(b"GET /stream?size=100000000 HTTP/1.1\r\nHost: t\r\n\r\n")
            server.wait_for_log("does not read its response")


def test_a_slow_but_steady_reader_gets_its_whole_response(impatient: ServerProcess) -> None:
    size = 3_000_000
    with RawConnection(impatient.address, receive_buffer=32768, timeout=5) as client:
        client.send(b"GET /stream?size=%d&length HTTP/1.1\r\nHost: t\r\n\r\n" % size)
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            received += client.socket.recv(1)
        total = 0
        while total < size:
            data = client.socket.recv(150_000)
            assert data, "closed early"
            total += len(data)
            time.sleep(0.05)


def test_a_body_below_the_rate_floor_is_refused_and_one_above_it_is_not(app: str) -> None:
    """After a grace of 5 s: 408 for a body that stalls; a slow one that keeps to the floor goes on."""
    with ServerProcess("--workers", "1", "--body-min-rate=1000", app) as server:
        outcome: dict[str, int] = {}

        def send(name: str, rate: int) -> None:
            with server.connect(timeout=15) as client:
                client.send(b"POST /count HTTP/1.1\r\nHost: t\r\nContent-Length: 13000\r\n\r\n")
                try:
                    for _ in range(65 if rate else 1):
                        client.send(bytes(rate // 10 or 10))
                        time.sleep(0.1)
                    outcome[name] = client.read_response().status
                except OSError as error:
                    outcome[name] = -(error.errno or 1)

        began = time.monotonic()
        threads = [threading.Thread(target=send, args=args) for args in (("stalled", 0), ("steady", 2000))]
        for thread in threads:
            thread.start()
        threads[0].join()
        assert 4.5 < time.monotonic() - began < 12
        threads[1].join()
        assert outcome == {"stalled": 408, "steady": 200}
        server.wait_for_log("the request body did not come in time")


def test_a_reader_below_the_rate_floor_is_closed() -> None:
    """It takes a little within every write time-out, and would hold its response for hours."""
    options = ["--workers=1", "--body-min-rate=1000000", "--write-timeout=30"]
    with ServerProcess(*options, INTERFACES["asgi"]) as server:
        with RawConnection(server.address, receive_buffer=4096, timeout=15) as client:
            client.send(b"GET /stream?size=100000000 HTTP/1.1\r\nHost: t\r\n\r\n")
            began = time.monotonic()
            while "does not read its response" not in server.stderr and time.monotonic() - began < 14:
                try:
                    client.socket.recv(20_000)
                except OSError:
                    break
                time.sleep(0.1)
            server.wait_for_log("does not read its response")
            assert 4.5 < time.monotonic() - began < 14


def test_zero_turns_timeouts_off(app: str) -> None:
    options = ["--header-timeout=0", "--keep-alive=0", "--write-timeout=0", "--body-min-rate=0"]
    with ServerProcess("--workers", "1", *options, app) as server, server.connect() as client:
        client.send(b"GET / HT")
        time.sleep(0.4)
        client.send(b"TP/1.1\r\nHost: t\r\n\r\n")
        assert client.read_response().status == 200
        assert client.is_open(after=0.4)
