"""The scoreboard's layout and the bookkeeping of its slots."""

import math
import mmap

import pytest

from ferrule import _core
from ferrule.arbiter.scoreboard import (
    BOOTING,
    EMPTY,
    LATENCY_BUCKETS,
    LAYOUT,
    SLOT_SIZE,
    Scoreboard,
    latency_bound_us,
)


def test_fields_do_not_overlap_and_slots_fill_cache_lines() -> None:
    counts = ("slot_size", "latency_buckets", "requests_shown_max")
    offsets = [offset for name, offset in LAYOUT.items() if name not in counts]
    assert len(set(offsets)) == len(offsets)
    assert all(offset % 8 == 0 and offset < SLOT_SIZE for offset in offsets)
    assert LAYOUT["latency"] + 8 * LATENCY_BUCKETS <= SLOT_SIZE
    assert SLOT_SIZE % 64 == 0


def test_what_siblings_read_on_every_accept_is_in_one_cache_line() -> None:
    assert {LAYOUT[name] // 64 for name in ("state", "connections", "busy_threads")} == {0}


def test_the_layout_agrees_with_the_core() -> None:
    assert Scoreboard(1).mismatches(_core.SCOREBOARD_LAYOUT, _core.SCOREBOARD_VERSION) == []


def test_a_different_layout_is_noticed() -> None:
    board = Scoreboard(1)
    assert board.mismatches({"pid": LAYOUT["pid"], "state": LAYOUT["state"] + 8, "new": 0}, 1) == ["new", "state"]
    assert board.mismatches({}, 0) == ["version"]


def test_slots_are_given_out_lowest_first_and_come_back() -> None:
    board = Scoreboard(2)
    assert board.free_slot() == 0
    for slot in (0, 1):
        board.occupy(slot, worker_id=slot + 1, generation=1, now_ns=5, max_requests=0)
        assert board.get(slot, "state") == BOOTING
    assert board.free_slot() is None
    board.vacate(0)
    assert board.free_slot() == 0


def test_counters_of_the_dead_are_summed_and_gauges_forgotten() -> None:
    board = Scoreboard(1)
    for requests in (3, 4):
        board.occupy(0, worker_id=1, generation=1, now_ns=5, max_requests=0)
        board.set(0, "requests", requests)
        board.set(0, "connections", 9)
        board.set(0, "latency", 2)
        board.vacate(0)
    assert board.counters(1)["requests"] == 7
    assert board.latency(1)[0] == 4
    assert board.get(1, "connections") == 0
    assert board.get(0, "state") == EMPTY


def test_memory_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="a scoreboard of 2 slots takes"):
        Scoreboard(2, mmap.mmap(-1, SLOT_SIZE))


def test_latency_bounds_follow_the_documented_rule() -> None:
    def bucket(us: int) -> int:
        if us < 64:
            return 0
        octave = us.bit_length() - 1
        return min(1 + 2 * (octave - 6) + (us >> (octave - 1) & 1), LATENCY_BUCKETS - 1)

    for us in (0, 63, 64, 95, 96, 127, 128, 191, 192, 10_000, 33_554_431, 33_554_432, 10**12):
        index = bucket(us)
        assert us < latency_bound_us(index)
        assert index == 0 or us >= latency_bound_us(index - 1)
    assert math.isinf(latency_bound_us(LATENCY_BUCKETS - 1))
