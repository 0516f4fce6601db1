"""Idle connections: thousands that have had one answer and are then kept alive. What memory they take, and how long
the requests of others take beside them."""

import contextlib
import resource
import socket
import time
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.load import LoadFailedError
from benchmarks.peers import Peer
from benchmarks.progress import Progress
from benchmarks.results import Sample
from benchmarks.rounds import Collector
from benchmarks.scenarios import Request, Scenario
from benchmarks.servers import Place, RunningServer, ServerFailedError
from benchmarks.throughput import steady

# Longer than any run, so that no server closes a connection while the others are still being opened.
_KEEP_ALIVE_SECONDS = 600
_LOAD_CONNECTIONS = 64
_LOAD_SECONDS = 1.0
_SPARE_DESCRIPTORS = _LOAD_CONNECTIONS + 64
# Memory that a server takes once, for its first connections, is not memory per connection.
_WARM_UP_CONNECTIONS = 64
_SETTLE_SECONDS = 0.5


class TooFewDescriptorsError(Exception):
    """The hard limit of open files is below the number of connections."""


def measure_idle(scenario: Scenario, peers: Sequence[Peer], place: Place, rounds: int, progress: Progress) -> Collector:
    """KiB of resident memory per idle connection, over a server's whole process tree; rate and latencies of a load
    beside them.

    Raises `TooFewDescriptorsError`.
    """
    count = scenario.connections
    _raise_descriptor_limit(count + _SPARE_DESCRIPTORS)
    collector = Collector([scenario], peers)
    for number, peer in collector.turns(rounds):
        progress.step(scenario.heading, number + 1, rounds, peer.label(scenario.interface))
        with RunningServer(
            peer,
            scenario.service,
            place,
            connections=count + _SPARE_DESCRIPTORS,
            keep_alive=_KEEP_ALIVE_SECONDS,
        ) as server:
            try:
                server.wait_ready(scenario)
                collector.add(scenario, peer, _measure(server, scenario))
            except (ServerFailedError, LoadFailedError, OSError) as error:
                collector.fail(scenario, peer, str(error))
    return collector


def _measure(server: RunningServer, scenario: Scenario) -> Sample:
    count = scenario.connections
    with contextlib.ExitStack() as stack:
        for _ in range(_WARM_UP_CONNECTIONS):
            _open(server.port, scenario.request, stack)
        before = _settled(server)
        for _ in range(count - _WARM_UP_CONNECTIONS):
            _open(server.port, scenario.request, stack)
        after = _settled(server)
        beside, _ = steady(server, replace(scenario, connections=_LOAD_CONNECTIONS), _LOAD_SECONDS)
    return {"kib": (after - before) / (count - _WARM_UP_CONNECTIONS) / 1024, **beside}


def _open(port: int, request: Request, stack: contextlib.ExitStack) -> None:
    client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
    client.sendall(f"GET {request.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(request.expected):
        received = client.recv(4096)
        if not received:
            raise ConnectionError(f"closed after {answer[:80]!r}")
        answer += received


def _settled(server: RunningServer) -> int:
    time.sleep(_SETTLE_SECONDS)
    return server.resident_bytes()


def _raise_descriptor_limit(needed: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise TooFewDescriptorsError(f"{needed} open files are needed, the hard limit is {hard} (ulimit -Hn)")
    if soft < needed:
        # The servers inherit it.
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
