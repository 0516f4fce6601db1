"""No mix of uploads on one HTTP/2 connection can stall it: many at a time, of any size, through small windows, read at
once, late or never, collected before a thread is taken or not, within the budgets of memory and beyond them."""

import random
from dataclasses import dataclass

import pytest
from hyperframe.frame import DataFrame

from tests.support.h2 import MAX_FRAME, H2Connection
from tests.support.server import ServerProcess

INTERFACES = {"asgi": "tests.apps.wire_asgi:app", "wsgi": "tests.apps.wire_wsgi:app"}
STREAMS = 128
REFUSED_STREAM, NO_ERROR = 7, 0

# Settings under which a connection could run out of window, of body memory, or of threads.
CRAMPED: dict[str, tuple[str, ...]] = {
    "defaults": (),
    "small-windows": ("--h2-window=65535", "--h2-connection-window=65535"),
    "every-body-streams": ("--body-memory=1", "--h2-window=65535", "--h2-connection-window=65535"),
    "budget-for-a-few": (
        "--body-memory=200000",
        "--body-memory-total=300000",
        "--h2-window=65535",
        "--h2-connection-window=131072",
    ),
    "no-budget": ("--body-memory=200000", "--body-memory-total=1", "--h2-connection-window=65535"),
}


@dataclass
class Upload:
    path: str
    size: int
    declared: bool
    parked: bool
    """Stops half-way until all others are done."""
    left: int = 0
    stream: int = 0
    sent_end: bool = False
    attempts: int = 0

    def right(self, body: bytes) -> bool:
        return body == (b"ignored" if self.path == "/ignore" else str(self.size).encode())


def mix(dice: random.Random, *, parked: bool) -> list[Upload]:
    uploads = []
    for _ in range(STREAMS):
        size = dice.choice([0, 1, dice.randrange(1000), dice.randrange(70_000), dice.randrange(250_000)])
        path = dice.choice(["/count", "/count", "/count", "/late_read?s=0.02", "/ignore"])
        parks = parked and size > 1 and path == "/count" and dice.random() < 0.3
        uploads.append(Upload(path, size, declared=parks or dice.random() < 0.7, parked=parks))
    return uploads


class Uploader:
    """Sends a mix over one connection, piece by piece, in the order of the dice. Asks again where it is told to."""

    def __init__(self, client: H2Connection, dice: random.Random, uploads: list[Upload]) -> None:
        self.client = client
        self.dice = dice
        self.uploads = uploads
        for upload in uploads:
            self.begin(upload)

    def begin(self, upload: Upload) -> None:
        fields = [("content-length", str(upload.size))] if upload.declared else []
        upload.stream = self.client.open(self.client.head("POST", upload.path, fields), end=False)
        upload.left, upload.sent_end = upload.size, False
        upload.attempts += 1
        assert upload.attempts < 200, "refused again and again"

    def is_over(self, upload: Upload) -> bool:
        return self.client.exchanges[upload.stream].over

    def can_send(self, upload: Upload, unpark: bool) -> bool:
        if upload.sent_end or self.is_over(upload) or (upload.parked and not unpark and upload.left <= upload.size / 2):
            return False
        return upload.left == 0 or self.client.room(upload.stream) > 0

    def run(self) -> None:
        while waiting := [upload for upload in self.uploads if not self.is_done(upload)]:
            unpark = all(upload.parked for upload in waiting)
            ready = [upload for upload in waiting if self.can_send(upload, unpark)]
            if not ready:

                def moved(waiting: list[Upload] = waiting, unpark: bool = unpark) -> bool:
                    return any(self.is_over(upload) or self.can_send(upload, unpark) for upload in waiting)

                self.client.wait(moved, f"anything to move for {len(waiting)} uploads", timeout=20)
                continue
            for upload in self.dice.sample(ready, min(len(ready), 8)):
                self.send_piece(upload)

    def is_done(self, upload: Upload) -> bool:
        """Whether it was answered, once the answer is right; begins it again when it was refused unserved."""
        exchange = self.client.exchanges[upload.stream]
        if not exchange.over:
            return False
        if exchange.reset == REFUSED_STREAM:
            assert not exchange.heads
            self.begin(upload)
            return False
        assert exchange.reset in (None, NO_ERROR), (upload, exchange)
        assert exchange.status == 200, (upload, exchange)
        assert upload.right(bytes(exchange.body)), (upload, exchange)
        return True

    def send_piece(self, upload: Upload) -> None:
        client = self.client
        if upload.left > 0 and client.room(upload.stream) <= 0:
            return
        piece = self.dice.choice([1, 100, 5000, MAX_FRAME, MAX_FRAME, MAX_FRAME])
        piece = min(piece, upload.left, MAX_FRAME, max(0, client.room(upload.stream)))
        upload.left -= piece
        client.window -= piece
        client.windows[upload.stream] -= piece
        # The end comes with the last octets, or by itself.
        upload.sent_end = upload.left == 0 and (piece == 0 or self.dice.random() < 0.7)
        flags = ["END_STREAM"] if upload.sent_end else []
        if piece or upload.sent_end:
            client.send(DataFrame(upload.stream, bytes(piece), flags=flags).serialize())


@pytest.mark.parametrize("settings", CRAMPED)
@pytest.mark.parametrize("interface", INTERFACES)
def test_no_mix_of_uploads_stalls_its_connection(interface: str, settings: str) -> None:
    options = ["--workers=1", "--max-requests=0", "--no-access-log", *CRAMPED[settings]]
    with ServerProcess(*options, INTERFACES[interface]) as server:
        for seed in range(1 if settings == "no-budget" else 2):
            dice = random.Random(f"{settings} {seed}")
            with H2Connection(server.address, timeout=30) as client:
                client.greet()
                # A parked upload must find budget, or it would take a thread from those that it waits for.
                uploader = Uploader(client, dice, mix(dice, parked=settings in ("defaults", "small-windows")))
                uploader.run()
                assert client.get("/last").body == b"hello /last"
        assert "did not come in time" not in server.stderr


def test_uploads_that_no_thread_reads_leave_room_for_the_one_that_is_read() -> None:
    """All but one thread's worth of bodies lie in the connection's window; what is read goes on beside them."""
    options = ["--workers=1", "--threads=1", "--body-memory=1", "--h2-window=65535", "--h2-connection-window=65535"]
    with ServerProcess(*options, INTERFACES["wsgi"]) as server, H2Connection(server.address, timeout=20) as client:
        client.greet()
        first = client.open(client.head("POST", "/count"), end=False)
        client.data(first, b"x")
        others = [client.open(client.head("POST", "/count"), end=False) for _ in range(8)]
        for stream in others:
            client.data(stream, bytes(40_000))
        client.data(first, bytes(500_000), end=True)
        assert client.response(first).body == b"500001"
        for stream in others:
            client.data(stream, bytes(40_000), end=True)
        assert [client.response(stream).body for stream in others] == [b"80000"] * 8


def test_a_cancelled_upload_gives_its_window_back_at_once() -> None:
    """Although its application goes on, and holds the stream's place until it is done."""
    options = ["--workers=1", "--h2-window=65535", "--h2-connection-window=65535", "--body-memory-total=1"]
    with ServerProcess(*options, INTERFACES["asgi"]) as server, H2Connection(server.address, timeout=10) as client:
        client.greet()
        for _ in range(3):
            sleeper = client.open(client.head("POST", "/sleep?s=1"), end=False)
            client.data(sleeper, bytes(60_000))
            client.reset(sleeper)
            assert client.post("/count", bytes(200_000)).body == b"200000"
