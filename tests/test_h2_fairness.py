"""Connections take turns: what one of them asks for at once, in as many streams as it may open, keeps nobody waiting
for all of it."""

from collections.abc import Iterator

import pytest

from tests.support.h2 import H2Connection
from tests.support.server import ServerProcess

STREAMS = 90


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    options = ("--workers", "1", "--threads", "1", "--max-requests", "0", "--no-access-log")
    with ServerProcess(*options, "tests.apps.wire_wsgi:app") as server:
        yield server


def test_a_request_of_another_connection_does_not_wait_for_all_streams_of_one(server: ServerProcess) -> None:
    """The order tells, whatever the time: 90 requests of 10 ms are in line when the other one comes."""
    with H2Connection(server.address) as crowd, server.connect() as client:
        client.get("/")
        streams = [crowd.request("GET", "/sleep?s=0.01") for _ in range(STREAMS)]
        crowd.response(streams[0])
        assert client.get("/").status == 200
        crowd.pause(0.03)  # takes what has come by now
        answered = sum(crowd.exchanges[stream].over for stream in streams)
        assert answered < STREAMS / 2, f"{answered} of {STREAMS} were answered before"
        for stream in streams:
            assert crowd.response(stream).status == 200


def test_two_crowds_are_served_side_by_side(server: ServerProcess) -> None:
    with H2Connection(server.address) as first, H2Connection(server.address) as second:
        before = [first.request("GET", "/sleep?s=0.01") for _ in range(STREAMS)]
        first.response(before[0])
        after = [second.request("GET", "/sleep?s=0.01") for _ in range(STREAMS)]
        second.response(after[STREAMS // 3])
        first.pause(0.03)
        answered = sum(first.exchanges[stream].over for stream in before)
        assert answered < STREAMS, "the second was served after the first"
        for crowd, streams in ((first, before), (second, after)):
            for stream in streams:
                assert crowd.response(stream).status == 200
