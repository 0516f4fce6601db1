"""A rolling restart under load: HUP, until every worker is a new one. Counts lost requests, and takes latencies."""

import http.client
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from benchmarks.accounting import process_stat, process_tree
from benchmarks.load import Target, percentile
from benchmarks.peers import Peer
from benchmarks.progress import Progress
from benchmarks.results import Sample
from benchmarks.rounds import Collector
from benchmarks.scenarios import Scenario
from benchmarks.servers import Place, RunningServer, ServerFailedError

_WORKERS = 2
# Far below what any server can do, so that latencies tell of the restart and not of a queue.
_INTERVAL_SECONDS = 0.010
_STEADY_SECONDS = 0.7
_AFTER_SECONDS = 0.3
_PATIENCE_SECONDS = 20.0


def measure_restart(
    scenario: Scenario, peers: Sequence[Peer], place: Place, rounds: int, progress: Progress
) -> Collector:
    """Two workers on any core, `scenario.connections` clients that keep their connections and ask every 10 ms.

    A request is lost when it gets no answer, or one that is not 200; a connection that the server closes without
    having said so counts, although a browser would ask again.
    """
    collector = Collector([scenario], peers)
    anywhere = replace(place, server_core=None)
    for number, peer in collector.turns(rounds):
        progress.step(scenario.heading, number + 1, rounds, peer.label(scenario.interface))
        with RunningServer(peer, scenario.service, anywhere, workers=_WORKERS) as server:
            try:
                server.wait_ready(scenario)
                collector.add(scenario, peer, _measure(server, scenario))
            except (ServerFailedError, OSError) as error:
                collector.fail(scenario, peer, str(error))
    return collector


def _measure(server: RunningServer, scenario: Scenario) -> Sample:
    with PacedLoad(server.target, scenario) as load:
        # The first requests of a server are slower; they are in nobody's figure.
        time.sleep(_STEADY_SECONDS / 2)
        load.take()
        time.sleep(_STEADY_SECONDS)
        steady, lost = load.take()
        began = time.perf_counter()
        _replace_workers(server)
        replaced = time.perf_counter() - began
        time.sleep(_AFTER_SECONDS)
        during, lost_during = load.take()
    if not steady or not during:
        raise ServerFailedError("answered nothing under load")
    return {
        "p99_ms": percentile(during, 0.99) / 1e6,
        "steady_p99_ms": percentile(steady, 0.99) / 1e6,
        "replace_ms": replaced * 1000,
        "lost": float(lost + lost_during),
    }


def _replace_workers(server: RunningServer) -> None:
    """Raises `ServerFailedError` when old workers stay."""
    old = [stat.pid for stat in process_tree(server.pid) if stat.parent == server.pid and stat.alive]
    if not old:
        raise ServerFailedError("has no worker processes")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    os.kill(server.pid, signal.SIGHUP)
    while any(_is_alive(pid) for pid in old):
        if time.monotonic() > deadline:
            raise ServerFailedError(f"keeps its workers for {_PATIENCE_SECONDS:.0f} s after HUP")
        time.sleep(0.002)


def _is_alive(pid: int) -> bool:
    stat = process_stat(pid)
    return stat is not None and stat.alive


class PacedLoad:
    """Clients that each send one request every 10 ms over a connection they keep; a context manager."""

    def __init__(self, target: Target, scenario: Scenario) -> None:
        self._target = target
        self._scenario = scenario
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._latencies: list[int] = []
        self._lost = 0
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(scenario.connections)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def take(self) -> tuple[list[int], int]:
        """Latencies in ns since the last call, sorted, and how many requests were lost."""
        with self._lock:
            taken = sorted(self._latencies), self._lost
            self._latencies, self._lost = [], 0
        return taken

    def _run(self, number: int) -> None:
        if self._target.core is not None:
            os.sched_setaffinity(0, {self._target.core})  # of this thread alone
        connection: http.client.HTTPConnection | None = None
        due = time.perf_counter() + _INTERVAL_SECONDS * number / self._scenario.connections
        while not self._ending.wait(max(0.0, due - time.perf_counter())):
            # A client that has fallen behind does not send a burst to catch up.
            due = max(due + _INTERVAL_SECONDS, time.perf_counter())
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self._target.port, timeout=10)
            if not self._ask(connection):
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> bool:
        """One request; whether the connection can carry another."""
        began = time.perf_counter_ns()
        try:
            connection.request("GET", self._scenario.request.path)
            response = connection.getresponse()
            good = response.read() == self._scenario.request.expected and response.status == 200
            keep = not response.will_close
        except (OSError, http.client.HTTPException):
            good = keep = False
        with self._lock:
            self._latencies.append(time.perf_counter_ns() - began)
            self._lost += not good
        return keep
