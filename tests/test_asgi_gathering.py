"""Short responses of one turn are sent together, and nobody pays for that with a long wait.

The server runs in the test's own loop: what is sent between two awaits of the test, the server finds in one turn.
"""

import asyncio
import contextlib
import select
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.in_loop import serving, until
from tests.support.raw import RawConnection

Work = Callable[[str], Awaitable[None] | None]


def answered(*clients: RawConnection) -> int:
    """How many of them have something to read."""
    return len(select.select([client.socket for client in clients], [], [], 0)[0])


def has_answer(client: RawConnection) -> bool:
    return answered(client) == 1


def answering(work: Work) -> Callable[..., Awaitable[None]]:
    """An application that answers with the path, once `work` has been done for it."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if (rest := work(scope["path"])) is not None:
            await rest
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    return app


@contextlib.asynccontextmanager
async def clients_of(
    app: Callable[..., Any], directory: Path, count: int, **settings: Any
) -> AsyncIterator[list[RawConnection]]:
    """Connections that the server has accepted: each has had an answer."""
    async with serving(app, directory, **settings) as (server, _):
        with contextlib.ExitStack() as stack:
            address = ("127.0.0.1", server.server_info.port)
            clients = [stack.enter_context(RawConnection(address)) for _ in range(count)]
            await answers(clients, ["/hello"] * count)
            yield clients


async def answers(clients: list[RawConnection], paths: list[str]) -> None:
    """Asks on all connections at once, and checks every answer."""
    for client, path in zip(clients, paths, strict=True):
        client.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    # Read at the end, so that applications can look who has an answer.
    await until(lambda: answered(*clients) == len(clients))
    for client, path in zip(clients, paths, strict=True):
        assert client.read_response().body == path.encode()


def test_responses_of_one_turn_leave_when_its_applications_have_run(tmp_path: Path) -> None:
    clients: list[RawConnection] = []
    seen: list[bool] = []

    def work(path: str) -> None:
        if path == "/3":
            seen.append(has_answer(clients[1]))

    async def program() -> None:
        async with clients_of(answering(work), tmp_path, 3) as connected:
            clients.extend(connected)
            for _ in range(20):
                await answers(clients, ["/1", "/2", "/3"])

    asyncio.run(program())
    assert len(seen) == 20
    # A step that the machine interrupts counts as a long one: then they leave at once.
    assert seen.count(False) >= 1


def test_a_response_does_not_wait_again_for_an_application_that_takes_long(tmp_path: Path) -> None:
    clients: list[RawConnection] = []
    seen: list[bool] = []

    def work(path: str) -> None:
        if path == "/slow":
            time.sleep(0.1)
            seen.append(has_answer(clients[0]))

    async def program() -> None:
        async with clients_of(answering(work), tmp_path, 2) as connected:
            clients.extend(connected)
            for _ in range(4):
                await answers(clients, ["/quick", "/slow"])

    asyncio.run(program())
    # The first one cannot be foreseen. Each lasts for twenty times its length.
    assert seen[1:] == [True, True, True]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks of one turn start after it: all of them are in flight")
def test_a_finished_request_is_none_that_an_application_has(tmp_path: Path) -> None:
    """`--limit-concurrency`: who has answered makes room at once, whenever the answer leaves."""

    async def program() -> None:
        async with clients_of(answering(lambda _: None), tmp_path, 8, limit_concurrency=1) as clients:
            for _ in range(5):
                await answers(clients, [f"/{number}" for number in range(8)])

    asyncio.run(program())


def test_a_response_does_not_wait_for_the_last_request_of_its_turn_if_that_is_the_only_one(tmp_path: Path) -> None:
    """An application that works on after its answer, with nobody beside it."""
    clients: list[RawConnection] = []
    seen: list[bool] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})
        if clients:
            seen.append(has_answer(clients[0]))

    async def program() -> None:
        async with clients_of(app, tmp_path, 1) as connected:
            clients.extend(connected)
            for _ in range(10):
                await answers(clients, ["/"])

    asyncio.run(program())
    assert seen == [True] * 10


def test_responses_of_tasks_that_had_to_wait_leave_with_the_loops_next_turn(tmp_path: Path) -> None:
    count = 100
    kept_back: list[int] = []

    async def program() -> None:
        clients: list[RawConnection] = []
        release, waiting, released = asyncio.Event(), 0, 0

        async def wait() -> None:
            nonlocal waiting, released
            waiting += 1
            if waiting == count:
                release.set()
            await release.wait()
            kept_back.append(released - answered(*clients))
            released += 1

        def work(path: str) -> Awaitable[None] | None:
            return wait() if path.startswith("/wait") else None

        async with clients_of(answering(work), tmp_path, count) as connected:
            clients.extend(connected)
            for _ in range(5):
                waiting = released = 0
                release.clear()
                await answers(clients, [f"/wait/{number}" for number in range(count)])

    asyncio.run(program())
    assert len(kept_back) == 5 * count
    assert 1 < max(kept_back) < count


def test_a_response_that_the_application_of_another_waits_for_is_sent(tmp_path: Path) -> None:
    """An application that runs the loop within the loop, until the client of another one has its answer."""
    clients: list[RawConnection] = []
    arrived: list[bool] = []

    async def program() -> None:
        release, waits = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            waits.set()
            await release.wait()

        def work(path: str) -> Awaitable[None] | None:
            if path == "/wait":
                return wait()
            if path == "/nested":
                release.set()
                run_until(lambda: has_answer(clients[0]))
                arrived.append(has_answer(clients[0]))
            return None

        async with clients_of(answering(work), tmp_path, 3) as connected:
            clients.extend(connected)
            first = asyncio.create_task(answers(clients[:1], ["/wait"]))
            await waits.wait()
            await answers(clients[1:], ["/nested", "/after"])
            await first

    asyncio.run(program())
    assert arrived == [True]


def run_until(condition: Callable[[], bool]) -> None:
    """Runs the running loop from within one of its tasks, for three seconds at most."""
    loop: Any = asyncio.get_running_loop()
    task: Any = asyncio.current_task()
    asyncio.tasks._leave_task(loop, task)
    try:
        until = time.monotonic() + 3
        while not condition() and time.monotonic() < until:
            loop.call_soon(lambda: None)
            loop._run_once()
    finally:
        asyncio.tasks._enter_task(loop, task)
