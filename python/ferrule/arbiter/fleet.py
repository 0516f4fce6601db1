"""The workers of a server: spawned, followed and replaced as `roster.plan` decides.

Knows nothing of listeners' addresses, signals to the arbiter, or service managers; the arbiter is told through
`Owner` when a generation has proven itself or is hopeless.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

from ..config.hooks import ServerFacts, WorkerFacts
from ..errors import EXIT_BOOT
from ..logs import DEBUG, ERROR, INFO, Log
from ..worker.context import WorkerContext
from ..worker.report import ReportReader, ReportWriter
from . import roster
from .generation import Generation
from .process import fork_with_pipe
from .scoreboard import Scoreboard
from .workers import Death, Forked, WorkerProcess, Workers, read_reports, resident_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Owner(Protocol):
        """What a fleet needs of the arbiter."""

        log: Log

        def facts(self) -> ServerFacts: ...
        def describe(self) -> None:
            """Something has changed that `server status` shows."""
            ...

        def call_hook(self, name: str, *arguments: object) -> None: ...
        def worker_context(self, generation: Generation, id: int, slot: int, writer: int) -> WorkerContext:
            """In a fresh child: give up the arbiter's descriptors, and say what the worker runs with."""
            ...

        def on_proven(self, generation: Generation, worker: WorkerProcess) -> None:
            """The first worker of a generation is ready."""
            ...

        def on_hopeless(self, generation: Generation) -> None:
            """No worker of a generation was ever ready, and one has failed to start."""
            ...


TICK = 1.0  # s between looks at heartbeats and counters when nothing else happens
BUSY_TICK = 0.1  # s, where recycling has to follow counters closely because nothing else bounds it
SPAWN_RETRY = 2.0  # s until a fork that failed is tried again
RELOAD_GRACE = 1.0  # s for requests of the old code under --reload: a developer waits for the new one
REMEMBERED = 10  # restarts that `server status` shows


class Fleet:
    """`target` is how many workers there are to be; `generation` is what they are to run."""

    def __init__(self, owner: Owner, generation: Generation, target: int, board: Scoreboard) -> None:
        self.generation = generation
        self.target = target
        self.restarts: list[dict[str, Any]] = []
        self._owner = owner
        self._board = board
        self._workers = Workers()
        self._next_id = 1
        self._failed_starts = 0
        self._spawn_after = 0.0
        self._stopping = False
        self.wake = 0.0  # monotonic time of the next look

    def __len__(self) -> int:
        return len(self._workers)

    def __iter__(self) -> Iterator[WorkerProcess]:
        return iter(self._workers)

    def descriptors(self) -> list[int]:
        """What has to be waited for: the words of workers that boot, and those of the others at the next tick."""
        return [worker.reports.fd for worker in self._workers if worker.ready is None and worker.failure is None]

    def observe(self, reaped: dict[int, int]) -> None:
        """Take in what happened: reports, and the wait statuses of children that have ended."""
        for worker in self._workers:
            if read_reports(worker):
                self._on_ready(worker)
        for death in self._workers.bury(reaped):
            self._on_death(death)

    def act(self) -> None:
        """Do what is to be done now."""
        plan = roster.plan(self._snapshot())
        now = time.monotonic()
        settings = self.generation.settings
        tick = BUSY_TICK if settings.max_requests and settings.min_worker_lifetime < TICK else TICK
        self.wake = min(now + tick, plan.look_again)
        for kill in plan.kill:
            worker = self._workers[kill.id]
            self._owner.log.warning("Worker killed", pid=worker.pid, worker=worker.id, cause=kill.cause)
            worker.cause = worker.cause or kill.cause
            worker.send(signal.SIGKILL)
        for abort in plan.abort:
            self._abort(self._workers[abort.id], abort.cause, now)
        for retire in plan.retire:
            self._retire(self._workers[retire.id], retire.cause, retire.grace)
        for _ in range(plan.spawn):
            if not self._spawn():
                break

    def send(self, number: signal.Signals) -> None:
        for worker in self._workers:
            worker.send(number)

    def stop(self, grace: float, cause: str) -> None:
        """Have every worker leave within `grace` seconds, and spawn no more."""
        self._stopping = True
        self.target = 0
        for worker in self._workers:
            self._retire(worker, cause, grace)

    def retry_at_once(self) -> None:
        """Something has changed: earlier failures say nothing any more."""
        self._failed_starts = 0
        self._spawn_after = 0.0

    def unready(self) -> None:
        """Have readiness endpoints say 503 while everything goes on being served."""
        for worker in self._workers:
            self._board.slot(worker.slot).draining()

    def leave_in_child(self) -> None:
        """After fork: a worker has no part in its siblings."""
        for worker in self._workers:
            worker.reports.close()

    def _snapshot(self) -> roster.Snapshot:
        settings = self.generation.settings
        watch_memory = settings.max_worker_memory > 0
        workers = [worker.view(self._board, resident_bytes(worker.pid) if watch_memory else 0) for worker in self]
        graceful = settings.graceful_timeout or float("inf")
        return roster.Snapshot(
            now=time.monotonic(),
            target=self.target,
            generation=self.generation.number,
            workers=tuple(workers),
            limits=roster.Limits(
                timeout=settings.timeout,
                worker_boot_timeout=settings.worker_boot_timeout,
                graceful_timeout=min(graceful, RELOAD_GRACE) if settings.reload else graceful,
                recycle_grace=settings.recycle_grace or float("inf"),
                min_worker_lifetime=settings.min_worker_lifetime,
                worker_lifetime=settings.worker_lifetime,
                max_worker_memory=settings.max_worker_memory,
            ),
            spawn_after=self._spawn_after,
        )

    def _spawn(self) -> bool:
        """Start a worker; False, and a time for the next attempt, where that is not possible."""
        owner, generation = self._owner, self.generation
        slot = self._board.free_slot()
        if slot is None:
            owner.log.warning("No more workers fit", workers=len(self))
            self._spawn_after = time.monotonic() + roster.LONGEST_BACK_OFF
            return False
        settings, id = generation.settings, self._next_id
        self._next_id += 1
        point = roster.recycling_point(settings.max_requests, settings.max_requests_jitter, _uniform)
        now_ns = time.monotonic_ns()
        self._board.occupy(slot, worker_id=id, generation=generation.number, now_ns=now_ns, max_requests=point)
        owner.call_hook("pre_fork", owner.facts(), WorkerFacts(0, id, settings, owner.log))
        try:
            pid, pipe, mask = fork_with_pipe()
        except OSError as error:
            # Out of processes, memory or descriptors: those who serve go on.
            owner.log.error("Worker cannot be started", worker=id, reason=error.strerror)
            self._board.vacate(slot)
            self._spawn_after = time.monotonic() + SPAWN_RETRY
            return False
        if pid == 0:
            raise Forked(self._become_worker(generation, id, slot, pipe, mask))
        self._workers.add(WorkerProcess(id, pid, slot, generation, ReportReader(pipe), now_ns / 1e9, point))
        owner.log.debug("Worker started", pid=pid, worker=id)
        return True

    def _become_worker(self, generation: Generation, id: int, slot: int, writer: int, mask: set[int]) -> WorkerContext:
        """In the child: nothing may escape into the arbiter's code, which would go on as a second arbiter."""
        try:
            context = self._owner.worker_context(generation, id, slot, writer)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        except BaseException as error:
            ReportWriter(writer).failed(f"worker failed to start: {type(error).__name__}: {error}", None)
            os._exit(EXIT_BOOT)
        return context

    def _retire(self, worker: WorkerProcess, cause: str, grace: float) -> None:
        """Tell a worker to finish what it has and leave."""
        worker.retired, worker.grace, worker.cause = time.monotonic(), grace, cause
        self._board.slot(worker.slot).limit_grace(grace)
        requests = self._board.get(worker.slot, "requests")
        level = DEBUG if self._stopping or worker.ready is None else INFO
        self._owner.log.write(level, "Worker retired", pid=worker.pid, worker=worker.id, cause=cause, requests=requests)
        worker.send(signal.SIGTERM)

    def _abort(self, worker: WorkerProcess, cause: str, now: float) -> None:
        """A stuck worker: have it write down where it is stuck. Its replacement starts meanwhile."""
        worker.aborted, worker.cause = now, cause
        in_flight = self._board.get(worker.slot, "in_flight")
        self._owner.log.error(
            "Worker is stuck, tracebacks follow", pid=worker.pid, worker=worker.id, cause=cause, in_flight=in_flight
        )
        self._name_requests(worker)
        worker.send(signal.SIGUSR2)
        worker.send(signal.SIGABRT)

    def _name_requests(self, worker: WorkerProcess) -> None:
        """Say which requests a worker that will not finish them has in flight."""
        now = time.monotonic_ns()
        for start, request in self._board.requests(worker.slot):
            age = round((now - start) / 1e9, 3)
            self._owner.log.error("Request in flight", pid=worker.pid, request=request, age_s=age)

    def _on_ready(self, worker: WorkerProcess) -> None:
        assert worker.ready is not None  # that is what happened
        boot_ms = int((worker.ready - worker.started) * 1000)
        self._owner.log.info("Worker ready", pid=worker.pid, worker=worker.id, boot_ms=boot_ms)
        if not worker.generation.proven and worker.generation is self.generation:
            worker.generation.proven = True
            self._failed_starts = 0
            self._owner.on_proven(worker.generation, worker)

    def _on_death(self, death: Death) -> None:
        worker, log = death.worker, self._owner.log
        in_flight = self._board.get(worker.slot, "in_flight")
        if death.by_itself:
            self._name_requests(worker)
        self._board.vacate(worker.slot)
        how: dict[str, Any] = {"exit": death.code, "signal": death.signal_name}
        failure = _failed_start(death)
        if failure is not None:
            self._on_failed_start(worker.generation, *failure)
        elif death.by_itself:
            log.error("Worker died", pid=worker.pid, worker=worker.id, **how, in_flight=in_flight)
            quick = time.monotonic() - (worker.ready or worker.started) < roster.QUICK_DEATH
            self._failed_starts = self._failed_starts + 1 if quick else 0
            self._spawn_after = time.monotonic() + roster.back_off(self._failed_starts)
        else:
            level = DEBUG if self._stopping else INFO
            log.write(level, "Worker left", pid=worker.pid, worker=worker.id, cause=worker.cause, **how)
        cause = worker.cause or ("start" if failure else "crash" if death.by_itself else "signal")
        self.restarts.append({"time": time.time(), "worker": worker.id, "pid": worker.pid, "cause": cause, **how})
        del self.restarts[:-REMEMBERED]
        self._owner.describe()
        facts = WorkerFacts(worker.pid, worker.id, worker.generation.settings, log)
        self._owner.call_hook("child_exit", self._owner.facts(), facts)

    def _on_failed_start(self, generation: Generation, message: str, traceback: str) -> None:
        if self._stopping:
            return
        self._failed_starts += 1
        self._spawn_after = time.monotonic() + roster.back_off(self._failed_starts)
        complaint = message + traceback
        if complaint not in generation.complained:  # every worker says the same; once is enough
            generation.complained.add(complaint)
            self._owner.log.write(ERROR, message, traceback=traceback or None)
        if not generation.proven and generation is self.generation:
            self._owner.on_hopeless(generation)


def _failed_start(death: Death) -> tuple[str, str] | None:
    """Message and traceback when a worker ended before it was ready, and not because somebody wanted it to."""
    worker = death.worker
    if worker.ready is not None:
        return None
    if worker.failure is not None:
        return worker.failure["message"], worker.failure["traceback"]
    if worker.cause == "worker-boot-timeout":
        return f"worker was not ready within {worker.generation.settings.worker_boot_timeout:g} s", ""
    if death.by_itself:
        what = f"exit code {death.code}" if death.killed_by is None else f"signal {death.signal_name}"
        return f"worker died while starting ({what})", ""
    return None


def _uniform(low: int, high: int) -> int:
    """A number from `low` to `high`, both included. (Not worth importing `random`; the bias is below 2**-40.)"""
    return low + int.from_bytes(os.urandom(8), "little") % (high - low + 1)
