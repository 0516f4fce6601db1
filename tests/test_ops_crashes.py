"""Workers that are killed under load: what nobody was served by is lost by nobody, and the log names the rest."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.gauges import Gauges
from tests.support.load import Load
from tests.support.server import ServerProcess, wait_until

Serve = Callable[..., ServerProcess]
APPS = pytest.mark.parametrize("app", ["tests.apps.process:asgi", "tests.apps.process:wsgi"])


def sockets(pid: int) -> int:
    """Open sockets of a process: listeners, the loop's own, and connections."""
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += os.readlink(entry).startswith("socket:")
        except FileNotFoundError:
            continue  # closed meanwhile
    return count


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Hold a process still, so that what is seen of it stays true; it goes on afterwards if it still can."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", message="a stop")
        yield
    finally:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass  # it was killed meanwhile


def kill_when(server: ServerProcess, holds: Callable[[int], bool]) -> int:
    """SIGKILL one of the workers at a moment at which `holds(pid)` is true; returns its pid."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for pid in server.workers():
            with frozen(pid):
                if holds(pid):
                    os.kill(pid, signal.SIGKILL)
                    return pid
        time.sleep(0.02)
    raise AssertionError("no worker was ever in the state that was waited for")


@APPS
def test_killing_idle_workers_under_load_loses_nothing(serve: Serve, app: str) -> None:
    server = serve("-w", "2", app)
    server.wait_for_log("Worker ready", count=2)
    idle = max(sockets(pid) for pid in server.workers())
    # One connection is kept for the whole time, so that its worker is never idle and the other one often is.
    with Load(server.address, ("/", "/", "/slow", "/", "/stream"), clients=3, kept=1) as load:
        wait_until(lambda: load.total > 10, message="load")
        for turn in range(1, 6):
            victim = kill_when(server, lambda pid: sockets(pid) <= idle)
            server.wait_for_log(rf"Worker died pid={victim} .*signal=SIGKILL in_flight=0")
            server.wait_for_log("Worker ready", count=2 + turn, timeout=20)
        served = load.total
        wait_until(lambda: load.total > served + 20, message="load that goes on")
    assert load.failures == []


@APPS
def test_killing_a_busy_worker_loses_what_it_had_in_flight_and_the_log_names_it(serve: Serve, app: str) -> None:
    server = serve("-w", "2", "--threads", "8", app)
    server.wait_for_log("Worker ready", count=2)
    idle = max(sockets(pid) for pid in server.workers())
    gauges = Gauges(server)
    with Load(server.address, ("/slow",), clients=8, kept=4) as load:
        wait_until(lambda: load.total > 16, message="load")
        in_flight = 0

        def is_in_the_application_with_all_it_has(pid: int) -> bool:
            nonlocal in_flight
            in_flight = gauges.in_flight(pid)
            return in_flight >= 2 and sockets(pid) - idle == in_flight

        victim = kill_when(server, is_in_the_application_with_all_it_has)
        server.wait_for_log(rf"Worker died pid={victim} .*signal=SIGKILL in_flight={in_flight}")
        server.wait_for_log("Worker ready", count=3)
        served = load.total
        wait_until(lambda: load.total > served + 16, message="load that goes on")
    named = set(re.findall(rf'Request in flight pid={victim} request="GET (\S+)"', server.stderr))
    assert len(named) == in_flight
    assert set(load.failed) <= named
    assert len(load.failed) > 0
