"""Who is to be spawned, retired and killed: a pure function of what is known about the workers.

No processes, clocks or signals here. One rule covers every cause of replacement (reload, recycling, age, memory,
scaling, crash): there are to be `target` workers that nobody wants gone, a replacement is spawned before anybody is
told to go, and nobody is told to go while that would leave fewer than `target` ready workers.
"""

from __future__ import annotations

from collections.abc import Callable

from ..records import Record

KILL_AFTER_ABORT = 1.0  # s for the traceback of a stuck worker to be written
KILL_AFTER_GRACE = 2.0  # s for a worker to notice that its grace is over and to leave by itself
QUICK_DEATH = 5.0  # s: a worker that dies younger than this, of itself, counts as a failed start
FREE_FAILURES = 2  # failed starts that are made up for at once
FIRST_BACK_OFF = 0.25  # s, doubled with every further failed start
LONGEST_BACK_OFF = 15.0


class View(Record):
    """What is known of one worker. Times on the monotonic clock, in seconds."""

    id: int
    generation: int
    started: float
    ready: float | None = None  # since when it accepts
    beat: float = 0.0  # last proof of progress
    requests: int = 0
    max_requests: int = 0  # its own recycling point; 0 = none
    rss: int = 0  # bytes
    unwanted: str | None = None  # a cause for replacement that the worker itself, or an operator, came up with
    retired: float | None = None  # when it was told to go
    grace: float = 0.0  # how long it may take, inf = as long as it likes
    aborted: float | None = None  # when it was asked for its traceback


class Limits(Record):
    """The settings that matter here, in seconds and bytes; 0 switches one off."""

    timeout: float
    worker_boot_timeout: float
    graceful_timeout: float
    recycle_grace: float
    min_worker_lifetime: float
    worker_lifetime: float
    max_worker_memory: int


class Snapshot(Record):
    """Everything that a plan depends on."""

    now: float
    target: int
    generation: int  # workers of any other, older or given up, are to be replaced
    workers: tuple[View, ...]
    limits: Limits
    spawn_after: float = 0.0  # back-off: nobody is spawned before


class Retire(Record):
    """Have a worker drain and leave within `grace` seconds."""

    id: int
    cause: str
    grace: float


class Kill(Record):
    """A worker that does not get any further."""

    id: int
    cause: str


class Plan(Record):
    """What to do now. `abort` asks for a traceback, `kill` is final; `look_again` is when time changes the plan."""

    spawn: int = 0
    retire: tuple[Retire, ...] = ()
    abort: tuple[Kill, ...] = ()
    kill: tuple[Kill, ...] = ()
    look_again: float = float("inf")


def plan(snapshot: Snapshot) -> Plan:
    """Decide. The same snapshot always gives the same plan."""
    abort, kill, deadlines = _overdue(snapshot)
    lost = {each.id for each in (*abort, *kill)}
    staying = [w for w in snapshot.workers if w.retired is None and w.aborted is None and w.id not in lost]
    ready = [w for w in staying if w.ready is not None]
    causes = {w.id: cause for w in ready if (cause := replacement_cause(w, snapshot)) is not None}

    # Replacements start a few at a time: enough to be quick, too few to starve those who serve.
    at_a_time = max(1, snapshot.target // 4)
    wanted = snapshot.target + (min(len(causes), at_a_time) if snapshot.target else 0)
    missing = max(0, wanted - len(staying))
    spawn = missing if snapshot.now >= snapshot.spawn_after else 0
    if missing and not spawn:
        deadlines.append(snapshot.spawn_after)

    retire = [_retire(w, causes, snapshot) for w in _leavers(ready, causes, snapshot.target)]
    if snapshot.target == 0:
        retire += [Retire(w.id, "scaled to none", 0.0) for w in staying if w.ready is None]
    return Plan(spawn, tuple(retire), tuple(abort), tuple(kill), min(deadlines, default=float("inf")))


def replacement_cause(worker: View, snapshot: Snapshot) -> str | None:
    """Why this ready worker should be replaced, or None."""
    limits, age = snapshot.limits, snapshot.now - worker.started
    if worker.generation != snapshot.generation:
        return "reload"
    if worker.unwanted is not None:
        return worker.unwanted
    if age < limits.min_worker_lifetime:
        return None
    if worker.max_requests and worker.requests >= worker.max_requests:
        return "max-requests"
    if limits.worker_lifetime and age >= limits.worker_lifetime:
        return "worker-lifetime"
    if limits.max_worker_memory and worker.rss > limits.max_worker_memory:
        return "max-worker-memory"
    return None


def recycling_point(max_requests: int, jitter: int, random: Callable[[int, int], int]) -> int:
    """After how many requests one worker is replaced; 0 = never. `random(a, b)` is uniform over both ends.

    The spread is at most half of `max_requests`, so that a small limit with the usual jitter stays a limit.
    """
    if max_requests == 0:
        return 0
    spread = min(jitter, max_requests // 2)
    return max_requests + random(-spread, spread)


def back_off(failed_starts: int) -> float:
    """Seconds to wait after so many failed starts in a row."""
    if failed_starts <= FREE_FAILURES:
        return 0.0
    doublings = min(failed_starts - FREE_FAILURES - 1, 16)
    return min(FIRST_BACK_OFF * 2.0**doublings, LONGEST_BACK_OFF)


def _overdue(snapshot: Snapshot) -> tuple[list[Kill], list[Kill], list[float]]:
    """Workers to abort, workers to kill, and when the next one may become so."""
    limits, now = snapshot.limits, snapshot.now
    abort: list[Kill] = []
    kill: list[Kill] = []
    deadlines: list[float] = []

    def due(moment: float) -> bool:
        if moment <= now:
            return True
        deadlines.append(moment)
        return False

    for worker in snapshot.workers:
        if worker.aborted is not None:
            if due(worker.aborted + KILL_AFTER_ABORT):
                kill.append(Kill(worker.id, "timeout"))
        elif worker.retired is not None and due(worker.retired + worker.grace + KILL_AFTER_GRACE):
            kill.append(Kill(worker.id, "did not leave in time"))
        elif worker.ready is None:
            limit = limits.worker_boot_timeout
            if limit and worker.retired is None and due(worker.started + limit):
                kill.append(Kill(worker.id, "worker-boot-timeout"))
        elif limits.timeout and due(max(worker.beat, worker.ready) + limits.timeout):
            abort.append(Kill(worker.id, "timeout"))
    return abort, kill, deadlines


def _leavers(ready: list[View], causes: dict[int, str], target: int) -> list[View]:
    """The ready workers that are more than enough: those with a cause first, oldest first."""
    surplus = len(ready) - target
    if surplus <= 0:
        return []
    return sorted(ready, key=lambda w: (w.id not in causes, w.generation, w.started, w.id))[:surplus]


def _retire(worker: View, causes: dict[int, str], snapshot: Snapshot) -> Retire:
    cause = causes.get(worker.id, "scaled down")
    limits = snapshot.limits
    graceful = cause in ("reload", "scaled down")
    grace = limits.graceful_timeout if graceful else max(limits.recycle_grace, limits.graceful_timeout)
    return Retire(worker.id, cause, grace)
