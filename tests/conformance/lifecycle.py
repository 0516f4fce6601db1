"""The ends of processes, in seconds: how long workers outlive an arbiter that was killed, and how soon a worker
that was killed has a successor. Each figure is of `TURNS` kills."""

import os
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.accounting import session_members
from tests.conformance.checks import Check, expect
from tests.conformance.targets import Target
from tests.support.gauges import Gauges, wait_in_flight
from tests.support.raw import RawConnection
from tests.support.server import ServerProcess, wait_until

TURNS = 20
WORKERS = 10  # of which one after the other is killed
ORPHAN_LIMIT = 2.0  # s
REPLACEMENT_LIMIT = 1.0  # s
BLOCKS = {"asgi": 1, "wsgi": 4}  # requests that keep all of a worker from going on


def _served(target: Target, workers: int) -> ServerProcess:
    return ServerProcess("--workers", str(workers), "--no-access-log", f"tests.apps.process:{target.interface}")


def _idle(server: ServerProcess, stack: ExitStack) -> None:
    """With a client that keeps its connection."""
    stack.enter_context(server.connect()).get()


def _blocked(path: bytes, count: int) -> Callable[[ServerProcess, ExitStack], None]:
    def prepare(server: ServerProcess, stack: ExitStack) -> None:
        for _ in range(count):
            client: RawConnection = stack.enter_context(server.connect())
            client.send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        wait_in_flight(server, count)

    return prepare


def _after_the_arbiter(target: Target, prepare: Callable[[ServerProcess, ExitStack], None]) -> float:
    with _served(target, 1) as server, ExitStack() as stack:
        server.wait_for_log("Worker ready")
        prepare(server, stack)
        os.kill(server.pid, signal.SIGKILL)
        began = time.monotonic()
        server.wait()
        wait_until(lambda: not any(each.alive for each in session_members(server.pid)), message="no worker left")
        return time.monotonic() - began


def orphans(target: Target, log: Path) -> str:
    count = BLOCKS[target.interface]
    states = {"idle": _idle, "blocked": _blocked(b"/block", count), "without the GIL": _blocked(b"/gil", 1)}
    figures = {name: [_after_the_arbiter(target, prepare) for _ in range(TURNS)] for name, prepare in states.items()}
    log.write_text(f"{figures}\n", encoding="utf-8")
    worst = max(max(each) for each in figures.values())
    expect(worst < ORPHAN_LIMIT, f"a worker outlived its arbiter for {worst:.2f} s")
    return ", ".join(f"{name} {_spread(each)}" for name, each in figures.items())


def replacement(target: Target, log: Path) -> str:
    figures = []
    with _served(target, WORKERS) as server:
        server.wait_for_log("Worker ready", count=WORKERS, timeout=60)
        gauges = Gauges(server)
        # None of the victims may be young: those that die young are started again after a while only.
        for turn in range(TURNS):
            if turn % WORKERS == 0:
                time.sleep(5.5)
                victims = server.workers()
            os.kill(victims[turn % WORKERS], signal.SIGKILL)
            began = time.monotonic()
            wait_until(lambda: gauges.ready() < WORKERS, message="a death")
            wait_until(lambda: gauges.ready() == WORKERS, message="a replacement")
            figures.append(time.monotonic() - began)
    log.write_text(f"{figures}\n", encoding="utf-8")
    expect(max(figures) < REPLACEMENT_LIMIT, f"a replacement took {max(figures):.2f} s")
    return f"ready again after {_spread(figures)}"


def _spread(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.2f} s (at most {max(seconds):.2f})"


CHECKS = [
    Check(name, check, carriers=("clear",))
    for name, check in (("arbiter killed", orphans), ("worker killed", replacement))
]
