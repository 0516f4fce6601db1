"""Bodies of any size pass through bounded memory, both ways, while the application or the client is slow."""

import os
import time
from collections.abc import Iterator

import pytest

from tests.support.memory import peak_rss
from tests.support.server import ServerProcess

INTERFACES = {"asgi": "tests.apps.wire_asgi:app", "wsgi": "tests.apps.wire_wsgi:app"}
MIB = 1024 * 1024
SIZE = int(os.environ.get("FERRULE_TEST_BODY_MIB", "200")) * MIB
ALLOWED = 16 * MIB
PER_SECOND = SIZE // 2


@pytest.fixture(scope="module", params=INTERFACES)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", INTERFACES[request.param]) as server:
        with server.connect() as client:
            client.get("/")  # what is allocated once is there
        yield server


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_large_upload_to_a_slow_reader_takes_bounded_memory(server: ServerProcess, chunked: bool) -> None:
    piece = bytes(MIB)
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % SIZE
    before = server.worker_rss()
    with server.connect(timeout=60) as client, peak_rss(server) as peak:
        client.send(b"POST /count?rate=%d HTTP/1.1\r\nHost: t\r\n%s\r\n\r\n" % (PER_SECOND, framing))
        for _ in range(SIZE // MIB):
            client.send(b"%x\r\n%s\r\n" % (MIB, piece) if chunked else piece)
        if chunked:
            client.send(b"0\r\n\r\n")
        response = client.read_response()
    assert response.body == str(SIZE).encode()
    assert peak.value - before < ALLOWED


@pytest.mark.parametrize("chunk", [4096, MIB], ids=["small-parts", "large-parts"])
def test_a_large_response_to_a_slow_reader_takes_bounded_memory(server: ServerProcess, chunk: int) -> None:
    """The application is paused by back-pressure: it is never far ahead of what the client has read."""
    before = server.worker_rss()
    received = 0
    ahead = []
    with server.connect(timeout=60) as client, server.connect() as observer, peak_rss(server) as peak:
        client.send(b"GET /stream?length&size=%d&chunk=%d HTTP/1.1\r\nHost: t\r\n\r\n" % (SIZE, chunk))
        began = time.monotonic()
        looked = 0
        while received < SIZE:
            data = client.socket.recv(MIB)
            assert data, "closed early"
            received += len(data)
            time.sleep(max(0.0, received / PER_SECOND - (time.monotonic() - began)))
            if received - looked > SIZE // 10:
                looked = received
                streamed = int(observer.get("/seen").body.split(b'"streamed": ')[1].split(b"}")[0].split(b",")[0])
                ahead.append(streamed - received)
    assert peak.value - before < ALLOWED
    # The kernel's socket buffers lie between the application and the client: they may hold a few MiB of their own.
    assert len(ahead) >= 8
    assert max(ahead) < ALLOWED


def test_a_client_that_stops_reading_pauses_the_application(server: ServerProcess) -> None:
    with server.connect(timeout=30) as client, server.connect() as observer:
        client.send(b"GET /stream?size=%d HTTP/1.1\r\nHost: t\r\n\r\n" % SIZE)
        streamed = [-1, 0]
        # Runs on until the buffers are full, and not a byte further.
        while streamed[-1] != streamed[-2] or not streamed[-1]:
            time.sleep(0.2)
            body = observer.get("/seen").body
            streamed.append(int(body.split(b'"streamed": ')[1].split(b"}")[0].split(b",")[0]))
        assert 0 < streamed[-1] < ALLOWED
        assert len(client.read_response().body) == SIZE
