"""What a running server's scoreboard says of its workers, for tests that ask about moments."""

import mmap
from pathlib import Path

from ferrule.arbiter.runtime import SCOREBOARD, running_servers
from ferrule.arbiter.scoreboard import READY, SLOT_SIZE, Scoreboard
from tests.support.server import ServerProcess, wait_until


class Gauges:
    """The scoreboard of `server`, found through its runtime directory; waits until there is one."""

    def __init__(self, server: ServerProcess) -> None:
        wait_until(lambda: server.pid in running_servers(), message="a runtime directory")
        path = Path(running_servers()[server.pid], SCOREBOARD)
        wait_until(path.exists, message="a scoreboard")
        with path.open("rb") as file:
            memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self._board = Scoreboard(len(memory) // SLOT_SIZE - 1, memory)

    def in_flight(self, pid: int) -> int:
        """Requests of one worker that are with the application."""
        slots = range(self._board.slots)
        return sum(self._board.get(slot, "in_flight") for slot in slots if self._board.get(slot, "pid") == pid)

    def all_in_flight(self) -> int:
        """Requests of all workers that are with the application, or wait for a thread of it."""
        return sum(self._board.get(slot, "in_flight") for slot in range(self._board.slots))

    def ready(self) -> int:
        """Workers that accept connections, at one moment: while slots are read, their states may change."""
        seen, states = None, self._states()
        while states != seen:
            seen, states = states, self._states()
        return states.count(READY)

    def _states(self) -> list[int]:
        return [self._board.get(slot, "state") for slot in range(self._board.slots)]


def wait_in_flight(server: ServerProcess, count: int) -> None:
    """Return once `server` has `count` requests with its application."""
    gauges = Gauges(server)
    wait_until(lambda: gauges.all_in_flight() >= count, message=f"{count} requests with the application")
