"""Turns of servers within rounds, and their samples: what every kind of measurement has in common."""

from collections.abc import Iterator, Sequence

from benchmarks.peers import Peer
from benchmarks.results import Result, Row, Sample
from benchmarks.scenarios import Scenario

_REASON_LENGTH = 400


def shortened(reason: str) -> str:
    """A reason on one line, the middle of a long one left out: its ends say what happened and what came of it."""
    line = " ".join(reason.split())
    half = _REASON_LENGTH // 2
    return line if len(line) <= _REASON_LENGTH else f"{line[:half]} [...] {line[-half:]}"


class Collector:
    """Samples of some scenarios by scenario and server. A server that failed once gets no further turns there, and a
    line that says why in place of its row."""

    def __init__(self, scenarios: Sequence[Scenario], peers: Sequence[Peer]) -> None:
        self._scenarios = scenarios
        self._peers = [peer for peer in peers if any(peer.takes_part(scenario) for scenario in scenarios)]
        self._samples: dict[tuple[int, str], list[Sample]] = {}
        self._failures: dict[tuple[int, str], str] = {}

    def everyone(self) -> list[Peer]:
        """The servers that take part."""
        return list(self._peers)

    def turns(self, rounds: int) -> Iterator[tuple[int, Peer]]:
        """Every server once per round, the order rotated; servers without work left are passed over."""
        for number in range(rounds):
            for peer in self.order(number):
                # One may have failed since the round began.
                if self.wanted(peer):
                    yield number, peer

    def order(self, number: int) -> list[Peer]:
        """The servers that have work left, in the order of a round."""
        turn = number % len(self._peers) if self._peers else 0
        return [peer for peer in self._peers[turn:] + self._peers[:turn] if self.wanted(peer)]

    def wanted(self, peer: Peer) -> list[Scenario]:
        """What is still asked of a server."""
        return [
            scenario
            for index, scenario in enumerate(self._scenarios)
            if peer.takes_part(scenario) and (index, peer.name) not in self._failures
        ]

    def add(self, scenario: Scenario, peer: Peer, sample: Sample) -> None:
        self._samples.setdefault(self._key(scenario, peer), []).append(sample)

    def fail(self, scenario: Scenario, peer: Peer, why: str) -> None:
        self._failures.setdefault(self._key(scenario, peer), shortened(why))

    def results(self, versions: dict[str, str]) -> list[Result]:
        """One per scenario, in their order."""
        return [self._result(index, scenario, versions) for index, scenario in enumerate(self._scenarios)]

    def _result(self, index: int, scenario: Scenario, versions: dict[str, str]) -> Result:
        rows, failures = [], {}
        for peer in self._peers:
            label = peer.label(scenario.interface) if scenario.interface in peer.labels else peer.name
            samples = self._samples.get((index, peer.name), [])
            if (index, peer.name) in self._failures:
                failures[label] = self._failures[index, peer.name]
            elif samples:
                rows.append(Row(peer.name, label, versions[peer.name], samples))
        connections = scenario.connections if scenario.sweep else 0
        return Result(scenario.name, scenario.interface, scenario.heading, scenario.metric, connections, rows, failures)

    def _key(self, scenario: Scenario, peer: Peer) -> tuple[int, str]:
        return self._scenarios.index(scenario), peer.name
