"""One connection never keeps a worker from the others, and none ever sees another's bytes."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.in_loop import serving, until
from tests.support.raw import RawConnection
from tests.support.server import ServerProcess
from tests.support.tries import best_of

APP = "tests.apps.wire_asgi:app"
LOOPS = {"uvloop": ["--loop", "uvloop"], "asyncio": ["--loop", "asyncio"]}


@pytest.fixture(scope="module", params=LOOPS)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", "--max-requests", "0", *LOOPS[request.param], APP) as server:
        yield server


def latencies(server: ServerProcess, seconds: float) -> list[float]:
    taken = []
    until = time.monotonic() + seconds
    with server.connect() as client:
        while time.monotonic() < until:
            began = time.monotonic()
            assert client.get("/").status == 200
            taken.append(time.monotonic() - began)
            time.sleep(0.005)
    return sorted(taken)


def served_in_time(others: list[float]) -> bool:
    """Answers of a few milliseconds, with room for a busy machine; to be starved is to get none for seconds."""
    return len(others) > 4 and others[len(others) // 2] < 0.25 and others[int(len(others) * 0.95)] < 1


@pytest.mark.parametrize("path", ["/flood", "/flood?chunk=1000000"])
def test_an_application_that_only_ever_sends_does_not_starve_others(server: ServerProcess, path: str) -> None:
    """`while True: await send(...)` to a client that takes all it gets."""
    with server.connect() as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        taken = 0
        ended = threading.Event()

        def drain() -> None:
            nonlocal taken
            while not ended.is_set():
                taken += len(client.socket.recv(1 << 20))

        reader = threading.Thread(target=drain)
        reader.start()
        try:
            others = best_of(4, lambda: latencies(server, 0.7), served_in_time)
        finally:
            ended.set()
            reader.join()
    assert taken > 100_000
    assert served_in_time(others), others


def test_reading_a_large_ready_body_does_not_starve_others(server: ServerProcess) -> None:
    size = 100 * 1024 * 1024
    told = {}

    def beside_an_upload() -> list[float]:
        uploader = threading.Thread(target=upload)
        uploader.start()
        others = latencies(server, 0.5)
        uploader.join()
        return others

    def upload() -> None:
        with server.connect(timeout=30) as client:
            client.send(b"POST /gulp HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % size)
            piece = bytes(1 << 20)
            for _ in range(size >> 20):
                client.send(piece)
            told.update(json.loads(client.read_response().body))

    others = best_of(4, beside_an_upload, served_in_time)
    assert told["messages"] > 100
    assert served_in_time(others), others


@pytest.mark.parametrize(("parts", "first"), [(1, "the application"), (2, "others")])
def test_only_who_has_more_to_send_gives_way(tmp_path: Path, parts: int, first: str) -> None:
    """A last part that is large leaves nothing to take turns with."""
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        asyncio.get_running_loop().call_soon(told.append, "others")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(parts):
            await send({"type": "http.response.body", "body": bytes(100_000), "more_body": number < parts - 1})
        told.append("the application")

    async def ask() -> None:
        async with serving(app, tmp_path) as (server, _):
            with RawConnection(("127.0.0.1", server.server_info.port)) as client:
                client.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
                await until(lambda: len(told) == 2)
                response = await asyncio.to_thread(client.read_response)
                assert len(response.body) == parts * 100_000

    asyncio.run(ask())
    assert told[0] == first


def test_a_large_file_does_not_hold_the_loop(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("file") / "sparse"
    with path.open("wb") as file:
        file.truncate(4 << 30)
    with server.connect() as client, server.connect() as observer:
        client.send(f"GET /pathsend?file={path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        ended = threading.Event()
        taken = 0

        def drain() -> None:
            nonlocal taken
            while not ended.is_set():
                taken += len(client.socket.recv(1 << 20))

        def short(turns: list[float]) -> bool:
            # A turn is bounded by 10 ms; the rest is for a machine with other things to do.
            return turns[int(len(turns) * 0.95)] < 0.1

        reader = threading.Thread(target=drain)
        reader.start()
        try:
            turns = best_of(4, lambda: json.loads(observer.get("/lag?s=0.7").body), short)
        finally:
            ended.set()
            reader.join()
    assert taken > 10_000_000
    assert short(turns), turns[-10:]


def test_scopes_kept_after_their_requests_still_show_their_own_headers(server: ServerProcess) -> None:
    """300 connections, each used three times; a buffer used again would show another request's number."""
    numbers = []
    for connection in range(300):
        with server.connect() as client:
            for turn in range(3):
                number = f"{connection:04}-{turn}"
                client.get(f"/keep/{number}", fields=f"x-number: {number}\r\nx-filler: {'f' * (connection % 50)}\r\n")
                numbers.append([f"/keep/{number}", number])
    with server.connect() as client:
        assert json.loads(client.get("/kept").body) == numbers
