"""Serving a request makes no Python object per header field until the application looks."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.support.h2 import H2Connection
from tests.support.server import ServerProcess

Ask = Callable[[str, int], bytes]
"""Asks for a path with so many header fields."""
Connect = Callable[[ServerProcess], AbstractContextManager[Ask]]


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    options = ["--workers", "1", "--loop", request.param, "--max-requests", "0"]
    with ServerProcess(*options, "tests.apps.wire_objects:app") as server:
        yield server


@contextmanager
def over_h1(server: ServerProcess) -> Iterator[Ask]:
    with server.connect() as client:

        def ask(path: str, count: int) -> bytes:
            fields = "".join(f"x-field-{number}: value {number}\r\n" for number in range(count))
            return client.get(path, fields=fields).body

        yield ask


@contextmanager
def over_h2(server: ServerProcess) -> Iterator[Ask]:
    with H2Connection(server.address) as client:

        def ask(path: str, count: int) -> bytes:
            fields = [(f"x-field-{number}", f"value {number}") for number in range(count)]
            return bytes(client.get(path, fields=fields).body)

        yield ask


CARRIERS = pytest.mark.parametrize("connect", [over_h1, over_h2])


def difference(server: ServerProcess, connect: Connect, path: str) -> float:
    """How many memory blocks more a request with 60 header fields takes than one with 5.

    Both kinds and a plain request between them, again and again, so that what is left of one request, and what the
    worker does besides, is the same for both.
    """
    blocks: dict[int, list[int]] = {5: [], 60: []}
    with connect(server) as ask:
        for _ in range(60):
            for count, series in blocks.items():
                ask("/plain", 0)
                series.append(int(ask(path, count)))
    return statistics.median(blocks[60]) - statistics.median(blocks[5])


@CARRIERS
def test_the_number_of_objects_does_not_depend_on_the_number_of_headers(
    server: ServerProcess, connect: Connect
) -> None:
    # One object for each header would be 55; what varies from request to request by itself is a handful.
    assert abs(difference(server, connect, "/")) < 10


@CARRIERS
def test_the_measure_sees_objects_once_the_application_looks(server: ServerProcess, connect: Connect) -> None:
    assert difference(server, connect, "/look") > 2 * 55 - 10  # a name and a value each, at least
