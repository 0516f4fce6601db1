"""Time from starting the program to its first complete answer."""

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.peers import Peer
from benchmarks.progress import Progress
from benchmarks.rounds import Collector
from benchmarks.scenarios import Scenario
from benchmarks.servers import Place, RunningServer, ServerFailedError

# Asked this often, a server that becomes ready is noticed within a hundredth of the times that are compared.
_INTERVAL_SECONDS = 0.0005


def measure_cold_start(
    scenario: Scenario, peers: Sequence[Peer], place: Place, rounds: int, progress: Progress
) -> Collector:
    """Milliseconds to the first answer, byte code cached, on any core. One unmeasured round fills the caches."""
    collector = Collector([scenario], peers)
    anywhere = replace(place, server_core=None)
    for number, peer in collector.turns(rounds + 1):
        itself = replace(peer, command=peer.itself or peer.command)
        progress.step(scenario.heading, max(1, number), rounds, peer.label(scenario.interface))
        with RunningServer(itself, scenario.service, anywhere) as server:
            try:
                seconds = server.wait_ready(scenario, interval=_INTERVAL_SECONDS)
            except ServerFailedError as error:
                collector.fail(scenario, peer, str(error))
                continue
        if number > 0:
            collector.add(scenario, peer, {"start_ms": seconds * 1000})
    return collector
