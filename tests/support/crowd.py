"""Many clients at once, for tests that ask how a server bears them. Every response is read and checked."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.support.server import ServerProcess


@dataclass(frozen=True, slots=True)
class Answers:
    """What a crowd of clients saw."""

    responses: int
    seconds: float

    @property
    def rate(self) -> float:
        """Responses per second."""
        return self.responses / self.seconds


def crowd(server: ServerProcess, clients: int, ask: Callable[[int], Iterable[tuple[str, bytes]]]) -> Answers:
    """Each of `clients` asks on one connection, one after the other, for what `ask(number)` yields: a target and the
    body it must get. Raises whatever one of them ran into."""

    def client(number: int) -> int:
        count = 0
        with server.connect(timeout=30) as connection:
            for target, expected in ask(number):
                response = connection.get(target)
                assert (response.status, response.body) == (200, expected), (target, response)
                count += 1
        return count

    with ThreadPoolExecutor(clients) as pool:
        began = time.monotonic()
        counts = list(pool.map(client, range(clients)))
        return Answers(sum(counts), time.monotonic() - began)


def for_seconds(seconds: float, target: str, expected: bytes) -> Iterable[tuple[str, bytes]]:
    """The same request over and over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield target, expected
