"""What a line of the access log costs, in instructions: callgrind counts what a clock cannot tell from noise.

User code only, as valgrind sees nothing else; what the kernel does for a line shows in the number of writes.
"""

import contextlib
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.accounting import is_idle
from benchmarks.load import LoadFailedError, send
from benchmarks.peers import Launch, Peer
from benchmarks.progress import Progress
from benchmarks.rounds import Collector
from benchmarks.scenarios import Scenario
from benchmarks.servers import Place, RunningServer, ServerFailedError

# The program that has to be there.
VALGRIND = "valgrind"
# Enough for per-request costs to settle: twice as many cost twice as much within a thousandth.
_REQUESTS = 500
# A server starts some forty times slower under valgrind.
_BOOT_SECONDS = 240.0
_DUMP_SECONDS = 60.0


def measure_instructions(
    scenario: Scenario, peers: Sequence[Peer], place: Place, rounds: int, progress: Progress
) -> Collector:
    """Instructions per request with an access log, and how many of them the log's line takes.

    Counts hardly differ from run to run, so that each server is measured once, whatever the number of rounds.
    """
    collector = Collector([scenario], peers)
    anywhere = replace(place, server_core=None, load_core=None)
    silent = replace(scenario, service=replace(scenario.service, access_log=""))
    for _, peer in collector.turns(1):
        progress.step(scenario.heading, 1, 1, peer.label(scenario.interface))
        # Both start at the same time, on a core each.
        with _start(peer, scenario, anywhere) as logging, _start(peer, silent, anywhere) as quiet:
            try:
                with_line, without = _per_request(logging, scenario), _per_request(quiet, silent)
            except (ServerFailedError, LoadFailedError, OSError, subprocess.SubprocessError) as error:
                collector.fail(scenario, peer, str(error))
                continue
        collector.add(scenario, peer, {"instructions": with_line, "line_instructions": with_line - without})
    return collector


def _start(peer: Peer, scenario: Scenario, place: Place) -> RunningServer:
    def command(launch: Launch) -> list[str]:
        # Strings hash alike in both, so that their dictionaries collide alike.
        return [
            *("env", "PYTHONHASHSEED=0"),
            *(VALGRIND, "--tool=callgrind", "--trace-children=yes", "--instr-atstart=no"),
            f"--callgrind-out-file={launch.directory}/callgrind.%p",
            *peer.command(launch),
        ]

    return RunningServer(replace(peer, command=command), scenario.service, place)


def _per_request(server: RunningServer, scenario: Scenario) -> float:
    """Of the whole process tree: what N more requests cost more than N, divided by N.

    Raises `ServerFailedError`, `LoadFailedError`, `OSError`, `subprocess.SubprocessError`.
    """
    server.wait_ready(scenario, patience=_BOOT_SECONDS)
    pids = server.processes()
    _wait_for_rest(pids)
    _control(pids, "-i", "on")
    totals = []
    # The first ones warm it up.
    for part, count in enumerate((_REQUESTS, _REQUESTS, 2 * _REQUESTS), start=1):
        send(server.target, scenario, count)
        # Writes what was counted to a file, and begins anew.
        _control(pids, "-d")
        totals.append(sum(_total(server.directory / f"callgrind.{pid}.{part}") for pid in pids))
    return (totals[2] - totals[1]) / _REQUESTS


def _wait_for_rest(pids: Sequence[int]) -> None:
    """What a server does once more after it is ready, such as imports for workers to come, is no part of a request."""
    deadline, idle = time.monotonic() + _BOOT_SECONDS, 0
    while idle < 50 and time.monotonic() < deadline:
        time.sleep(0.01)
        idle = idle + 1 if is_idle(pids) else 0


def _control(pids: Sequence[int], *command: str) -> None:
    done = subprocess.run(
        ["callgrind_control", *command, *map(str, pids)],
        capture_output=True,
        text=True,
        timeout=_DUMP_SECONDS,
        check=False,
    )
    if done.returncode != 0 or "Error" in done.stderr:
        raise ServerFailedError(f"callgrind_control {' '.join(command)}: {done.stderr.strip()}")


def _total(dump: Path) -> int:
    """Instructions in a dump; none of a process that ran nothing, which writes no file."""
    with contextlib.suppress(FileNotFoundError):
        if found := re.search(r"^totals: (\d+)$", dump.read_text(encoding="utf-8", errors="replace"), re.MULTILINE):
            return int(found[1])
    return 0
