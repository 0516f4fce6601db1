"""The interleaved comparison of servers under load: CPU time per request, rate and latencies.

In every round all servers of a service are started anew and stay up, each with a generator that is connected to it.
Then they take turns, in slices of a fraction of a second: what else the machine does falls on neighbours alike, and
ratios are taken between slices that lie beside each other.
"""

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from benchmarks.accounting import CpuTime, cpu_time_of, is_idle, writes
from benchmarks.generators import Generator, generator
from benchmarks.load import LoadFailedError
from benchmarks.peers import Peer
from benchmarks.progress import Progress
from benchmarks.results import Sample
from benchmarks.rounds import Collector
from benchmarks.scenarios import FULL_SLICE, Scenario
from benchmarks.servers import Place, RunningServer, ServerFailedError

# A server that is not idle by then never is: it spins while it waits.
_SETTLE_SECONDS = 2.0
# Where starting is what is measured, one start is an anecdote.
_FEWEST_STARTS = 5
Each = TypeVar("Each")
_FAILURES = (ServerFailedError, LoadFailedError, OSError)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    `rounds` is how often servers are started anew, `slices` how many interleaved slices a server gets in all where they
    are of full length, elsewhere as much time in shorter ones; `seconds` is how long it is loaded without a pause in
    each round, for its rate and its latencies; 0 leaves these out. The points of a sweep, of which there are many, and
    restarts, which take long, get `few_rounds`.
    """

    rounds: int = 5
    slices: int = 25
    seconds: float = 0.5
    few_rounds: int = 3

    def rounds_of(self, scenario: Scenario) -> int:
        """How often a scenario's servers are started: memory and instructions hardly differ between rounds, and take
        longest."""
        if scenario.kind in {"idle", "instructions"}:
            return 1
        if scenario.kind == "cold-start":
            return max(self.rounds, _FEWEST_STARTS)
        return min(self.rounds, self.few_rounds) if scenario.sweep or scenario.kind == "restart" else self.rounds

    def slices_of(self, scenario: Scenario) -> int:
        """How many slices a round has."""
        slices = self.slices * scenario.share_of_slices * FULL_SLICE / scenario.slice_seconds
        return math.ceil(slices / self.rounds_of(scenario))

    def steady_rounds_of(self, scenario: Scenario) -> int:
        """In how many of them the scenario is also measured in one piece, or only so."""
        rounds = self.rounds_of(scenario)
        if not scenario.interleaved:
            return rounds
        return min(rounds, self.few_rounds) if self.seconds else 0

    def steps_of(self, scenario: Scenario) -> int:
        """How often progress is shown."""
        return self.rounds_of(scenario) * scenario.interleaved + self.steady_rounds_of(scenario) * scenario.pieces


# Slices of the same length, for ends count for more in shorter ones.
QUICK_PLAN = Plan(rounds=1, slices=8, seconds=0.2, few_rounds=1)


def measure_load(
    scenarios: Sequence[Scenario], peers: Sequence[Peer], place: Place, plan: Plan, progress: Progress
) -> Collector:
    """Measure scenarios of one service. A server that fails is left out of what follows, and the reason is kept."""
    collector = Collector(scenarios, peers)
    for number in range(plan.rounds_of(scenarios[0])):
        with contextlib.ExitStack() as stack:
            started = [
                (peer, stack.enter_context(RunningServer(peer, scenarios[0].service, place, connections=most)))
                for peer in collector.order(number)
                if (most := max(1000, *(each.connections for each in collector.wanted(peer))))
            ]
            _Round(collector, plan, progress, number, started).measure(scenarios)
            # All at once: leaving the stack waits for one after the other.
            for _, server in started:
                server.ask_to_stop()
    return collector


@dataclass(frozen=True, slots=True)
class _Round:
    """The servers that are up, in the order of their turns."""

    collector: Collector
    plan: Plan
    progress: Progress
    number: int
    servers: list[tuple[Peer, RunningServer]]
    # Names of those that spin while they wait: they run in their own turns only, or they would have half of the core in
    # the turns of the others.
    spinning: set[str] = field(default_factory=set)

    def measure(self, scenarios: Sequence[Scenario]) -> None:
        for peer, server in self.servers:
            wanted = self.collector.wanted(peer)
            try:
                server.wait_ready(wanted[0])
            except ServerFailedError as error:
                for scenario in wanted:
                    self.collector.fail(scenario, peer, str(error))
        for scenario in scenarios:
            if scenario.interleaved:
                self._slices(scenario)
            if self.number < self.plan.steady_rounds_of(scenario):
                for count in range(scenario.pieces):
                    self._steady(scenario, count)

    def _slices(self, scenario: Scenario) -> None:
        with contextlib.ExitStack() as stack:
            turns: list[tuple[Peer, _Turn]] = []
            for peer, server in self._taking_part(scenario):
                self._say(scenario, peer)
                with self._awake(peer, server):
                    try:
                        server.check_answer(scenario)
                        load = stack.enter_context(generator(server.target, scenario))
                        load.wait_for(scenario.warm_up + scenario.in_flight)
                        load.pause()
                        turn = _Turn(server, server.processes(), load)
                        turns.append((peer, replace(turn, rests=turn.settle())))
                        if not turns[-1][1].rests:
                            self.spinning.add(peer.name)
                    except _FAILURES as error:
                        self.collector.fail(scenario, peer, str(error))
            for count in range(self.plan.slices_of(scenario)):
                for peer, each in _rotated(turns, count):
                    if scenario in self.collector.wanted(peer):
                        with self._awake(peer, each.server):
                            self._slice(scenario, peer, each)
            for peer, each in turns:
                if scenario in self.collector.wanted(peer):
                    with self._awake(peer, each.server):
                        try:
                            self.collector.add(scenario, peer, {"errors": float(each.load.finish().errors)})
                        except _FAILURES as error:
                            self.collector.fail(scenario, peer, str(error))

    def _slice(self, scenario: Scenario, peer: Peer, turn: "_Turn") -> None:
        try:
            before = turn.now()
            turn.load.resume()
            time.sleep(scenario.slice_seconds)
            # On a busy machine the generator may not have run yet.
            turn.load.wait_for(before.requests + scenario.in_flight)
            turn.load.pause()
            if turn.rests:
                turn.settle()
            self.collector.add(scenario, peer, turn.since(before).costs(scenario))
        except _FAILURES as error:
            self.collector.fail(scenario, peer, str(error))

    def _steady(self, scenario: Scenario, count: int) -> None:
        for peer, server in _rotated(self._taking_part(scenario), count):
            self._say(scenario, peer)
            with self._awake(peer, server):
                try:
                    server.check_answer(scenario)
                    sample, spent = steady(server, scenario, self.plan.seconds * scenario.stretch)
                    if not scenario.interleaved:
                        sample |= spent.costs(scenario)
                    self.collector.add(scenario, peer, sample)
                except _FAILURES as error:
                    self.collector.fail(scenario, peer, str(error))

    @contextlib.contextmanager
    def _awake(self, peer: Peer, server: RunningServer) -> Iterator[None]:
        if peer.name in self.spinning:
            server.resume()
        try:
            yield
        finally:
            # Also when that is what has just been found.
            if peer.name in self.spinning:
                server.pause()

    def _taking_part(self, scenario: Scenario) -> list[tuple[Peer, RunningServer]]:
        return [(peer, server) for peer, server in self.servers if scenario in self.collector.wanted(peer)]

    def _say(self, scenario: Scenario, peer: Peer) -> None:
        rounds = self.plan.rounds_of(scenario)
        self.progress.step(scenario.heading, self.number + 1, rounds, peer.label(scenario.interface))


def steady(server: RunningServer, scenario: Scenario, seconds: float) -> tuple[Sample, "Spent"]:
    """Load a server without a pause; rate and latencies, and what it spent on them.

    Answers are counted between two moments, so that those under way at the end are no loss. Raises `ServerFailedError`,
    `LoadFailedError`, `OSError`.
    """
    with generator(server.target, scenario) as load:
        load.wait_for(scenario.in_flight)
        turn = _Turn(server, server.processes(), load)
        load.mark()
        before = turn.now()
        time.sleep(seconds)
        spent = turn.since(before)
        report = load.finish()
    if not spent.requests:
        raise ServerFailedError(f"answered no request in {seconds} s")
    sample = {
        "rate": spent.requests / spent.seconds,
        "p50_ms": report.p50,
        "p99_ms": report.p99,
        "errors": float(report.errors + report.late),
    }
    return sample, spent


@dataclass(frozen=True, slots=True)
class Spent:
    """What some processes have spent on some requests, and how long that took."""

    requests: float
    seconds: float
    cpu: float
    user: float
    writes: int

    def costs(self, scenario: Scenario) -> Sample:
        """Per request. Raises `ServerFailedError` when there was none."""
        if self.requests <= 0:
            raise ServerFailedError(f"answered no request in {self.seconds:.2f} s")
        sample = {
            "cpu_us": self.cpu / self.requests * 1e6,
            "user_us": self.user / self.requests * 1e6,
            "system_us": (self.cpu - self.user) / self.requests * 1e6,
        }
        if scenario.service.access_log:
            sample["writes"] = self.writes / self.requests * 1000
        return sample


@dataclass(frozen=True, slots=True)
class _Moment:
    clock: float
    requests: float
    cpu: CpuTime
    writes: int


@dataclass(frozen=True, slots=True)
class _Turn:
    """A server, its processes, and the generator that is connected to it; `rests` unless it spins while it waits."""

    server: RunningServer
    pids: list[int]
    load: Generator
    rests: bool = True

    def now(self) -> _Moment:
        return _Moment(time.perf_counter(), self.load.requests(), cpu_time_of(self.pids), writes(self.pids).calls)

    def since(self, before: _Moment) -> Spent:
        now = self.now()
        cpu = now.cpu - before.cpu
        return Spent(
            now.requests - before.requests, now.clock - before.clock, cpu.total, cpu.user, now.writes - before.writes
        )

    def settle(self) -> bool:
        """Until every request that was sent is answered, so that a slice pays for its own and for no other. False when
        the server does not come to rest."""
        deadline, idle = time.monotonic() + _SETTLE_SECONDS, 0
        while idle < 2:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
            idle = idle + 1 if is_idle(self.pids) else 0
        return True


def _rotated(turns: list[tuple[Peer, Each]], by: int) -> list[tuple[Peer, Each]]:
    """In another order every time, so that nobody always follows the same neighbour."""
    start = by % len(turns) if turns else 0
    return turns[start:] + turns[:start]
