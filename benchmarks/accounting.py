"""What processes cost, read from Linux's /proc: CPU time, resident memory, and who belongs to whom.

Used by the benchmarks and by the tests that bound memory. Knows nothing of servers or of load.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
_SCHEDULER_CLOCK = 2


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """One process at one moment: identity, and CPU seconds of itself and of the children it has reaped, in ticks."""

    pid: int
    parent: int
    session: int
    state: str
    user: float
    system: float
    reaped_user: float
    reaped_system: float

    @property
    def alive(self) -> bool:
        """Whether it still runs: a zombie has ended and only waits to be reaped."""
        return self.state not in {"Z", "X"}


@dataclass(frozen=True, slots=True)
class CpuTime:
    """CPU seconds of some processes: the total by the scheduler's clock, in nanoseconds at its source, and how the
    kernel's ticks, of 10 ms, divide it."""

    total: float
    user_ticks: float
    system_ticks: float

    @property
    def user(self) -> float:
        """Seconds in user space: the total, divided as the ticks are. Of a short time it is an estimate."""
        ticks = self.user_ticks + self.system_ticks
        return self.total * self.user_ticks / ticks if ticks else self.total / 2

    @property
    def system(self) -> float:
        """Seconds in the kernel."""
        return self.total - self.user

    def __sub__(self, earlier: "CpuTime") -> "CpuTime":
        return CpuTime(
            self.total - earlier.total,
            self.user_ticks - earlier.user_ticks,
            self.system_ticks - earlier.system_ticks,
        )


def process_stat(pid: int) -> ProcessStat | None:
    """Read /proc/PID/stat (proc_pid_stat(5)); None when there is no such process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name, in parentheses, may itself hold spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    state, parent, _group, session = fields[0], int(fields[1]), int(fields[2]), int(fields[3])
    user, system, reaped_user, reaped_system = (int(field) / _TICKS_PER_SECOND for field in fields[11:15])
    return ProcessStat(pid, parent, session, state, user, system, reaped_user, reaped_system)


def all_processes() -> list[ProcessStat]:
    """Every process that can be seen now."""
    found = (process_stat(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdigit())
    return [stat for stat in found if stat is not None]


def process_tree(root: int) -> list[ProcessStat]:
    """The process and all its living descendants, parents before children; empty when it is gone."""
    children: dict[int, list[ProcessStat]] = {}
    tree: list[ProcessStat] = []
    for stat in all_processes():
        if stat.pid == root:
            tree.append(stat)
        else:
            children.setdefault(stat.parent, []).append(stat)
    # The list grows while it is walked: breadth first.
    for stat in tree:
        tree.extend(children.get(stat.pid, ()))
    return tree


def session_members(session: int) -> list[ProcessStat]:
    """Living processes of a session, whoever their parent is now: this is how orphans are found."""
    return [stat for stat in all_processes() if stat.session == session and stat.alive]


def cpu_time(root: int) -> CpuTime:
    """CPU seconds of a whole process tree so far, including descendants that were reaped inside it."""
    return _sum(spent for stat in process_tree(root) if (spent := _spent(stat.pid)) is not None)


def cpu_time_of(pids: Iterable[int]) -> CpuTime:
    """CPU seconds of these processes so far, and of children that they have reaped.

    Raises `ProcessLookupError` when one has ended: its time would be missing.
    """
    found = {pid: _spent(pid) for pid in pids}
    ended = [pid for pid, spent in found.items() if spent is None]
    if ended:
        raise ProcessLookupError(f"ended meanwhile: process {ended[0]}")
    return _sum(spent for spent in found.values() if spent is not None)


def _spent(pid: int) -> CpuTime | None:
    stat = process_stat(pid)
    if stat is None or not stat.alive:
        return None
    reaped = stat.reaped_user + stat.reaped_system
    try:
        # The clock that clock_getcpuclockid(3) returns for it.
        total = time.clock_gettime_ns((~pid << 3) | _SCHEDULER_CLOCK) / 1e9
    except OSError:
        return None
    return CpuTime(total + reaped, stat.user + stat.reaped_user, stat.system + stat.reaped_system)


def _sum(times: Iterable[CpuTime]) -> CpuTime:
    found = list(times)
    return CpuTime(
        sum(each.total for each in found),
        sum(each.user_ticks for each in found),
        sum(each.system_ticks for each in found),
    )


def is_idle(pids: Sequence[int]) -> bool:
    """Whether no thread of the processes runs or waits for a processor."""
    for pid in pids:
        for task in (_PROC / str(pid) / "task").glob("*/stat"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if task.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] in "RD":
                    return False
    return True


def resident_bytes(pid: int) -> int:
    """Resident memory of one process, from /proc/PID/statm; 0 when it is gone."""
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE_SIZE
    except (FileNotFoundError, ProcessLookupError):
        return 0


def tree_resident_bytes(root: int) -> int:
    """Sum of the resident memory of a process tree. Pages shared by fork count once for each process,
    so differences between two moments mean more than the sum itself."""
    return sum(resident_bytes(stat.pid) for stat in process_tree(root))


@dataclass(frozen=True, slots=True)
class Writes:
    """Calls of write(2) and its kin, and the bytes that they wrote."""

    calls: int
    octets: int

    def __sub__(self, earlier: "Writes") -> "Writes":
        return Writes(self.calls - earlier.calls, self.octets - earlier.octets)


def writes(pids: Iterable[int]) -> Writes:
    """Of processes so far, from /proc/PID/io. send(2) and sendfile(2) are not among them, so that a server's are those
    for its log and for its own wake-ups."""
    calls = octets = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = dict(line.split(": ") for line in (_PROC / str(pid) / "io").read_text().splitlines())
            calls += int(fields["syscw"])
            octets += int(fields["wchar"])
    return Writes(calls, octets)
