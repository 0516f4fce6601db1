"""TLS as its clients meet it: handshakes of every pace, HTTP/1.1 and HTTP/2 by ALPN, bodies in both directions, the end
of connections."""

import contextlib
import hashlib
import json
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from tests.apps.sealed import content
from tests.support.gauges import wait_in_flight
from tests.support.raw import RawConnection
from tests.support.server import ServerProcess
from tests.support.tls import Authority

Result = TypeVar("Result")
Serve = Callable[..., ServerProcess]
APPS = ("asgi", "wsgi")
BOTH = pytest.mark.parametrize("http", ["1.1", "2"])
MUCH = 20_000_000
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    authority.issue()
    return authority


@pytest.fixture(scope="module", params=APPS)
def server(request: pytest.FixtureRequest, authority: Authority) -> Iterator[ServerProcess]:
    large = authority.directory / "large"
    large.write_bytes(content(MUCH))
    arguments = ("-w", "1", *authority.issue().flags, f"tests.apps.sealed:{request.param}")
    with ServerProcess(*arguments, env={"SEALED_FILE": str(large)}) as running:
        yield running


class Sealed(RawConnection):
    """A raw client of HTTP/1.1 under TLS. The end of the connection must be said: without close_notify it raises."""

    def __init__(
        self, address: tuple[str, int], context: ssl.SSLContext, session: ssl.SSLSession | None = None
    ) -> None:
        super().__init__(address)
        self.socket = self.tls = context.wrap_socket(
            self.socket, server_hostname="localhost", suppress_ragged_eofs=False, session=session
        )


class Memory:
    """A client of TLS whose bytes a test moves itself."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.received, self.sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.received, self.sent, server_hostname="localhost")

    def hello(self) -> bytes:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.sent.read()

    def drive(self, connection: socket.socket, act: Callable[[], Result], write: Callable[[bytes], None]) -> Result:
        """Does `act` with the server's help."""
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                pass
            finally:
                if self.sent.pending:
                    write(self.sent.read())
            data = connection.recv(65536)
            self.received.write(data)
            if not data:
                self.received.write_eof()


def curl(server: ServerProcess, authority: Authority, http: str, path: str, *options: str) -> bytes:
    command = ["curl", "-sSf", "--max-time", "60", "--cacert", str(authority.ca_certs)]
    version = {"1.1": "--http1.1", "2": "--http2"}[http]
    url = f"https://127.0.0.1:{server.port}{path}"
    done = subprocess.run([*command, version, *options, url], capture_output=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# What is agreed on


@BOTH
def test_clients_get_the_protocol_that_they_offer(server: ServerProcess, authority: Authority, http: str) -> None:
    with httpx.Client(verify=authority.client(), http1=http == "1.1", http2=http == "2", timeout=30) as client:
        for _ in range(3):
            response = client.get(f"https://127.0.0.1:{server.port}/connection")
            assert response.http_version == f"HTTP/{http}"
            known = response.json()
            assert known["scheme"] == "https"
            assert known["http"] in {"1.1", "2", "2.0"}
    assert json.loads(curl(server, authority, http, "/connection"))["scheme"] == "https"


@pytest.mark.parametrize(
    ("version", "seen"), [(ssl.TLSVersion.TLSv1_2, (0x0303, "TLSv1.2")), (ssl.TLSVersion.TLSv1_3, (0x0304, "TLSv1.3"))]
)
def test_the_application_is_told_version_and_suite(
    server: ServerProcess, authority: Authority, version: ssl.TLSVersion, seen: tuple[int, str]
) -> None:
    context = authority.client()
    context.minimum_version = context.maximum_version = version
    with Sealed(server.address, context) as client:
        first, second = (json.loads(client.get("/connection").body) for _ in range(2))
        assert first == second
        assert first["version"] in seen
        cipher = client.tls.cipher()
        assert cipher is not None
        if isinstance(first["suite"], str):
            assert first["suite"] == cipher[0]
        else:
            assert first["suite"] & 0xFF00 in {0x1300, 0xC000, 0xCC00}


def test_a_client_that_offers_nothing_in_common_is_told_so(server: ServerProcess, authority: Authority) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        Sealed(server.address, authority.client(alpn=("spdy/1",)))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed_by_any_worker(serve: Serve, authority: Authority, version: ssl.TLSVersion) -> None:
    server = serve("-w", "2", *authority.issue().flags, "tests.apps.sealed:wsgi")
    server.wait_for_log("Worker ready", count=2)
    context = authority.client()
    context.minimum_version = context.maximum_version = version
    with Sealed(server.address, context) as client:
        client.get()
        session = client.tls.session
    resumed_by: set[int] = set()
    end = time.monotonic() + 30
    while len(resumed_by) < 2 and time.monotonic() < end:
        with Sealed(server.address, context, session) as client, Sealed(server.address, context, session) as other:
            for connection in (client, other):
                assert connection.tls.session_reused
                resumed_by.add(json.loads(connection.get("/connection").body)["pid"])
    assert len(resumed_by) == 2


# Bodies


@BOTH
def test_large_bodies_arrive_whole_in_either_direction(
    server: ServerProcess, authority: Authority, http: str, tmp_path: Path
) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(content(MUCH))
    assert curl(server, authority, http, "/count", "--data-binary", f"@{upload}") == b"%d" % MUCH
    assert digest(curl(server, authority, http, f"/send?{MUCH}")) == digest(content(MUCH))
    assert digest(curl(server, authority, http, "/file")) == digest(content(MUCH))


@BOTH
def test_both_directions_at_once_do_not_block_each_other(
    server: ServerProcess, authority: Authority, http: str, tmp_path: Path
) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(content(MUCH))
    mirrored = curl(server, authority, http, "/mirror", "--data-binary", f"@{upload}")
    assert digest(mirrored) == digest(content(MUCH))


def test_pipelined_requests_in_one_record_are_answered_in_order(server: ServerProcess, authority: Authority) -> None:
    with Sealed(server.address, authority.client()) as client:
        sizes = [1, 70_000, 10, 20_000]
        client.send(b"".join(b"GET /send?%d HTTP/1.1\r\nHost: test\r\n\r\n" % size for size in sizes))
        assert [client.read_response().body for _ in sizes] == [content(size) for size in sizes]


def test_a_reader_that_pauses_gets_all_of_it(server: ServerProcess, authority: Authority) -> None:
    with Sealed(server.address, authority.client()) as client:
        client.send(b"GET /send?%d HTTP/1.1\r\nHost: test\r\n\r\n" % MUCH)
        time.sleep(0.5)
        assert digest(client.read_response().body) == digest(content(MUCH))
        assert client.get().body == b"hello"


# Handshakes


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_handshake_byte_by_byte_is_completed(
    server: ServerProcess, authority: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.client()
    context.minimum_version = context.maximum_version = version
    with RawConnection(server.address) as connection:
        client = Memory(context)
        connection.send_slowly(client.hello())
        client.drive(connection.socket, client.tls.do_handshake, connection.send_slowly)
        client.tls.write(GET)
        answer = client.drive(connection.socket, lambda: client.tls.read(65536), connection.send_slowly)
        assert answer.startswith(b"HTTP/1.1 200 OK")


def finish_with(connection: RawConnection, client: Memory, data: bytes, *, close: bool = False) -> None:
    """Sends `data`, and close_notify, in one piece with the end of the handshake."""
    connection.send(client.hello())
    while True:
        client.received.write(connection.socket.recv(65536))
        try:
            client.tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            continue
    for start in range(0, len(data), 10_000):
        client.tls.write(data[start : start + 10_000])
    if close:
        with contextlib.suppress(ssl.SSLWantReadError):
            client.tls.unwrap()
    connection.send(client.sent.read())


def test_a_whole_upload_may_come_with_the_end_of_the_handshake(server: ServerProcess, authority: Authority) -> None:
    size = 300_000
    head = b"POST /count HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % size
    with RawConnection(server.address) as connection:
        client = Memory(authority.client())
        finish_with(connection, client, head + content(size))
        answer = client.drive(connection.socket, lambda: client.tls.read(65536), connection.send)
        assert answer.endswith(b"%d" % size)


def test_close_notify_may_come_with_the_end_of_the_handshake(server: ServerProcess, authority: Authority) -> None:
    with RawConnection(server.address) as connection:
        finish_with(connection, Memory(authority.client()), GET, close=True)
        # The answer, sealed, and the goodbye.
        assert len(connection.read_to_end()) > 100


def test_a_handshake_that_never_comes_to_the_point_is_cut_off(server: ServerProcess) -> None:
    with RawConnection(server.address) as connection:
        # One long message, in records of the largest size: the server waits for its end within bounds.
        record = b"\x16\x03\x01\x40\x00" + b"\x01\x00\xff\xff" + bytes(0x4000 - 4)
        with contextlib.suppress(ConnectionError):
            for _ in range(10):
                connection.send(record)
            connection.read_to_end()


def test_half_open_handshakes_do_not_keep_honest_clients_waiting(server: ServerProcess, authority: Authority) -> None:
    half = Memory(authority.client()).hello()[:100]
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(RawConnection(server.address)).send(half)
        for _ in range(10):
            began = time.monotonic()
            with Sealed(server.address, authority.client()) as client:
                assert client.get().body == b"hello"
            # 50 ms on a machine of its own; this is for one that is not.
            assert time.monotonic() - began < 5


def test_clients_that_shake_hands_at_once_are_all_served(server: ServerProcess, authority: Authority) -> None:
    def ask(number: int) -> bytes:
        with Sealed(server.address, authority.client()) as client:
            return client.get(f"/send?{number}").body

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(64))) == [content(number) for number in range(64)]


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01"])
def test_a_handshake_that_does_not_end_in_time_is_cut_off(serve: Serve, authority: Authority, said: bytes) -> None:
    arguments = ("-w", "1", "--tls-handshake-timeout", "0.5", *authority.issue().flags)
    server = serve(*arguments, "tests.apps.sealed:asgi")
    with RawConnection(server.address) as connection:
        connection.send(said)
        connection.wait_closed()
    if said:
        server.wait_for_log("TLS handshake failed.*not complete in time")


def test_plain_http_is_told_to_use_https(server: ServerProcess) -> None:
    with RawConnection(server.address) as connection:
        response = connection.get()
        assert response.status == 400
        assert b"https://" in response.body
        assert response.header("Connection") == "close"
        connection.wait_closed()


def test_what_is_neither_tls_nor_http_is_closed_with_one_line(serve: Serve, authority: Authority) -> None:
    server = serve("-w", "1", *authority.issue().flags, "tests.apps.sealed:asgi")
    with RawConnection(server.address) as connection:
        connection.send(b"\x00\x01\x02\x03" * 10)
        connection.wait_closed()
    server.wait_for_log("this is not TLS")
    with RawConnection(server.address) as connection:
        connection.send(b"\x16\x03\x01\x00\x04\xff\xff\xff\xff")
        connection.read_to_end()
    server.wait_for_log("TLS handshake failed")
    assert len([line for line in server.stderr.splitlines() if "not TLS" in line or "handshake failed" in line]) == 2


# What a client may do to a connection


def test_a_client_that_goes_without_a_word_has_sent_fin(server: ServerProcess, authority: Authority) -> None:
    with RawConnection(server.address) as connection:
        client = Memory(authority.client())
        client.drive(connection.socket, client.tls.do_handshake, connection.send)
        client.tls.write(b"GET /sleep?0.3 HTTP/1.1\r\nHost: test\r\n\r\n")
        connection.send(client.sent.read())
        connection.half_close()
        answer = client.drive(connection.socket, lambda: client.tls.read(65536), connection.send)
        assert answer.endswith(b"awake")


def test_close_notify_is_a_half_close(server: ServerProcess, authority: Authority) -> None:
    with RawConnection(server.address) as connection:
        client = Memory(authority.client())
        client.drive(connection.socket, client.tls.do_handshake, connection.send)
        client.tls.write(b"GET /sleep?0.3 HTTP/1.1\r\nHost: test\r\n\r\n")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.tls.unwrap()
        connection.send(client.sent.read())
        # The answer, sealed, and the goodbye.
        assert len(connection.read_to_end()) > 100


# The end


def test_the_end_of_a_connection_is_said(server: ServerProcess, authority: Authority) -> None:
    with Sealed(server.address, authority.client()) as client:
        client.get(fields="Connection: close\r\n")
        assert client.read_to_end() == b""


def test_an_idle_connection_ends_with_close_notify(serve: Serve, authority: Authority) -> None:
    server = serve("-w", "1", "--keep-alive", "0.3", *authority.issue().flags, "tests.apps.sealed:wsgi")
    with Sealed(server.address, authority.client()) as client:
        client.get()
        assert client.read_to_end() == b""


@pytest.mark.parametrize("app", APPS)
def test_a_drain_answers_what_is_in_flight_and_says_the_end(serve: Serve, authority: Authority, app: str) -> None:
    server = serve("-w", "1", *authority.issue().flags, f"tests.apps.sealed:{app}")
    with Sealed(server.address, authority.client()) as client:
        client.get()
        client.send(b"GET /sleep?1 HTTP/1.1\r\nHost: test\r\n\r\n")
        wait_in_flight(server, 1)
        server.send_signal(signal.SIGTERM)
        response = client.read_response()
        assert (response.body, response.header("Connection")) == (b"awake", "close")
        assert client.read_to_end() == b""
    assert server.wait() == 0


def test_half_a_handshake_does_not_hold_up_a_drain(serve: Serve, authority: Authority) -> None:
    server = serve("-w", "1", "--graceful-timeout", "4", *authority.issue().flags, "tests.apps.sealed:asgi")
    with RawConnection(server.address) as connection:
        connection.send(b"\x16\x03")
        assert connection.is_open(after=0.3)
        server.send_signal(signal.SIGTERM)
        connection.wait_closed()
    assert server.wait() == 0
