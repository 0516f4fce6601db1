"""Access lines: one per response, in three forms, none that a client could forge, none where it is not wanted."""

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.raw import RawConnection
from tests.support.server import ServerProcess

INTERFACES = {"asgi": "tests.apps.wire_asgi:app", "wsgi": "tests.apps.wire_wsgi:app"}


@pytest.fixture(scope="module", params=INTERFACES)
def interface(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def server(interface: str) -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", "--max-requests", "0", INTERFACES[interface]) as server:
        yield server


def ask(client: RawConnection, **wanted: Any) -> None:
    body = json.dumps(wanted).encode()
    client.send(b"POST /response HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    client.read_response()


def test_kv_lines_tell_of_each_response(server: ServerProcess) -> None:
    with server.connect() as client:
        client.get("/kv?a=b", fields="User-Agent: tester/1.0\r\nReferer: http://from/\r\n")
    line = server.wait_for_stdout(r"^.*path=\"/kv\".*$")[0]
    expected = (
        r'\[INFO\] Request method=GET path="/kv" query="a=b" status=200 duration_ms=\d+ size=9 ip="127\.0\.0\.1" '
        r'user_agent="tester/1\.0" referer="http://from/"'
    )
    assert re.fullmatch(expected, line), line


def test_addresses_of_clients_are_written_in_full(server: ServerProcess) -> None:
    addresses = ["127.0.0.9", "127.10.99.100", "127.255.8.249", "127.1.200.10"]
    for address in addresses:
        with socket.create_connection(server.address, timeout=10, source_address=(address, 0)) as client:
            client.sendall(b"GET /from HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            while client.recv(4096):
                pass
    server.wait_for_stdout(r"path=\"/from\"", count=len(addresses))
    assert re.findall(r'path="/from".* ip="([^"]*)"', server.stdout) == addresses


def test_a_line_is_there_while_its_connection_idles(server: ServerProcess) -> None:
    """Also when the response was sent by a task that had slept, outside any turn of the reactor."""
    with server.connect() as client:
        client.get("/sleep?s=0.05&idle")
        server.wait_for_stdout("idle", timeout=5)  # its connection may idle for 75 s
        assert client.is_open()


def test_lines_of_all_threads_are_there_while_their_connections_idle(server: ServerProcess) -> None:
    """Those that end last find somebody else asleep in the poller, for up to 10 s."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(4)]
        for place, client in enumerate(clients):
            client.send(f"GET /sleep?s={0.05 * (place + 1)}&crowd HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        for client in clients:
            client.read_response()
        server.wait_for_stdout("crowd", timeout=5, count=len(clients))


@pytest.mark.parametrize("form", ["json", "kv"])
def test_nothing_a_client_sends_can_forge_a_line(interface: str, form: str) -> None:
    values = ['a" status=200 x="', "a\\", "a\tb", "caf\xe9", "'", '"']
    with ServerProcess("--workers", "1", "--access-log-format", form, INTERFACES[interface]) as server:
        for value in values:
            with server.connect() as client:
                client.get("/%22%0a%5c?x=%0d%0a", fields=f"User-Agent: {value}\r\n")
        server.wait_for_stdout(r"\n", count=len(values))
        lines = server.stdout.splitlines()
    assert len(lines) == len(values)
    for line in lines:
        if form == "json":
            told = json.loads(line)
            assert told["status"] == 200
            names = {"method", "path", "query", "status", "duration_ms", "size", "ip", "user_agent", "referer"}
            assert set(told) >= names
        else:
            # With every escaped character taken away, the quotes that are left are the server's own.
            assert re.sub(r"\\.", "", line).count('"') == 10


def test_combined_lines_are_what_apache_writes(interface: str) -> None:
    with ServerProcess("--workers", "1", "--access-log-format", "combined", INTERFACES[interface]) as server:
        with server.connect() as client:
            client.get("/c?d", fields='User-Agent: "quoted"\r\n')
        line = server.wait_for_stdout(r"^.+$")[0]
    stamp = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"
    assert re.fullmatch(rf'127\.0\.0\.1 - - {stamp} "GET /c\?d HTTP/1\.1" 200 8 "-" "\\"quoted\\""', line), line


def test_a_response_may_stay_out_of_the_log(interface: str, server: ServerProcess) -> None:
    already = len(server.stdout)
    with server.connect() as client:
        ask(client, headers=[["Server-Log-Access", "off"]], body=["x" * 4321])
        ask(client, headers=[["server-log-access", "on"]], body=["x" * 4322])
        if interface == "asgi":
            ask(client, log_access=False, body=["x" * 4323])
            ask(client, log_access=True, body=["x" * 4324])
        client.get("/end-of-opt-out")
    server.wait_for_stdout("/end-of-opt-out")
    sizes = re.findall(r"size=(43\d\d)", server.stdout[already:])
    assert sizes == (["4322", "4324"] if interface == "asgi" else ["4322"])


def test_the_field_that_opts_out_is_not_sent(server: ServerProcess) -> None:
    body = json.dumps({"headers": [["Server-Log-Access", "off"]]}).encode()
    with server.connect() as client:
        client.send(b"POST /response HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        assert client.read_response().header("server-log-access") is None


def test_no_access_log_is_none(interface: str) -> None:
    with ServerProcess("--workers", "1", "--no-access-log", INTERFACES[interface]) as server:
        with server.connect() as client:
            client.get("/")
        server.stop()
        assert server.stdout == ""


def test_lines_of_several_workers_never_tear(interface: str) -> None:
    with ServerProcess("--workers", "2", INTERFACES[interface]) as server:
        clients = [server.connect() for _ in range(8)]
        for number in range(100):
            for client in clients:
                client.send(b"GET /%d HTTP/1.1\r\nHost: t\r\nUser-Agent: %s\r\n\r\n" % (number, b"u" * 200))
            for client in clients:
                client.read_response()
        for client in clients:
            client.close()
        server.stop()
        lines = server.stdout.splitlines()
        assert len(lines) == 800
        assert all(line.startswith("[INFO] Request method=GET") and line.endswith('referer=""') for line in lines)
