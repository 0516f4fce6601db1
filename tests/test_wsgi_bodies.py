"""Request and response bodies of WSGI applications: blocking reads, bounded memory, slow clients on both ends."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.gauges import wait_in_flight
from tests.support.raw import RawConnection
from tests.support.server import ServerProcess

APP = "tests.apps.wsgi_threads:app"
MIB = 1 << 20
Serve = Callable[..., ServerProcess]


@pytest.fixture
def start(serve: Serve) -> Serve:
    def start(*arguments: str) -> ServerProcess:
        return serve("--workers", "1", "--interface", "wsgi", "--no-access-log", *arguments, APP)

    return start


def upload(connection: RawConnection, target: str, size: int, *, chunked: bool) -> bytes:
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
    connection.send(b"POST %s HTTP/1.1\r\nHost: test\r\n%s\r\n\r\n" % (target.encode(), framing))
    piece = bytes(MIB)
    for _ in range(size // MIB):
        connection.send(b"%x\r\n%s\r\n" % (MIB, piece) if chunked else piece)
    if chunked:
        connection.send(b"0\r\n\r\n")
    return connection.read_response().body


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_large_upload_that_is_read_in_odd_pieces_takes_little_memory(start: Serve, chunked: bool) -> None:
    server = start("--threads", "1")
    with server.connect(timeout=60) as connection:
        assert upload(connection, "/count?size=9973", 4 * MIB, chunked=chunked) == b"%d" % (4 * MIB)
        before = server.worker_rss()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(upload, connection, "/count?size=9973", 200 * MIB, chunked=chunked)
            highest = before
            while not answer.done():
                highest = max(highest, server.worker_rss())
                time.sleep(0.02)
            assert answer.result() == b"%d" % (200 * MIB)
    assert highest - before < 16 * MIB


@pytest.mark.parametrize("size", [-1, 1, 1000, 65536, 1 << 30])
def test_reads_of_every_size_give_every_byte_once(start: Serve, size: int) -> None:
    server = start("--threads", "2", "--body-memory", "50000")
    length = 20_000 if size == 1 else 3 * MIB
    with server.connect() as connection:
        for framing in (b"Content-Length: %d" % length, b"Transfer-Encoding: chunked"):
            connection.send(b"POST /count?size=%d HTTP/1.1\r\nHost: test\r\n%s\r\n\r\n" % (size, framing))
            body = bytes(length)
            connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (length, body) if b"chunked" in framing else body)
            assert connection.read_response().body == b"%d" % length


def test_lines_are_whole_however_they_come(start: Serve) -> None:
    body = b"".join(b"x" * (number * 37 % 3000) + b"\n" for number in range(100)) + b"no newline"
    server = start("--threads", "1", "--body-memory", "10")
    with server.connect() as connection:
        connection.send(b"POST /lines HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body))
        connection.send_slowly(body, size=9000, delay=0.01)
        assert connection.read_response().body == b"101 %d" % len(body)


def test_a_short_upload_takes_no_thread_until_it_is_in(start: Serve) -> None:
    server = start("--threads", "1")
    with server.connect() as slow, server.connect() as quick:
        slow.send(b"POST /count?size=-1 HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n12345")
        time.sleep(0.2)
        assert quick.get("/echo?text=x").body == b"x"
        slow.send(b"67890")
        assert slow.read_response().body == b"10"


def test_a_client_is_not_blamed_for_a_body_that_the_application_does_not_read(start: Serve) -> None:
    server = start("--threads", "1", "--body-memory", "1000", "--body-min-rate", "1000000")
    with server.connect(timeout=20) as connection:
        # Ferrule's grace for slow bodies is 5 s.
        assert upload(connection, "/count?size=-1&pause=7", 3 * MIB, chunked=False) == b"%d" % (3 * MIB)


def test_an_upload_below_the_floor_frees_its_thread(start: Serve) -> None:
    server = start("--threads", "1", "--body-memory", "1000", "--body-min-rate", "1000000")
    with server.connect(timeout=20) as slow, server.connect(timeout=20) as waiting:
        slow.send(b"POST /count?size=-1 HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n" + bytes(5000))
        began = time.monotonic()
        wait_in_flight(server, 1)
        assert waiting.get("/echo?text=x").body == b"x"
        assert 4 < time.monotonic() - began < 15
        assert slow.read_response().status == 408
    assert "Exception" not in server.stderr


def test_an_upload_that_breaks_off_is_not_the_applications_error(start: Serve) -> None:
    server = start("--threads", "1", "--body-memory", "1000")
    with server.connect() as connection:
        connection.send(b"POST /count?size=-1 HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n" + bytes(5000))
        connection.half_close()
        assert connection.read_response().status == 400
    assert "Exception" not in server.stderr


def test_a_slow_reader_holds_its_thread_only_as_long_as_the_floor_allows(start: Serve) -> None:
    server = start("--threads", "1", "--write-timeout", "2")
    with RawConnection(server.address, receive_buffer=4096) as slow, server.connect() as waiting:
        slow.send(b"GET /stream?size=50000000 HTTP/1.1\r\nHost: test\r\n\r\n")
        began = time.monotonic()
        wait_in_flight(server, 1)
        assert waiting.get("/echo?text=x").body == b"x"
        assert time.monotonic() - began > 1
    assert "Exception" not in server.stderr


def test_a_streamed_response_to_a_slow_reader_takes_little_memory(start: Serve) -> None:
    server = start("--threads", "1")
    with server.connect() as connection:
        assert len(connection.get("/stream?size=1000000").body) == 1_000_000
        before = server.worker_rss()
        connection.send(b"GET /stream?size=200000000 HTTP/1.1\r\nHost: test\r\n\r\n")
        time.sleep(1)
        assert server.worker_rss() - before < 16 * MIB
        assert len(connection.read_response().body) == 200_000_000
        assert server.worker_rss() - before < 16 * MIB


def test_a_block_arrives_while_the_application_makes_the_next_one(start: Serve) -> None:
    # How much the kernel takes at once is its own business. One of these sizes is a little more than that: so little
    # that the application is not made to wait, and goes on to sleep while the rest of its block is still to be sent.
    sizes = range(60_000, 6_000_000, 60_000)
    server = start("--threads", str(len(sizes)))

    def ask(size: int) -> float:
        with RawConnection(server.address, receive_buffer=400_000) as connection:
            connection.send(b"GET /blocks?size=%d&pause=6 HTTP/1.1\r\nHost: test\r\n\r\n" % size)
            time.sleep(1)
            began = time.monotonic()
            received = 0
            while received < size:
                received += len(connection.socket.recv(1 << 20))
            return time.monotonic() - began

    with ThreadPoolExecutor(len(sizes)) as pool:
        waits = list(pool.map(ask, sizes))
    assert max(waits) < 4, waits  # instead of 5: the pause, less the second before


def test_file_wrapper_frees_its_thread_at_once(start: Serve) -> None:
    server = start("--threads", "1", "--write-timeout", "10")
    with RawConnection(server.address, receive_buffer=65536) as slow, server.connect() as other:
        slow.send(b"GET /file?size=50000000 HTTP/1.1\r\nHost: test\r\n\r\n")
        assert slow.socket.recv(1000)
        for _ in range(5):
            began = time.monotonic()
            assert other.get("/echo?text=x").body == b"x"
            assert time.monotonic() - began < 5
        total = 1000
        while total < 50_000_000:
            data = slow.socket.recv(1 << 20)
            assert data, total
            total += len(data)


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_files_arrive_whole_and_the_connection_goes_on(start: Serve, kind: str) -> None:
    server = start("--threads", "2")
    with server.connect() as connection:
        for size in (0, 1, 65536, 5_000_000):
            assert len(connection.get(f"/file?size={size}&kind={kind}").body) == size
        assert len(connection.get("/file?size=100&kind=file", fields="Connection: close\r\n").body) == 100
        connection.wait_closed()


def test_requests_behind_a_file_are_answered_after_it(start: Serve) -> None:
    server = start("--threads", "4")
    with server.connect() as connection:
        connection.send(
            b"GET /file?size=20000000 HTTP/1.1\r\nHost: test\r\n\r\n"
            b"GET /echo?text=behind HTTP/1.1\r\nHost: test\r\n\r\n"
        )
        assert len(connection.read_response().body) == 20_000_000
        assert connection.read_response().body == b"behind"
