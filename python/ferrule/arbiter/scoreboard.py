"""The scoreboard: every worker's state and counters, in memory that all processes of a server share.

The layout is written here once; the core mirrors it in `rust/core/src/scoreboard.rs`, and a worker compares the two
before it serves. Each worker owns one slot of unsigned 64-bit integers in native byte order, and is its only writer
between its start and its death; the arbiter prepares the slot before it forks and clears it after it has reaped.
One more slot, behind the last, holds the sums of workers that have died, so that totals never run backwards.

This file must never know what the numbers are used for: it has no policy, and it starts and kills nobody.
"""

from __future__ import annotations

import mmap
import os

VERSION = 1
"""Changes with the layout, so that a mixed upgrade is noticed."""

# States of a slot. Written by the arbiter (EMPTY, BOOTING) and by the worker that owns it (the others).
# Only workers that are READY take part in the spreading rule of `accept`.
EMPTY = 0
BOOTING = 1
READY = 2
DRAINING = 3
STATE_NAMES = ("empty", "booting", "ready", "draining")

LATENCY_BUCKETS = 40
"""Two buckets per octave of microseconds: below 64, then [64, 96), [96, 128), [128, 192), ...; the last takes all
from 2**25 us (33.6 s). With `d >= 64`: index = 1 + 2 * (floor(log2 d) - 6) + (the bit below the top bit)."""

_LINE = 64  # bytes of a cache line, so that workers never write to each other's lines
_WORD = 8
_LARGEST = 2**64 - 1  # of a word

# Eight words to a cache line. The first line is read by sibling workers on every accept and by the arbiter on every
# tick; the second is written once in a worker's life; counters follow.
_FIELDS = (
    # gauges, written by the core
    "heartbeat_ns",  # monotonic clock at the last beat
    "state",  # one of the states above
    "pid",
    "connections",  # open connections, whatever they do
    "in_flight",  # requests handed to the application and not finished (ASGI background work counts)
    "busy_threads",  # application threads inside an application call (WSGI)
    "threads",  # application threads (WSGI), 0 for ASGI
    "blocked_ns",  # monotonic clock since when every thread has been inside one call, 0 = not (WSGI)
    # identity, written by the arbiter before the fork and by the worker's Python side at boot
    "worker_id",  # never reused within a server
    "generation",  # counts reloads; workers of an older one are being replaced
    "started_ns",  # monotonic clock at the fork
    "ready_ns",  # monotonic clock when it began to accept
    "max_requests",  # this worker's recycling point, jitter included; 0 = none
    "drain_grace_ms",  # how long this worker may take to leave; 0 = what the settings say, largest = no limit
    "reserved_1",
    "reserved_2",
    # counters, written by the core, only ever growing
    "accepted",  # connections accepted
    "requests",  # requests begun: HTTP/1 requests, HTTP/2 streams and WebSocket handshakes count one each
    "responses_1xx",
    "responses_2xx",
    "responses_3xx",
    "responses_4xx",
    "responses_5xx",
    "bytes_in",  # read from sockets
    "bytes_out",  # written to sockets, sendfile included
    "bad_requests",  # refused before the application: 400, 408, 413, 414, 431, ...
    "limited",  # 503 by --limit-concurrency
    "timeouts",  # connections closed by a time-out of the server
    "disconnects",  # clients that left before their response was complete
    "app_errors",  # exceptions out of the application
    "websockets",  # WebSocket handshakes accepted
    "lines_dropped",  # access lines dropped because the sink did not keep up
    "latency_total_us",  # sum of response times; `requests` finished is the sum of the buckets
    "reserved_3",
    "reserved_4",
    "reserved_5",
    "reserved_6",
    "reserved_7",
    "reserved_8",
    "reserved_9",
)

_FIRST_COUNTER = _FIELDS.index("accepted")
_WORDS = len(_FIELDS) + LATENCY_BUCKETS

INDEX: dict[str, int] = {name: position for position, name in enumerate(_FIELDS)}
INDEX["latency"] = len(_FIELDS)

REQUESTS_SHOWN = 32
"""Requests in flight that a worker shows by name, so that the log can say what a killed worker had."""
_REQUEST_WORDS = 16  # id (0: free), monotonic start (ns), then text, padded with zeros
_FIRST_REQUEST = -(-_WORDS * _WORD // _LINE) * _LINE // _WORD

SLOT_SIZE = (_FIRST_REQUEST + REQUESTS_SHOWN * _REQUEST_WORDS) * _WORD
_SLOT_WORDS = SLOT_SIZE // _WORD

LAYOUT: dict[str, int] = {
    name: position * _WORD for name, position in INDEX.items() if not name.startswith("reserved_")
}
"""Byte offset of each field in a slot; `latency` is the first of `latency_buckets` words. Plus `slot_size`.
The core names only the fields that it touches; each has to be here with the same offset."""
LAYOUT["slot_size"] = SLOT_SIZE
LAYOUT["latency_buckets"] = LATENCY_BUCKETS
LAYOUT["requests_shown"] = _FIRST_REQUEST * _WORD
LAYOUT["requests_shown_max"] = REQUESTS_SHOWN


def latency_bound_us(bucket: int) -> float:
    """Upper bound of a latency bucket in microseconds (exclusive); infinity for the last."""
    if bucket >= LATENCY_BUCKETS - 1:
        return float("inf")
    octave, half = divmod(bucket, 2)
    return float((64 << octave) + (half * (32 << octave)))


class Scoreboard:
    """All slots of one server. `memory` is inherited by forked workers; `slots` is how many workers fit at once."""

    def __init__(self, slots: int, memory: mmap.mmap | None = None) -> None:
        """Make shared memory for `slots` workers, or look at `memory` that holds a scoreboard already.

        Raises `ValueError` when `memory` is too small for `slots`.
        """
        size = self.size(slots)
        self.slots = slots
        self.fd = -1  # of memory that others can map by its descriptor, where the platform has that
        if memory is None:
            if hasattr(os, "memfd_create"):
                self.fd = os.memfd_create("ferrule-scoreboard", os.MFD_CLOEXEC)
                os.ftruncate(self.fd, size)
            memory = mmap.mmap(self.fd, size)
        self.memory = memory
        if len(self.memory) < size:
            raise ValueError(f"a scoreboard of {slots} slots takes {size} bytes, got {len(self.memory)}")
        self._words = memoryview(self.memory).cast("B")[:size].cast("Q")

    def close(self) -> None:
        """Give back the descriptor; the memory stays for those that look at it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @staticmethod
    def size(slots: int) -> int:
        """Bytes that `slots` workers take, the slot of sums included."""
        return (slots + 1) * SLOT_SIZE

    def get(self, slot: int, field: str) -> int:
        return self._words[slot * _SLOT_WORDS + INDEX[field]]

    def set(self, slot: int, field: str, value: int) -> None:
        self._words[slot * _SLOT_WORDS + INDEX[field]] = value

    def latency(self, slot: int) -> list[int]:
        """Responses per latency bucket."""
        start = slot * _SLOT_WORDS + INDEX["latency"]
        return self._words[start : start + LATENCY_BUCKETS].tolist()

    def requests(self, slot: int) -> list[tuple[int, str]]:
        """Requests in flight as `(monotonic start in ns, "METHOD target")`, oldest first; the youngest of many."""
        start = slot * _SLOT_WORDS + _FIRST_REQUEST
        shown = []
        for first in range(start, start + REQUESTS_SHOWN * _REQUEST_WORDS, _REQUEST_WORDS):
            if self._words[first]:
                text = self._words[first + 2 : first + _REQUEST_WORDS].tobytes().rstrip(b"\0")
                shown.append((self._words[first + 1], text.decode("latin-1")))
        return sorted(shown)

    def counters(self, slot: int) -> dict[str, int]:
        """The growing numbers of a slot, without the latency buckets."""
        start = slot * _SLOT_WORDS
        return {
            name: self._words[start + position]
            for position, name in enumerate(_FIELDS)
            if position >= _FIRST_COUNTER and not name.startswith("reserved_")
        }

    def total(self, field: str) -> int:
        """The sum over all workers, of a counter also over those that have died."""
        return sum(self.get(slot, field) for slot in range(self.slots + 1))

    def mismatches(self, core_layout: dict[str, int], core_version: int) -> list[str]:
        """What the core believes otherwise about the layout; empty when both agree."""
        wrong = [name for name, offset in core_layout.items() if LAYOUT.get(name) != offset]
        return sorted(wrong) + ["version"] * (core_version != VERSION)

    def slot(self, slot: int) -> Slot:
        """The view of one slot that its worker gets."""
        return Slot(self, slot)

    def occupy(self, slot: int, *, worker_id: int, generation: int, now_ns: int, max_requests: int) -> None:
        """Prepare a slot for a worker about to be forked."""
        self.set(slot, "worker_id", worker_id)
        self.set(slot, "generation", generation)
        self.set(slot, "started_ns", now_ns)
        self.set(slot, "heartbeat_ns", now_ns)
        self.set(slot, "max_requests", max_requests)
        self.set(slot, "state", BOOTING)

    def vacate(self, slot: int) -> None:
        """Add a dead worker's counters to the sums and clear its slot."""
        start, sums = slot * _SLOT_WORDS, self.slots * _SLOT_WORDS
        for position in range(_FIRST_COUNTER, _WORDS):
            self._words[sums + position] += self._words[start + position]
        for position in range(_SLOT_WORDS):
            self._words[start + position] = 0

    def free_slot(self) -> int | None:
        """The lowest free slot, so that siblings have few to look at; None when all are taken."""
        for slot in range(self.slots):
            if self.get(slot, "state") == EMPTY:
                return slot
        return None


class Slot:
    """One worker's slot, as the worker itself uses it."""

    def __init__(self, board: Scoreboard, number: int) -> None:
        self.board = board
        self.number = number

    def booted(self, pid: int, threads: int) -> None:
        self.board.set(self.number, "pid", pid)
        self.board.set(self.number, "threads", threads)

    def ready(self, now_ns: int) -> None:
        """The worker accepts connections."""
        self.board.set(self.number, "heartbeat_ns", now_ns)
        self.board.set(self.number, "ready_ns", now_ns)
        self.board.set(self.number, "state", READY)

    def draining(self) -> None:
        """The worker no longer accepts connections."""
        self.board.set(self.number, "state", DRAINING)

    def progress(self, at_ns: int) -> None:
        """The worker last made progress at `at_ns` on the monotonic clock."""
        self.board.set(self.number, "heartbeat_ns", at_ns)

    def drain_grace(self) -> float | None:
        """Seconds that the arbiter grants for leaving, inf without a limit; None when it did not say."""
        granted = self.board.get(self.number, "drain_grace_ms")
        return float("inf") if granted == _LARGEST else granted / 1000 or None

    def limit_grace(self, seconds: float) -> None:
        """Say how long the worker may take to leave."""
        granted = _LARGEST if seconds == float("inf") else max(1, int(seconds * 1000))
        self.board.set(self.number, "drain_grace_ms", granted)
