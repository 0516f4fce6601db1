"""Bodies that are in the socket when their head is read stay there until the application reads them."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.gauges import wait_in_flight
from tests.support.raw import RawConnection
from tests.support.server import ServerProcess, wait_until

APP = "tests.apps.wsgi_threads:app"
# More than is read with a head, no more than a socket takes from a client whose server does not read.
BODY = "".join(f"line {number}\n" for number in range(5000)).encode()[:48_000]
Serve = Callable[..., ServerProcess]


@pytest.fixture
def server(serve: Serve) -> ServerProcess:
    return serve("--workers", "1", "--threads", "1", "--interface", "wsgi", "--no-access-log", APP)


def post(target: str, body: bytes = BODY) -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s" % (target.encode(), len(body), body)


def until(file: Path) -> bytes:
    return f"GET /until?file={file} HTTP/1.1\r\nHost: test\r\n\r\n".encode()


def get(text: str) -> bytes:
    return b"GET /echo?text=%s HTTP/1.1\r\nHost: test\r\n\r\n" % text.encode()


def states(pid: int) -> list[str]:
    """Of the threads (proc(5), /proc/PID/stat)."""
    stats = Path(f"/proc/{pid}/task").glob("*/stat")
    return [stat.read_text().rpartition(")")[2].split()[0] for stat in stats]


@contextmanager
def stopped(server: ServerProcess) -> Iterator[None]:
    """What is sent meanwhile is found all at once."""
    server.wait_for_log("Ready")
    [worker] = server.workers()
    os.kill(worker, signal.SIGSTOP)
    wait_until(lambda: all(state == "T" for state in states(worker)), message="every thread to stop")
    try:
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


def unread(client: RawConnection, server: ServerProcess) -> int:
    """Bytes that wait in the server's socket (proc(5), /proc/net/tcp)."""
    ends = {f":{server.port:04X}", f":{client.socket.getsockname()[1]:04X}"}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if {columns[1][-5:], columns[2][-5:]} == ends and columns[1].endswith(f":{server.port:04X}"):
            return int(columns[4].partition(":")[2], 16)
    raise AssertionError("no such connection")


@pytest.mark.parametrize("size", [-1, 7, 1000, 16_384, 40_000, len(BODY), len(BODY) + 1, 1 << 30])
def test_reads_of_every_size_give_the_body_and_leave_the_next_request(server: ServerProcess, size: int) -> None:
    with server.connect() as client:
        with stopped(server):
            client.send(post(f"/back?size={size}") + get("next"))
        assert client.read_response().body == BODY
        assert client.read_response().body == b"next"
        # And when nothing follows.
        with stopped(server):
            client.send(post(f"/back?size={size}"))
        assert client.read_response().body == BODY
        client.send(get("last"))
        assert client.read_response().body == b"last"


def test_lines_are_whole(server: ServerProcess) -> None:
    with server.connect() as client:
        with stopped(server):
            client.send(post("/lines"))
        assert client.read_response().body == b"%d %d" % (len(BODY.splitlines()), len(BODY))


@pytest.mark.parametrize("target", ["/echo?text=unread", "/back?size=1000&most=500", "/back?size=30000&most=20000"])
def test_what_the_application_leaves_is_not_taken_for_a_request(server: ServerProcess, target: str) -> None:
    with server.connect() as client:
        for _ in range(3):
            with stopped(server):
                client.send(post(target))
            assert client.read_response().status == 200
            client.send(get("next"))
            assert client.read_response().body == b"next"


def test_a_long_body_that_nobody_reads_does_not_hold_up_the_connection(serve: Serve) -> None:
    """Not collected, received as far as there is room, and skipped from there on."""
    server = serve("--workers", "1", "--threads", "1", "--interface", "wsgi", "--body-memory", "1000", APP)
    with server.connect() as client:
        # No more of it than what has come when the application starts and what is skipped then.
        for _ in range(3):
            client.send(post("/echo?text=unread", bytes(140_000)))
            assert client.read_response().body == b"unread"
            # The connection would be closed by now.
            time.sleep(3)
            client.send(get("next"))
            assert client.read_response().body == b"next"


def test_a_body_waits_in_the_socket_while_there_is_no_thread(server: ServerProcess, tmp_path: Path) -> None:
    with server.connect() as busy, server.connect() as client:
        busy.send(until(tmp_path / "now"))
        wait_in_flight(server, 1)
        with stopped(server):
            client.send(post("/back?size=-1"))
        wait_in_flight(server, 2)
        # What came with the head is gone from there.
        waiting = len(post("/back?size=-1")) - 16 * 1024
        wait_until(lambda: unread(client, server) == waiting, message="the head to be read, and nothing else")
        (tmp_path / "now").touch()
        assert busy.read_response().body == b"until"
        assert client.read_response().body == BODY


@pytest.mark.parametrize("limit", ["1000", "1000000"], ids=["streamed", "collected"])
def test_a_body_whose_end_is_late_is_read_to_the_end(serve: Serve, limit: str) -> None:
    server = serve("--workers", "1", "--threads", "1", "--interface", "wsgi", "--body-memory", limit, APP)
    with server.connect() as client:
        with stopped(server):
            client.send(post("/back?size=40000")[:-1])
        time.sleep(0.1)
        client.send(BODY[-1:])
        assert client.read_response().body == BODY


def test_a_client_that_is_gone_before_its_body_was_read_is_nobodys_error(server: ServerProcess, tmp_path: Path) -> None:
    with server.connect() as busy, server.connect() as other:
        with server.connect() as client:
            busy.send(until(tmp_path / "now"))
            wait_in_flight(server, 1)
            with stopped(server):
                client.send(post("/back?size=-1"))
            wait_in_flight(server, 2)
            client.reset()
        (tmp_path / "now").touch()
        assert busy.read_response().body == b"until"
        other.send(get("next"))
        assert other.read_response().body == b"next"
    assert "Exception" not in server.stderr


def test_a_client_that_says_no_more_gets_its_answer(server: ServerProcess) -> None:
    with server.connect() as client:
        with stopped(server):
            client.send(post("/back?size=-1"))
            client.half_close()
        assert client.read_response().body == BODY


@pytest.mark.parametrize("last", ["", "Connection: close\r\n"], ids=["kept", "closed"])
def test_an_application_that_closes_late_does_not_use_up_its_clients_time(serve: Serve, last: str) -> None:
    """Two seconds are what a client has to send what is only thrown away. This one has sent it."""
    server = serve("--workers", "1", "--threads", "2", "--interface", "wsgi", "--no-access-log", APP)
    with server.connect() as client:
        with stopped(server):
            client.send(post("/late_close?s=4").replace(b"Host", last.encode() + b"Host"))
        assert client.read_response().body == b"closing"
        time.sleep(3)
        if last:
            # FIN came with the response, and no RST after it.
            assert client.socket.recv(1) == b""
            assert client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            client.send(b"x")
        else:
            client.send(get("next"))
            assert client.read_response().body == b"next"


def test_a_forked_child_takes_nothing_from_its_parents_socket(server: ServerProcess) -> None:
    with server.connect() as client:
        with stopped(server):
            client.send(post("/child_reads"))
        childs, own = map(int, client.read_response().body.split())
        assert 0 < childs < 20_000
        assert own == len(BODY)
        client.send(get("next"))
        assert client.read_response().body == b"next"


def test_a_forked_child_writes_nothing_to_its_parents_socket(server: ServerProcess) -> None:
    with server.connect() as client:
        response = client.get("/child_writes")
        assert (response.status, response.body) == (200, b"2")


def test_a_body_that_an_application_reads_too_late_is_gone(serve: Serve) -> None:
    """In `close`, when its response is complete and the rest of the body is thrown away."""
    server = serve("--workers", "1", "--threads", "1", "--interface", "wsgi", "--body-memory", "1000", APP)
    with server.connect() as client, server.connect() as other:
        client.send(post("/late_read")[:-1])
        assert client.read_response().body == b"closing"
        # The only thread does not wait for the last byte, which never comes.
        other.send(get("next"))
        assert other.read_response().body == b"next"
    assert "Exception" not in server.stderr
