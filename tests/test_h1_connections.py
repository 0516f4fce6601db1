"""Connections: when they stay, when they end, and that a client always gets to see its answer."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.raw import RawConnection
from tests.support.server import ServerProcess, wait_until

INTERFACES = {"asgi": "tests.apps.wire_asgi:app", "wsgi": "tests.apps.wire_wsgi:app"}


@pytest.fixture(scope="module", params=INTERFACES)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", "--max-requests", "0", INTERFACES[request.param]) as server:
        yield server


# Keep-alive: RFC 9112, section 9.3.


def test_a_connection_serves_one_request_after_another(server: ServerProcess) -> None:
    with server.connect() as client:
        for number in range(50):
            response = client.get(f"/{number}")
            assert response.body == b"hello /%d" % number
            assert response.header("connection") is None


@pytest.mark.parametrize("fields", ["Connection: close\r\n", "Connection: foo, Close\r\n", "connection:CLOSE\r\n"])
def test_close_is_honoured(server: ServerProcess, fields: str) -> None:
    with server.connect() as client:
        assert client.get("/", fields=fields).header("connection") == "close"
        client.wait_closed()


def test_http_1_0_closes_unless_keep_alive_is_asked_for(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        response = client.read_response()
        assert (response.body, response.header("connection")) == (b"hello /a", "keep-alive")
        client.send(b"GET /b HTTP/1.0\r\n\r\n")
        response = client.read_response()
        assert (response.body, response.header("connection")) == (b"hello /b", "close")
        client.wait_closed()


def test_a_body_of_unknown_length_ends_with_the_connection_in_http_1_0(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(b"GET /stream?size=200000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        response = client.read_response()
        assert response.header("transfer-encoding") is None
        assert response.header("content-length") is None
        assert response.header("connection") == "close"
        assert len(response.body) == 200_000


def test_a_later_minor_version_is_served_as_http_1_1(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(b"GET /a HTTP/1.7\r\nHost: t\r\n\r\n")
        response = client.read_response()
        assert (response.version, response.body) == ("HTTP/1.1", b"hello /a")
        assert client.is_open(after=0.02)


def test_one_empty_line_before_a_request_is_let_pass(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(b"\r\nGET /a HTTP/1.1\r\nHost: t\r\n\r\n\r\nGET /b HTTP/1.1\r\nHost: t\r\n\r\n")
        assert [client.read_response().body for _ in range(2)] == [b"hello /a", b"hello /b"]


# Ends.


def test_a_half_closed_client_still_gets_its_response(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(b"GET /sleep?s=0.2 HTTP/1.1\r\nHost: t\r\n\r\n")
        client.half_close()
        assert client.read_response().body == b"s=0.2"
        client.wait_closed()


def test_a_half_closed_client_still_gets_a_long_response(server: ServerProcess) -> None:
    size = 8 * 1024 * 1024
    with server.connect() as client:
        client.send(b"GET /stream?size=%d&length HTTP/1.1\r\nHost: t\r\n\r\n" % size)
        client.half_close()
        time.sleep(0.1)
        assert len(client.read_response().body) == size
        client.wait_closed()


def test_a_client_that_goes_on_sending_sees_why_it_was_refused(server: ServerProcess) -> None:
    """Closing with unread input would reset the connection and take the answer with it (RFC 9112, section 9.6)."""
    with server.connect() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: bad\r\n\r\n")
        for _ in range(20):
            client.send(bytes(10_000))
            time.sleep(0.002)
        response = client.read_response()
        assert (response.status, response.header("connection")) == (400, "close")
        client.wait_closed()


def test_a_client_that_never_stops_sending_is_closed_in_the_end(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: bad\r\n\r\n")
        assert client.read_response().status == 400

        def cut_off() -> bool:
            try:
                client.send(bytes(1000))
            except OSError:
                return True
            return False

        wait_until(cut_off, timeout=20, message="the end of a connection that only ever sends")


def test_a_connection_that_says_nothing_more_is_closed_at_once_after_its_last_response(server: ServerProcess) -> None:
    began = time.monotonic()
    with server.connect() as client:
        client.get("/", fields="Connection: close\r\n")
        client.wait_closed()
    assert time.monotonic() - began < 1.5  # instead of 2, as when something is left unread


def test_a_connection_without_a_request_leaves_no_trace(server: ServerProcess) -> None:
    with server.connect() as client:
        client.get("/before-silence")
    server.wait_for_stdout("/before-silence")
    for _ in range(20):
        server.connect().close()
        server.connect().reset()
    with server.connect() as client:
        client.half_close()
        client.wait_closed()
    with server.connect() as client:
        client.get("/after-silence")
    server.wait_for_stdout("/after-silence")
    lines = server.stdout.splitlines()
    (before,) = (number for number, line in enumerate(lines) if "/before-silence" in line)
    assert "/after-silence" in lines[before + 1]


def test_a_head_that_ends_with_the_connection_is_no_request(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(b"GET /never-complete HTTP/1.1\r\nHost: t\r\n")
        client.half_close()
        client.wait_closed()
    assert "never-complete" not in server.stdout


# Other protocols on this port.


def test_a_tls_client_is_told_in_plain_text(server: ServerProcess) -> None:
    hello = bytes.fromhex("16030100c8010000c40303") + bytes(194)
    for size in (len(hello), 1):
        with server.connect() as client:
            client.send_slowly(hello, size=size)
            response = client.read_response()
            assert response.status == 400
            assert b"TLS" in response.body
            client.wait_closed()


def test_an_http2_preface_is_clearly_refused_while_http2_is_off(serve: Callable[..., ServerProcess]) -> None:
    server = serve("--workers", "1", "--http", "1", INTERFACES["asgi"])
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
    for size in (len(preface), 1):
        with server.connect() as client:
            client.send_slowly(preface, size=size)
            response = client.read_response()
            assert response.status == 505
            assert b"HTTP/2" in response.body
            client.wait_closed()
    assert 'cause="HTTP/2 is not enabled on this listener"' in server.stderr


def test_an_upgrade_to_h2c_is_ignored(server: ServerProcess) -> None:
    fields = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
    with server.connect() as client:
        assert client.get("/", fields=fields).status == 200


# Listeners.


def test_real_clients_are_served(server: ServerProcess) -> None:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        for number in range(5):
            assert client.get(f"/{number}").content == b"hello /%d" % number
        told = client.post("/echo", content=b"x" * 100_000).json()
        assert told["body"] == "x" * 100_000


@pytest.mark.parametrize("interface", INTERFACES)
def test_several_listeners_of_every_family_serve_at_once(interface: str, tmp_path: Path) -> None:
    path = tmp_path / "ferrule.sock"
    binds = ["--bind", "127.0.0.1:0", "--bind", "[::1]:0", "--bind", f"unix:{path}"]
    with ServerProcess("--workers", "2", *binds, INTERFACES[interface]) as server:
        port = server.port
        match = server.wait_for_log(r"http://\[::1\]:(\d+)")
        for _ in range(4):  # so that both workers are likely to answer
            for address in (("127.0.0.1", port), ("::1", int(match[1])), str(path)):
                with RawConnection(address) as client:
                    response = client.get("/echo")
                    assert response.status == 200
                    if interface == "asgi":
                        told = json.loads(response.body)
                        expected = [str(path), None] if isinstance(address, str) else list(address)
                        assert told["server"] == expected
                        if isinstance(address, str):
                            assert told["client"] is None
                        else:
                            assert told["client"] == list(client.socket.getsockname()[:2])
        assert server.stop() == 0
        assert not path.exists()


def test_an_ipv4_client_of_a_dual_stack_listener_has_an_ipv4_address() -> None:
    with socket.socket(socket.AF_INET6) as probe:
        if probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            pytest.skip("this machine's IPv6 sockets do not take IPv4 clients")
    with ServerProcess("--workers", "1", "--bind", "[::]:0", INTERFACES["asgi"]) as server:
        with RawConnection(("127.0.0.1", server.port)) as client:
            told = json.loads(client.get("/echo").body)
            assert told["client"][0] == "127.0.0.1"
            assert told["server"] == ["127.0.0.1", server.port]
        assert 'ip="127.0.0.1"' in server.wait_for_stdout(r"^.+$")[0]
