"""Worker processes as the arbiter sees them: forked, listened to, signalled, reaped.

Carries out decisions; makes none.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

from ..records import Record
from ..worker.context import WorkerContext
from ..worker.report import ReportReader
from .generation import Generation
from .roster import View
from .scoreboard import Scoreboard

# What a worker dies of when somebody, not its own code, wanted it to stop before it could handle signals.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Forked(BaseException):
    """Raised in the child right after a fork, to leave the arbiter's stack; `context` is what the worker runs with."""

    def __init__(self, context: WorkerContext) -> None:
        super().__init__()
        self.context = context


class WorkerProcess:
    """One live (or not yet reaped) worker. Times on the monotonic clock."""

    def __init__(
        self,
        id: int,
        pid: int,
        slot: int,
        generation: Generation,
        reports: ReportReader,
        started: float,
        max_requests: int,
    ) -> None:
        self.id = id
        self.pid = pid
        self.slot = slot
        self.generation = generation
        self.reports = reports
        self.started = started
        self.max_requests = max_requests
        self.ready: float | None = None
        self.unwanted: str | None = None
        self.retired: float | None = None
        self.grace = 0.0
        self.aborted: float | None = None
        self.cause: str | None = None  # why it was told to go
        self.failure: dict[str, str] | None = None  # why it could not start, in its own words
        self.facts: dict[str, str] = {}

    def view(self, board: Scoreboard, rss: int) -> View:
        return View(
            id=self.id,
            generation=self.generation.number,
            started=self.started,
            ready=self.ready,
            beat=board.get(self.slot, "heartbeat_ns") / 1e9,
            requests=board.get(self.slot, "requests"),
            max_requests=self.max_requests,
            rss=rss,
            unwanted=self.unwanted,
            retired=self.retired,
            grace=self.grace,
            aborted=self.aborted,
        )

    def send(self, number: signal.Signals) -> None:
        # It may have died without being reaped yet; the pid is ours until we wait for it.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Death(Record):
    """A reaped worker and how it ended: an exit code, or the signal that killed it."""

    worker: WorkerProcess
    code: int | None
    killed_by: int | None

    @property
    def signal_name(self) -> str | None:
        if self.killed_by is None:
            return None
        try:
            return signal.Signals(self.killed_by).name
        except ValueError:  # real-time signals have no names
            return str(self.killed_by)

    @property
    def by_itself(self) -> bool:
        """Nobody had told it to go, and it did not leave in good order either."""
        told = self.worker.retired is not None or self.worker.aborted is not None
        return not told and self.code != 0 and self.killed_by not in STOP_SIGNALS


class Workers:
    """All worker processes, by id."""

    def __init__(self) -> None:
        self._by_id: dict[int, WorkerProcess] = {}

    def __iter__(self) -> Iterator[WorkerProcess]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def __getitem__(self, id: int) -> WorkerProcess:
        return self._by_id[id]

    def add(self, worker: WorkerProcess) -> None:
        self._by_id[worker.id] = worker

    def bury(self, reaped: dict[int, int]) -> list[Death]:
        """Take out the workers among the children that have ended; `reaped` maps process ids to wait statuses."""
        deaths = []
        for worker in self:
            status = reaped.get(worker.pid)
            if status is None:
                continue
            read_reports(worker)  # its last words, before the pipe goes
            worker.reports.close()
            del self._by_id[worker.id]
            code = os.waitstatus_to_exitcode(status)
            deaths.append(Death(worker, None, -code) if code < 0 else Death(worker, code, None))
        return deaths


def reap() -> dict[int, int]:
    """Wait statuses by process id of all children that have ended. Process 1 inherits strangers: they are in it too."""
    reaped: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return reaped
        if pid == 0:
            return reaped
        reaped[pid] = status


def read_reports(worker: WorkerProcess) -> bool:
    """Take in what the worker has said. True when it has just become ready."""
    became_ready = False
    for message in worker.reports.read():
        match message.get("what"):
            case "ready" if worker.ready is None:
                worker.ready = time.monotonic()
                worker.facts = {key: value for key, value in message.items() if key != "what"}
                became_ready = True
            case "failed":
                worker.failure = message
            case "unwanted":
                worker.unwanted = str(message.get("cause"))
    return became_ready


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 when it cannot be known."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
