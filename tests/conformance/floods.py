"""Floods of HTTP/2, and what an honest client of the same worker notices: its latency, what the worker spends on it,
and how much memory the worker takes. Beside it stands what one connection of the attacker costs.

The attacker is a process of its own that comes back as soon as it is sent away, at most `RATE` times a second; the
honest client asks over HTTP/1.1, on a connection that it keeps, every `INTERVAL`.
"""

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.accounting import resident_bytes
from benchmarks.load import percentile
from tests.conformance.checks import Check, expect
from tests.conformance.targets import Target
from tests.support import h2_attacks as attacks
from tests.support.h2 import ClosedError, H2Connection
from tests.support.raw import RawConnection
from tests.support.server import REPOSITORY, ServerProcess

RATE = 10  # connections of the attacker per second
INTERVAL = 0.002  # s between questions of the honest client
QUESTIONS = 200
LIMIT = 3.0  # times what it is when nothing else happens
NOTICEABLE = 0.005  # s; of the slowest, below this other work of the machine is all that is judged
MIB = 1 << 20
GROWTH = 16 * MIB
PATIENCE = 1.5  # s that one connection sends for

BOMBS_PER_CONNECTION = 20


def _bombs(block: bytes) -> Iterator[bytes]:
    for stream in range(1, 2 * BOMBS_PER_CONNECTION, 2):
        yield attacks.in_blocks(stream, block)


ATTACKS: dict[str, attacks.Attack] = {name: attack for name, (attack, _, _) in attacks.FLOODS.items()} | {
    name: partial(_bombs, block) for name, block in attacks.BOMBS.items()
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What `QUESTIONS` questions took: percentiles of the latency in seconds, CPU seconds of the worker in all."""

    p50: float
    p99: float
    cpu: float


def judge(target: Target, log: Path, *, name: str) -> str:
    options = ("--workers", "1", "--max-requests", "0", "--no-access-log")
    with ServerProcess(*options, f"tests.apps.wire_{target.interface}:app") as server:
        server.wait_for_log("Worker ready")
        (worker,) = server.workers()
        with server.connect() as client:
            _ask(client, worker, QUESTIONS // 5)  # the first of a server are slower
            idle = _ask(client, worker, QUESTIONS)
            before = resident_bytes(worker)
            with _attacked(name, server.port) as end:
                flooded = _ask(client, worker, QUESTIONS)
                growth = max(0, resident_bytes(worker) - before)
                count = end()
        log.write_text(f"{idle}\n{flooded}\n{count} connections, {growth} bytes\n{server.stderr}", encoding="utf-8")
    expect(count > 0, "the attacker was not sent away once")
    for what, then, now, floor in (("p50", idle.p50, flooded.p50, 0.0), ("p99", idle.p99, flooded.p99, NOTICEABLE)):
        limit = max(LIMIT * then, then + floor)
        expect(now <= limit, f"{what} of {now * 1000:.2f} ms, {then * 1000:.2f} ms without the flood")
    expect(flooded.cpu <= LIMIT * idle.cpu, f"{flooded.cpu / idle.cpu:.1f} times the CPU time, {count} connections")
    expect(growth < GROWTH, f"{growth / MIB:.1f} MiB more memory")
    each = (flooded.cpu - idle.cpu) / count * 1000
    latencies = (f"{each * 1000:.2f}" for each in (idle.p50, flooded.p50, idle.p99, flooded.p99))
    cpu = (f"{each / QUESTIONS * 1e6:.0f}" for each in (idle.cpu, flooded.cpu))
    return (
        "p50 {} to {} ms, p99 {} to {} ms, ".format(*latencies)
        + "CPU {} to {} us a request, ".format(*cpu)
        + f"{each:.2f} ms an attack, {growth / MIB:.1f} MiB more"
    )


def _ask(client: RawConnection, worker: int, count: int) -> Figures:
    latencies = []
    used = _cpu_time(worker)
    for _ in range(count):
        began = time.perf_counter_ns()
        expect(client.get("/honest").body == b"hello /honest", "a wrong answer")
        latencies.append(time.perf_counter_ns() - began)
        time.sleep(INTERVAL)
    latencies.sort()
    used = _cpu_time(worker) - used
    return Figures(percentile(latencies, 0.5) / 1e9, percentile(latencies, 0.99) / 1e9, used)


def _cpu_time(pid: int) -> float:
    """CPU seconds of all threads of a process, finer than the clock ticks of /proc/PID/stat."""
    spent = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended
            spent += int(path.read_text().split()[0])
    return spent / 1e9


@contextmanager
def _attacked(name: str, port: int) -> Iterator[Callable[[], int]]:
    """An attacker at work; the function ends it and says how many connections it made."""
    command = [sys.executable, "-m", __name__, name, str(port)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as attacker:
        try:
            assert attacker.stdout is not None
            attacker.stdout.readline()  # the first connection has been sent away
            yield lambda: int(attacker.communicate(timeout=20)[0] or 0)
        finally:
            attacker.kill()


def attack(name: str, port: int) -> None:
    """Mount one connection after the other until standard input ends; then print how many there were."""
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    for count in itertools.count():
        began = time.monotonic()
        with suppress(ClosedError), H2Connection(("127.0.0.1", port), grow_windows=False) as client:
            client.greet()
            for octets in ATTACKS[name]():
                client.send(octets)
                if client.goaways or time.monotonic() - began > PATIENCE:
                    break
        if count == 0:
            print("mounted", flush=True)
        if ended.wait(max(0.0, began + 1 / RATE - time.monotonic())):
            print(count)
            return


CHECKS = [Check(f"flood: {name}", partial(judge, name=name), carriers=("clear",)) for name in ATTACKS]

if __name__ == "__main__":
    attack(sys.argv[1], int(sys.argv[2]))
