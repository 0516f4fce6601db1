"""`scope["headers"]` behaves as the list that ASGI promises, and costs nothing until an application looks."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.apps.lazy_headers import OPERATIONS, PAIRS, SENT
from tests.support.server import ServerProcess


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", "--interface", "asgi", "tests.apps.lazy_headers:app") as server:
        yield server


def ask(server: ServerProcess, name: str, *, fields: bytes = SENT) -> Any:
    with server.connect() as client:
        client.send(b"GET /" + name.encode() + b" HTTP/1.1\r\n" + fields + b"\r\n")
        response = client.read_response()
    assert response.status == 200, server.stderr
    return json.loads(response.body)


@pytest.mark.parametrize("name", OPERATIONS)
def test_headers_do_what_a_list_does(server: ServerProcess, name: str) -> None:
    answer = ask(server, name)
    assert answer["headers"] == answer["list"]


def test_headers_are_pairs_in_wire_order_with_lower_case_names(server: ServerProcess) -> None:
    ask(server, "keep")
    assert ask(server, "kept")[-1] == repr(PAIRS)


def test_neither_length_nor_truth_makes_a_list(server: ServerProcess) -> None:
    many = b"Host: test\r\n" + b"".join(b"x-%d: value %d\r\n" % (number, number) for number in range(60))
    cost = ask(server, "cost", fields=many)
    assert cost["length"] == 61
    # Other threads of the worker may take blocks meanwhile; a list each time would be 12,000 of them.
    assert cost["asked"] < 500
    assert cost["looked"] > 2 * 60  # a name and a value for each (tuples can come from a free list)


def test_headers_of_a_finished_request_stay_what_they_were(server: ServerProcess) -> None:
    before = len(ask(server, "kept"))
    with server.connect() as client:
        for number in range(20):
            client.get("/keep", fields=f"x-number: {number}\r\n")
            # As long as the one before: a buffer used again would show this name in its place.
            client.get("/keep", fields=f"y-number: {number}\r\n")
    shown = ask(server, "kept")[before:]
    names = [b"x-number", b"y-number"]
    assert shown == [repr([(b"host", b"test"), (name, str(number).encode())]) for number in range(20) for name in names]


def test_a_cycle_through_the_headers_is_collected(server: ServerProcess) -> None:
    ask(server, "cycle")
    assert ask(server, "cycle") is True
