"""A whole run: which scenarios with which servers, in which order, and everything found put into one report."""

import itertools
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks import files, parsers, targets
from benchmarks.cold_start import measure_cold_start
from benchmarks.environment import Environment, NotPreparedError
from benchmarks.idle import TooFewDescriptorsError, measure_idle
from benchmarks.instructions import measure_instructions
from benchmarks.peers import Peer
from benchmarks.progress import Progress
from benchmarks.restart import measure_restart
from benchmarks.results import Report, Result
from benchmarks.rounds import Collector
from benchmarks.scenarios import Scenario
from benchmarks.servers import Place
from benchmarks.throughput import Plan, measure_load

_Measure = Callable[[Scenario, Sequence[Peer], Place, int, Progress], Collector]


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be measured, and how."""

    scenarios: list[Scenario]
    peers: list[Peer]
    parsers: bool
    plan: Plan
    server_core: int | None = 0
    load_core: int | None = 1


@dataclass(slots=True)
class _Run:
    choice: Choice
    environment: Environment
    place: Place
    versions: dict[str, str]
    progress: Progress
    results: list[Result] = field(default_factory=list)

    def everything(self) -> None:
        for group in groups(self.choice.scenarios):
            self.results += self._measure(group).results(self.versions)
        if self.choice.parsers:
            try:
                self.results += parsers.measure_parsers(self.choice.server_core, self.progress)
            except (parsers.NotMeasuredError, OSError) as error:
                self.results.append(Result("parsers", "", "Parsers alone", "mb_s", failures={"parsers": str(error)}))

    def _measure(self, group: list[Scenario]) -> Collector:
        scenario, plan, peers = group[0], self.choice.plan, self.choice.peers
        if scenario.kind == "load":
            return measure_load(group, peers, self.place, plan, self.progress)
        try:
            return _BY_KIND[scenario.kind](scenario, peers, self.place, plan.rounds_of(scenario), self.progress)
        except TooFewDescriptorsError as error:
            collector = Collector(group, peers)
            for peer in collector.everyone():
                collector.fail(scenario, peer, str(error))
            return collector


_BY_KIND: dict[str, _Measure] = {
    "instructions": measure_instructions,
    "idle": measure_idle,
    "cold-start": measure_cold_start,
    "restart": measure_restart,
}


def measure(choice: Choice, environment: Environment, about: dict[str, Any]) -> Report:
    """Run everything. Raises `NotPreparedError`; what fails later is in the report."""
    if choice.parsers and (problem := parsers.build()) is not None:
        raise NotPreparedError(problem)
    versions = {peer.name: environment.version(peer) for peer in choice.peers}
    with tempfile.TemporaryDirectory(prefix="ferrule-bench-content-") as folder:
        try:
            content = files.make(Path(folder), environment.interpreter)
        except subprocess.CalledProcessError as error:
            raise NotPreparedError(f"no certificate could be made: {error.stderr.decode(errors='replace')}") from error
        place = Place(environment.bin, content, choice.server_core, choice.load_core)
        run = _Run(choice, environment, place, versions, Progress(steps(choice)))
        try:
            run.everything()
        except KeyboardInterrupt:
            # What was found by then is worth a report.
            about = {**about, "interrupted": "yes"}
        run.progress.end()
    report = Report(about, run.results, [])
    return replace(report, verdicts=targets.verdicts(report))


def groups(scenarios: Sequence[Scenario]) -> list[list[Scenario]]:
    """Neighbours that can share a running server, each other scenario alone."""
    by_service = itertools.groupby(scenarios, key=lambda each: (each.service, each.kind, each.sweep))
    found: list[list[Scenario]] = []
    for (_, kind, _), members in by_service:
        together = list(members)
        found += [together] if kind == "load" else [[each] for each in together]
    return found


def steps(choice: Choice) -> int:
    """How many times `Progress.step` will be called if nothing fails."""
    count = 2 * choice.parsers
    for scenario in choice.scenarios:
        taking_part = sum(peer.takes_part(scenario) for peer in choice.peers)
        rounds = choice.plan.rounds_of(scenario)
        if scenario.kind == "load":
            rounds = choice.plan.steps_of(scenario)
        count += taking_part * (rounds + (scenario.kind == "cold-start"))
    return count
