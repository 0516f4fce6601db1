"""Time over HTTP/2: what is late ends one stream where that is enough, and its connection where it is not."""

import threading
import time
from collections.abc import Iterator

import pytest
from hyperframe.frame import ContinuationFrame, HeadersFrame, PingFrame, SettingsFrame

from tests.support.h2 import PREFACE, H2Connection
from tests.support.server import ServerProcess, wait_until

INTERFACES = {"asgi": "tests.apps.wire_asgi:app", "wsgi": "tests.apps.wire_wsgi:app"}
NO_ERROR, CANCEL, ENHANCE_YOUR_CALM = 0, 8, 11
UNREAD = "the client does not read its response"


@pytest.fixture(params=INTERFACES)
def app(request: pytest.FixtureRequest) -> str:
    return INTERFACES[request.param]


@pytest.fixture(scope="module", params=INTERFACES)
def impatient(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """A server that waits for nobody longer than a second."""
    options = ["--header-timeout=1", "--keep-alive=1", "--write-timeout=1", "--max-requests=0"]
    with ServerProcess("--workers", "1", *options, INTERFACES[request.param]) as server:
        yield server


def ended_after(client: H2Connection, began: float) -> float:
    """Waits for the end of the connection and says when it came; a hang is 10 s."""
    client.wait_closed(timeout=10)
    assert client.closed
    return time.monotonic() - began


@pytest.mark.parametrize("steps", ["headers", "frame-head", "nothing", "preface"])
def test_a_head_that_does_not_end_is_closed_at_the_header_timeout(impatient: ServerProcess, steps: str) -> None:
    """However steadily it comes: it is timed as a whole."""
    with H2Connection(impatient.address, greet=False) as client:
        began = time.monotonic()
        if steps == "preface":
            client.send(PREFACE[:20])
        elif steps != "nothing":
            client.send(PREFACE + SettingsFrame(0).serialize())
        if steps == "frame-head":
            client.send(b"\0\0\5\1")
        if steps == "headers":
            client.greet()
            client.send_frames(HeadersFrame(1, client.encoder.encode(client.head())))
            while not client.goaways and time.monotonic() - began < 5:
                client.send_frames(ContinuationFrame(1, b"\0\1a\1b"))
                client.pause(0.1)
        assert 0.9 < ended_after(client, began) < 5
        if steps in ("headers", "frame-head"):
            assert client.goaways[-1].error_code == ENHANCE_YOUR_CALM
            impatient.wait_for_log('Connection closed ip="127.0.0.1" cause="a request head did not come in time"')


def test_an_idle_connection_is_told_and_closed_whatever_it_pings(impatient: ServerProcess) -> None:
    with H2Connection(impatient.address) as client:
        assert client.get("/").status == 200
        began = time.monotonic()
        while not client.goaways and time.monotonic() - began < 5:
            client.send_frames(PingFrame(0, b"are you "))
            client.pause(0.1)
        client.wait(lambda: len(client.goaways) > 1, "the second GOAWAY")
        assert [goaway.error_code for goaway in client.goaways] == [NO_ERROR, NO_ERROR]
        assert client.goaways[-1].last_stream_id == 1
        assert 0.8 < ended_after(client, began) < 5


def test_a_connection_with_a_request_under_way_is_not_idle(impatient: ServerProcess) -> None:
    with H2Connection(impatient.address) as client:
        assert client.get("/sleep?s=1.5").body == b"s=1.5"
        assert client.get("/").status == 200


@pytest.mark.parametrize("size", [40_000, 10_000_000])
def test_a_stream_whose_client_opens_no_window_is_reset_and_no_other(impatient: ServerProcess, size: int) -> None:
    """Also when its application has given all of it and is gone."""
    before = impatient.stderr.count(UNREAD)
    with H2Connection(impatient.address, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1000}) as client:
        client.grow_windows = False
        began = time.monotonic()
        unread = client.request("GET", f"/stream?size={size}")
        served = 0
        while not client.exchanges[unread].over and time.monotonic() - began < 8:
            assert client.get("/short").status == 200
            client.pause(0.05)
            served += 1
        elapsed = time.monotonic() - began
        assert client.response(unread).reset == CANCEL
        assert len(client.exchanges[unread].body) == 1000
        assert 0.9 < elapsed < 5
        assert served > 3
        assert client.get("/short").status == 200
    wait_until(lambda: impatient.stderr.count(UNREAD) == before + 1, message="one line")


def test_a_connection_whose_window_stays_shut_is_closed(impatient: ServerProcess) -> None:
    before = impatient.stderr.count(UNREAD)
    with H2Connection(impatient.address, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1 << 24}) as client:
        client.grow_windows = False
        began = time.monotonic()
        client.request("GET", "/stream?size=10000000")
        assert 0.9 < ended_after(client, began) < 5
    wait_until(lambda: impatient.stderr.count(UNREAD) > before, message="a line")


def test_a_response_that_waits_for_more_urgent_ones_is_not_given_up(impatient: ServerProcess) -> None:
    """Its client reads all that comes, at its own pace, for longer than the write time-out."""
    with H2Connection(impatient.address, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1 << 20}) as client:
        client.grow_windows = False
        patient = client.request("GET", "/stream?size=500000", fields=[("priority", "u=7")])
        urgent = client.request("GET", "/stream?size=900000", fields=[("priority", "u=0")])
        began = time.monotonic()
        while not (client.exchanges[patient].over and client.exchanges[urgent].over):
            assert time.monotonic() - began < 20
            client.open_window(0, 40_000)
            client.pause(0.08)
        assert len(client.response(patient).body) == 500_000
        assert len(client.response(urgent).body) == 900_000
        assert time.monotonic() - began > 1.5


def test_bodies_below_the_rate_floor_end_alone(app: str) -> None:
    """After a grace of 5 s: uploads that stall, and downloads that drip. Steady ones on the same connections go on."""
    with ServerProcess("--workers=1", "--body-min-rate=1000", app) as server:
        outcome: dict[str, int | None] = {}

        def upload() -> None:
            with H2Connection(server.address, timeout=20) as client:
                fields = [("content-length", "13000")]
                stalled = client.open(client.head("POST", "/count", fields), end=False)
                streamed = client.open(client.head("POST", "/count"), end=False)
                client.data(stalled, b"0123456789")
                client.data(streamed, b"0123456789")
                steady = client.open(client.head("POST", "/count", fields), end=False)
                for number in range(65):
                    client.data(steady, bytes(200), end=number == 64)
                    client.pause(0.1)
                outcome["stalled"] = client.response(stalled).status
                outcome["streamed"] = client.response(streamed).status
                outcome["steady"] = client.response(steady).status
                assert client.get("/").status == 200

        def download() -> None:
            with H2Connection(server.address, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 100}, timeout=20) as client:
                client.grow_windows = False
                # One whose application is done, and one whose application waits.
                drips = [client.request("GET", f"/stream?size={size}") for size in (50_000, 10_000_000)]
                began = time.monotonic()
                while not all(client.exchanges[stream].over for stream in drips) and time.monotonic() - began < 14:
                    for stream in drips:
                        client.open_window(stream, 10)
                    client.pause(0.1)
                outcome["done"], outcome["waits"] = (client.response(stream).reset for stream in drips)
                assert 4.5 < time.monotonic() - began < 12
                assert client.get("/").status == 200

        threads = [threading.Thread(target=upload), threading.Thread(target=download)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcome == {"stalled": 408, "streamed": 408, "steady": 200, "done": CANCEL, "waits": CANCEL}
        server.wait_for_log("Request refused status=408 further=1 .*the request body did not come in time")
        server.wait_for_log(f"Stream reset .*{UNREAD}")


def test_a_request_that_takes_too_long_ends_alone(app: str) -> None:
    """504 while nothing was sent, a reset when a part was; the other streams of the connection do not notice."""
    with (
        ServerProcess("--workers=1", "--request-timeout=2", app) as server,
        H2Connection(server.address, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1000}) as client,
    ):
        client.grow_windows = False
        began = time.monotonic()
        stuck = client.request("GET", "/sleep?s=4")
        begun = client.request("GET", "/stream?size=10000000")
        steady = client.open(client.head("POST", "/count"), end=False)
        for number in range(4):
            assert client.get(f"/{number}").status == 200
            client.data(steady, bytes(100), end=number == 3)
            client.pause(0.05)
        assert client.response(steady).body == b"400"
        assert client.response(stuck).status == 504
        assert client.response(begun).reset == CANCEL
        assert 1.9 < time.monotonic() - began < 20
        assert client.exchanges[begun].status == 200
        if app == INTERFACES["asgi"]:  # a WSGI worker with a stuck thread is replaced
            assert client.get("/last").status == 200


def test_zero_turns_timeouts_off(app: str) -> None:
    options = ["--header-timeout=0", "--keep-alive=0", "--write-timeout=0", "--body-min-rate=0"]
    with ServerProcess("--workers=1", *options, app) as server:
        with H2Connection(server.address, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 10}) as client:
            client.grow_windows = False
            waits = client.greet().request("GET", "/stream?size=5000")
            client.send(b"\0\0\4")  # a part of a frame
            client.pause(1.5)
            client.send(b"\x08\0" + waits.to_bytes(4) + (5000).to_bytes(4))
            client.pause(0.1)
            assert len(client.response(waits).body) == 5000
            assert client.goaways == []
