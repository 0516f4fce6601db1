"""Requests that are refused before any application sees them: one clear answer, one log line, a closed connection."""

import signal
from collections.abc import Iterator

import pytest

from tests.support.gauges import wait_in_flight
from tests.support.server import ServerProcess, wait_until

INTERFACES = {"asgi": "tests.apps.wire_asgi:app", "wsgi": "tests.apps.wire_wsgi:app"}
LIMITS = [
    "--limit-request-line=200",
    "--limit-request-fields=10",
    "--limit-request-field-size=300",
    "--limit-request-head=1000",
    "--limit-request-body=1000",
]


@pytest.fixture(scope="module", params=INTERFACES)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", "--max-requests", "0", *LIMITS, INTERFACES[request.param]) as server:
        yield server


def request(line: str = "GET / HTTP/1.1", *fields: str, body: bytes = b"") -> bytes:
    return "\r\n".join([line, "Host: t", *fields, "", ""]).encode("latin-1") + body


def path_of(length: int) -> str:
    """A target that makes the request line `length` bytes long."""
    return "/" + "x" * (length - len("GET / HTTP/1.1"))


def field_of(length: int) -> str:
    """A field that is `length` bytes long with its CRLF."""
    return "X-A: " + "x" * (length - len("X-A: \r\n"))


HALF = b"1f5\r\n" + b"x" * 500
CHUNKED = "Transfer-Encoding: chunked"
REFUSED = {
    "line": (414, request(f"GET {path_of(201)} HTTP/1.1")),
    "endless line": (414, b"GET /" + b"x" * 1000),
    "fields": (431, request("GET / HTTP/1.1", *[f"x-{n}: v" for n in range(10)])),
    "field": (431, request("GET / HTTP/1.1", field_of(301))),
    "endless field": (431, b"GET / HTTP/1.1\r\nHost: t\r\nX-A: " + b"x" * 2000),
    "head": (431, request("GET / HTTP/1.1", *[field_of(250)] * 4)),
    "declared body": (413, request("POST /echo HTTP/1.1", "Content-Length: 1001")),
    "declared body, asking first": (
        413,
        request("POST /echo HTTP/1.1", "Content-Length: 1001", "Expect: 100-continue"),
    ),
    "chunked body": (413, request("POST /echo HTTP/1.1", CHUNKED, body=b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n")),
    "chunked body in two chunks": (413, request("POST /echo HTTP/1.1", CHUNKED, body=(HALF + b"x\r\n") * 2)),
    "expectation": (417, request("POST /echo HTTP/1.1", "Content-Length: 1", "Expect: miracles", body=b"x")),
    "version": (505, b"GET / HTTP/2.0\r\nHost: t\r\n\r\n"),
    "coding": (501, request("POST / HTTP/1.1", "Transfer-Encoding: gzip, chunked")),
    "line feeds": (400, b"GET / HTTP/1.1\nHost: t\n\n"),
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two hosts": (400, request("GET / HTTP/1.1", "Host: u")),
    "both framings": (400, request("POST / HTTP/1.1", "Content-Length: 3", CHUNKED, body=b"0\r\n\r\n")),
    "two lengths": (400, request("POST / HTTP/1.1", "Content-Length: 3", "Content-Length: 3", body=b"abc")),
    "signed length": (400, request("POST / HTTP/1.1", "Content-Length: +3", body=b"abc")),
    "underscore framing": (400, request("POST / HTTP/1.1", "Content_Length: 3", body=b"abc")),
    "folded field": (400, request("GET / HTTP/1.1", "X-A: b", " c")),
    "space before colon": (400, request("GET / HTTP/1.1", "X-A : b")),
    "chunk size": (400, request("POST /echo HTTP/1.1", CHUNKED, body=b"0x3\r\nabc\r\n0\r\n\r\n")),
    "chunk end": (400, request("POST /echo HTTP/1.1", CHUNKED, body=b"3\r\nabcd\r\n0\r\n\r\n")),
    "framing in trailers": (
        400,
        request("POST /echo HTTP/1.1", CHUNKED, body=b"3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_served_gets_its_status_and_a_log_line(server: ServerProcess, name: str) -> None:
    status, wire = REFUSED[name]
    before = server.stderr.count("Request refused")
    with server.connect() as client:
        client.send(wire)
        response = client.read_response()
        assert response.status == status
        assert response.header("connection") == "close"
        assert (response.header("content-type") or "").startswith("text/plain")
        assert response.body.startswith(f"{status} {response.reason}".encode())
        client.half_close()
        client.wait_closed()
    server.wait_for_log("Request refused", count=before + 1)
    assert server.stderr.count("Request refused") == before + 1
    assert f"status={status}" in [line for line in server.stderr.splitlines() if "Request refused" in line][-1]


ALLOWED = {
    "line": request(f"GET {path_of(200)} HTTP/1.1"),
    "fields": request("GET / HTTP/1.1", *[f"x-{n}: v" for n in range(9)]),
    "field": request("GET / HTTP/1.1", field_of(300)),
    "body": request("POST /echo HTTP/1.1", "Content-Length: 1000", body=b"x" * 1000),
    "chunked body": request("POST /echo HTTP/1.1", CHUNKED, body=b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_just_fits_is_served(server: ServerProcess, name: str) -> None:
    with server.connect() as client:
        client.send(ALLOWED[name])
        assert client.read_response().status == 200
        assert client.is_open()


@pytest.mark.parametrize("interface", INTERFACES)
def test_requests_above_limit_concurrency_are_told_to_come_back(interface: str) -> None:
    options = ["--workers", "1", "--limit-concurrency", "2", "--health-path", "/health"]
    with ServerProcess(*options, INTERFACES[interface]) as server:
        with server.connect() as one, server.connect() as two, server.connect() as three:
            for client in (one, two):
                client.send(b"GET /sleep?s=1 HTTP/1.1\r\nHost: t\r\n\r\n")
            wait_in_flight(server, 2)
            busy = three.get("/sleep?s=0")
            assert (busy.status, busy.header("retry-after")) == (503, "1")
            assert three.get("/health").status == 200
            assert [client.read_response().status for client in (one, two)] == [200, 200]
            assert three.get("/sleep?s=0").status == 200


@pytest.mark.parametrize("interface", INTERFACES)
def test_health_and_readiness_are_answered_by_the_server_itself(interface: str) -> None:
    options = ["--workers", "1", "--health-path", "/-/health", "--ready-path", "/-/ready"]
    with ServerProcess(*options, INTERFACES[interface]) as server, server.connect() as client:
        for path in ("/-/health", "/-/ready", "/-/health?verbose"):
            response = client.get(path)
            assert response.status == 200
            assert b"hello" not in response.body
        for path in ("/-/health/", "/-/healthy", "/-/Health"):
            assert client.get(path).body.startswith(b"hello")
        client.send(b"POST /-/health HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc")
        assert client.read_response().status == 200
        client.send(b"HEAD /-/ready HTTP/1.1\r\nHost: t\r\n\r\n")
        assert client.read_response(method="HEAD").status == 200
        assert client.get("/").body == b"hello /"


@pytest.mark.parametrize("interface", INTERFACES)
def test_a_draining_worker_is_alive_and_not_ready(interface: str) -> None:
    options = ["--workers", "1", "--health-path", "/-/health", "--ready-path", "/-/ready"]
    with ServerProcess(*options, INTERFACES[interface]) as server:
        with server.connect() as busy, server.connect() as live, server.connect() as ready:
            busy.send(b"GET /sleep?s=1 HTTP/1.1\r\nHost: t\r\n\r\n")
            assert live.get("/-/health").status == ready.get("/-/ready").status == 200
            server.send_signal(signal.SIGTERM)
            wait_until(server.refuses, message="a worker that was told")
            alive, unready = live.get("/-/health"), ready.get("/-/ready")
            assert (alive.status, alive.header("connection")) == (200, "close")
            assert (unready.status, unready.header("connection")) == (503, "close")
            assert busy.read_response().body == b"s=1"
            assert server.wait() == 0
