"""`server status`: a live table of a running server, read from its runtime directory and scoreboard.

Only looks; never signals or changes a server.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
from typing import Any, NamedTuple

from .arbiter.runtime import DESCRIPTION, SCOREBOARD, running_servers
from .arbiter.scoreboard import EMPTY, LATENCY_BUCKETS, STATE_NAMES, Scoreboard, latency_bound_us
from .arbiter.workers import resident_bytes
from .errors import EXIT_OK, FerruleError

INTERVAL = 1.0  # s between looks
RESTARTS_SHOWN = 5

_COLUMNS = ("worker", "pid", "state", "age", "req/s", "requests", "in flight", "conns", "p50", "p99", "5xx", "memory")


class Look(NamedTuple):
    """One worker at one moment."""

    slot: int
    state: int
    values: dict[str, int]
    latency: list[int]


class Server(NamedTuple):
    """A running server: what it says of itself, and its counters."""

    facts: dict[str, Any]
    board: Scoreboard

    def look(self) -> dict[int, Look]:
        """Living workers by worker id."""
        looks = {}
        for slot in range(self.board.slots):
            state = self.board.get(slot, "state")
            if state != EMPTY:
                names = ("worker_id", "pid", "started_ns", "connections", "in_flight")
                values = {name: self.board.get(slot, name) for name in names} | self.board.counters(slot)
                looks[values["worker_id"]] = Look(slot, state, values, self.board.latency(slot))
        return looks


def status(pid: int | None, watch: bool) -> int:
    """Show the server of this user, or the one with process id `pid`; with `watch`, again every second.

    Raises `FerruleError` when there is none, or several and no `pid` says which.
    """
    path = _choose(running_servers(), pid)
    try:
        _show(path, _open(path), watch)
    except KeyboardInterrupt:
        pass  # the way to end a watch
    return EXIT_OK


def _show(path: str, server: Server, watch: bool) -> None:
    before, then = server.look(), time.monotonic()
    time.sleep(INTERVAL if watch else INTERVAL / 2)  # rates take two looks
    while True:
        now_looks, now = server.look(), time.monotonic()
        text = "\n".join(render(server.facts, before, now_looks, now - then, time.monotonic_ns()))
        clear = "\x1b[H\x1b[2J" if watch and sys.stdout.isatty() else ""
        sys.stdout.write(f"{clear}{text}\n")
        sys.stdout.flush()
        if not watch:
            return
        before, then = now_looks, now
        time.sleep(INTERVAL)
        try:
            server = Server(_describe(path), server.board)
        except OSError:
            sys.stdout.write("The server has ended.\n")
            return


def render(
    facts: dict[str, Any], before: dict[int, Look], now: dict[int, Look], seconds: float, now_ns: int
) -> list[str]:
    """The lines of the table. Latencies and rates are those of the time between the two looks."""
    lines = [f"ferrule {facts['version']}  pid {facts['pid']}  {facts['app']}  {' '.join(facts['urls'])}", ""]
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for id, look in sorted(now.items()):
        earlier = before.get(id)
        rows.append(_row(look, earlier, seconds, now_ns))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        cells = [
            cell.ljust(width) if cell in STATE_NAMES else cell.rjust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    ready = sum(STATE_NAMES[look.state] == "ready" for look in now.values())
    rate = sum(_rate(look, before.get(id), seconds) for id, look in now.items())
    lines += ["", f"{ready} of {facts['workers']} workers ready, {rate:.0f} requests/s"]
    for each in facts["certificates"]:
        left = each["expires"] - time.time()
        lines.append(
            f"certificate {each['certfile']} " + (f"expires in {_duration(left)}" if left > 0 else "has expired")
        )
    restarts = facts["restarts"][-RESTARTS_SHOWN:]
    if restarts:
        lines += ["", "last restarts"]
    for each in reversed(restarts):
        how = f"signal {each['signal']}" if each["signal"] else f"exit {each['exit']}"
        ago = _duration(max(0.0, time.time() - each["time"]))
        lines.append(f"  {ago:>6} ago  worker {each['worker']} (pid {each['pid']}): {each['cause']}, {how}")
    return lines


def percentile(latency: list[int], fraction: float) -> float | None:
    """Microseconds below which `fraction` of the responses were, to within a bucket; None without any."""
    total = sum(latency)
    if total == 0:
        return None
    seen = 0
    for bucket, count in enumerate(latency):
        seen += count
        if seen >= fraction * total:
            bound = latency_bound_us(bucket)
            return bound if bound != float("inf") else latency_bound_us(LATENCY_BUCKETS - 2)
    return None


def _row(look: Look, earlier: Look | None, seconds: float, now_ns: int) -> tuple[str, ...]:
    values = look.values
    since = earlier.latency if earlier is not None else [0] * LATENCY_BUCKETS
    recent = [now - then for now, then in zip(look.latency, since, strict=True)]
    if not any(recent):
        recent = look.latency  # an idle worker still shows what it was like
    return (
        str(values["worker_id"]),
        str(values["pid"] or "-"),
        STATE_NAMES[look.state] if look.state < len(STATE_NAMES) else "?",
        _duration((now_ns - values["started_ns"]) / 1e9),
        f"{_rate(look, earlier, seconds):.0f}",
        str(values["requests"]),
        str(values["in_flight"]),
        str(values["connections"]),
        _microseconds(percentile(recent, 0.5)),
        _microseconds(percentile(recent, 0.99)),
        str(values["responses_5xx"]),
        _size(resident_bytes(values["pid"])) if values["pid"] else "-",
    )


def _rate(look: Look, earlier: Look | None, seconds: float) -> float:
    return (look.values["requests"] - earlier.values["requests"]) / seconds if earlier is not None else 0.0


def _choose(servers: dict[int, str], pid: int | None) -> str:
    if pid is not None:
        if pid not in servers:
            raise FerruleError(f"no server of this user has process id {pid}")
        return servers[pid]
    if not servers:
        raise FerruleError("no server of this user is running")
    if len(servers) > 1:
        listing = ", ".join(str(each) for each in sorted(servers))
        raise FerruleError(f"several servers are running: {listing}; say which with --pid")
    return next(iter(servers.values()))


def _open(path: str) -> Server:
    try:
        facts = _describe(path)
        with open(os.path.join(path, SCOREBOARD), "rb") as file:
            memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        return Server(facts, Scoreboard(facts["slots"], memory))
    except (OSError, ValueError, KeyError) as error:
        raise FerruleError(f"cannot look into {path}: {error}") from None


def _describe(path: str) -> dict[str, Any]:
    with open(os.path.join(path, DESCRIPTION), encoding="utf-8") as file:
        facts: dict[str, Any] = json.load(file)
    return facts


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"


def _microseconds(us: float | None) -> str:
    if us is None:
        return "-"
    if us < 1000:
        return f"{us:.0f}us"
    return f"{us / 1000:.1f}ms" if us < 1e6 else f"{us / 1e6:.1f}s"


def _size(number: int) -> str:
    return f"{number / (1 << 20):.0f}MiB"
