"""Large bodies over HTTP/2, both ways and at once, through windows of any size: complete, in bounded memory, fairly."""

import statistics
import threading
import time
from collections.abc import Iterator

import pytest
from hyperframe.frame import SettingsFrame

from tests.support.h2 import DEFAULT_WINDOW, H2Connection
from tests.support.memory import peak_rss
from tests.support.server import ServerProcess, wait_until
from tests.support.tries import best_of

INTERFACES = {"asgi": "tests.apps.wire_asgi:app", "wsgi": "tests.apps.wire_wsgi:app"}
MIB = 1024 * 1024
LARGE = 100_000_000
SMALL = 10_000_000
ALLOWED = 32 * MIB
WIDE = 16 * MIB


@pytest.fixture(scope="module", params=INTERFACES)
def interface(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def server(interface: str) -> Iterator[ServerProcess]:
    """Its own windows are the smallest that HTTP/2 begins with."""
    options = ["--h2-window=65535", "--h2-connection-window=65535", "--max-requests=0", "--no-access-log"]
    with ServerProcess("--workers=1", *options, INTERFACES[interface]) as server:
        yield server


@pytest.fixture(scope="module")
def wide_server(interface: str) -> Iterator[ServerProcess]:
    options = [f"--h2-window={WIDE}", f"--h2-connection-window={WIDE}", "--max-requests=0", "--no-access-log"]
    with ServerProcess("--workers=1", *options, INTERFACES[interface]) as server:
        yield server


def connect(server: ServerProcess, window: int = DEFAULT_WINDOW) -> H2Connection:
    client = H2Connection(server.address, timeout=60, settings={SettingsFrame.INITIAL_WINDOW_SIZE: window})
    client.greet()
    if window > DEFAULT_WINDOW:
        client.open_window(0, window - DEFAULT_WINDOW)
    return client


def upload(client: H2Connection, size: int, path: str = "/count") -> bytes:
    stream = client.open(client.head("POST", path), end=False)
    piece = bytes(MIB)
    for at in range(0, size, MIB):
        client.data(stream, piece[: size - at])
    client.data(stream, b"", end=True)
    return bytes(client.response(stream).body)


def test_a_large_upload_takes_bounded_memory(server: ServerProcess) -> None:
    with connect(server) as client, peak_rss(server) as peak:
        before = server.worker_rss()
        assert upload(client, LARGE) == str(LARGE).encode()
    assert peak.value - before < ALLOWED


def test_a_large_download_takes_bounded_memory(server: ServerProcess) -> None:
    with connect(server) as client, peak_rss(server) as peak:
        before = server.worker_rss()
        response = client.get(f"/stream?size={LARGE}&length")
        assert response.head["content-length"] == str(LARGE)
        assert len(response.body) == LARGE
    assert peak.value - before < ALLOWED


@pytest.mark.parametrize("client_window", [DEFAULT_WINDOW, WIDE], ids=["narrow-client", "wide-client"])
@pytest.mark.parametrize("server_window", [DEFAULT_WINDOW, WIDE], ids=["narrow-server", "wide-server"])
def test_both_directions_at_once(
    server: ServerProcess, wide_server: ServerProcess, client_window: int, server_window: int
) -> None:
    server = server if server_window == DEFAULT_WINDOW else wide_server
    with connect(server, client_window) as client, peak_rss(server) as peak:
        before = server.worker_rss()
        down = [client.request("GET", f"/stream?size={SMALL}&chunk={chunk}") for chunk in (1000, 300_000)]
        assert upload(client, SMALL) == str(SMALL).encode()
        assert [len(client.response(stream).body) for stream in down] == [SMALL, SMALL]
    # Both windows lie in memory, in the worst case: full ones of the server's, and what the client's let out.
    assert peak.value - before < ALLOWED + (2 * WIDE if server_window == WIDE else 0)


def test_an_exchange_that_reads_and_writes_at_once_keeps_its_octets() -> None:
    """Both sides of one stream wait for each other's windows."""
    options = ["--workers=1", "--h2-window=65535", "--h2-connection-window=65535", "--no-access-log"]
    with ServerProcess(*options, INTERFACES["asgi"]) as server, connect(server) as client:
        block = bytes(range(256)) * 4096
        stream = client.open(client.head("POST", "/duplex"), end=False)
        for _ in range(8):
            client.data(stream, block)
        client.data(stream, b"", end=True)
        assert client.response(stream).body == block * 8


def test_a_paused_client_pauses_the_application_of_its_stream_and_no_other(server: ServerProcess) -> None:
    with connect(server) as client:
        client.grow_windows = False
        paused = client.request("GET", f"/stream?size={SMALL}")
        client.wait(lambda: len(client.exchanges[paused].body) == DEFAULT_WINDOW, "a full window")
        client.open_window(0, WIDE)
        client.pause(0.2)
        assert len(client.exchanges[paused].body) == DEFAULT_WINDOW
        other = client.request("GET", "/stream?size=60000")
        assert len(client.response(other).body) == 60_000
        client.open_window(paused, WIDE)
        client.grow_windows = True
        assert len(client.response(paused).body) == SMALL


def test_urgent_responses_come_first_and_incremental_ones_take_turns() -> None:
    """RFC 9218, by the field and by PRIORITY_UPDATE: the responses wait for the window, and go out in this order."""
    size = 60_000
    with ServerProcess("--workers=1", INTERFACES["asgi"]) as server:
        with H2Connection(server.address, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}) as client:

            def ask(priority: str) -> int:
                return client.request("GET", f"/stream?size={size}&length", fields=[("priority", priority)])

            last, first, later = ask("u=7"), ask("u=1"), ask("u=5")
            one, other = ask("u=3, i"), ask("u=3, i")
            streams = (last, first, later, one, other)
            client.wait(lambda: all(client.exchanges[stream].has_head for stream in streams), "the heads")
            update = later.to_bytes(4) + b"u=0"
            client.send(len(update).to_bytes(3) + b"\x10\0" + bytes(4) + update)
            client.open_window(0, MIB)
            client.pause(0.2)
            client.send_frames(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: MIB}))
            for stream in streams:
                assert len(client.response(stream).body) == size
            turns = [
                stream for at, stream in enumerate(client.data_order) if client.data_order[at - 1] != stream or not at
            ]
            assert turns[:2] == [later, first]
            assert turns[-1] == last
            between = turns[2:-1]
            assert len(between) >= 4, "taking turns"
            assert set(between) == {one, other}


def test_a_connection_of_many_downloads_does_not_starve_another(server: ServerProcess, interface: str) -> None:
    def ask(client: H2Connection) -> float:
        began = time.monotonic()
        assert client.get("/honest").body == b"hello /honest"
        return time.monotonic() - began

    ended = threading.Event()
    received: list[int] = []

    def download() -> None:
        with connect(server, WIDE) as client:
            # Of four threads one is left.
            count = 128 if interface == "asgi" else 3
            streams = [client.request("GET", "/stream?size=1000000000") for _ in range(count)]
            while not ended.is_set():
                client.pause(0.02)
                received[:] = [len(client.exchanges[stream].body) for stream in streams]
            for exchange in client.exchanges.values():
                exchange.body.clear()

    downloader = threading.Thread(target=download)
    with connect(server) as client:
        idle = statistics.median([ask(client) for _ in range(20)])
        downloader.start()
        wait_until(lambda: sum(received) > 10 * MIB, message="downloads")
        allowed = max(10 * idle, 0.15)
        busy = best_of(4, lambda: statistics.median([ask(client) for _ in range(20)]), lambda busy: busy < allowed)
        ended.set()
        downloader.join()
    assert busy < allowed
