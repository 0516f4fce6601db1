"""The native server inside an event loop of the program's own, through the port of servers."""

import asyncio
import contextlib
import gc
import http.client
import os
import signal
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ferrule.errors import AppError, BindError, ConfigError
from ferrule.servers.ports import ApplicationServerPort
from tests.apps import anywhere, process
from tests.support.in_loop import serving, until
from tests.support.server import wait_until
from tests.support.tls import Authority, presented

APPS: dict[str, Callable[..., Any]] = {"asgi": anywhere.asgi, "wsgi": anywhere.wsgi}

pytestmark = pytest.mark.parametrize("interface", APPS)


async def ask(server: ApplicationServerPort, path: str, method: str = "GET", body: bytes | None = None) -> bytes:
    def fetch() -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_info.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body)
            response = connection.getresponse()
            assert response.status == 200
            return response.read()

    return await asyncio.to_thread(fetch)


def test_requests_are_answered_beside_what_else_the_loop_does(interface: str, tmp_path: Path) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    async def program() -> None:
        async with serving(APPS[interface], tmp_path, threads=2) as (server, task):
            assert await ask(server, "/") == f"hello from {interface} at /".encode()
            assert await ask(server, "/echo", "POST", b"x" * 300_000) == b"x" * 300_000
            assert (await ask(server, "/stream")).count(b"part") == 50
            info, stats = server.server_info, server.stats
            assert (info.name, info.workers, info.host, info.event_loop) == ("native", 1, "127.0.0.1", "asyncio")
            assert stats is not None
            assert stats.requests == 3
            assert not task.done()
        assert server.stats is None
        task.result()

    asyncio.run(program())
    assert {number: signal.getsignal(number) for number in before} == before


def test_what_is_in_flight_is_answered_before_it_stops(interface: str, tmp_path: Path) -> None:
    async def program() -> None:
        async with serving(APPS[interface], tmp_path) as (server, task):
            asked = asyncio.create_task(ask(server, "/slow"))
            await until(lambda: server.stats is not None and server.stats.requests == 1)
            server.shutdown()
            assert await asked == b"slow but whole"
            await asyncio.wait_for(task, 30)
            with pytest.raises(ConnectionRefusedError):
                await ask(server, "/")

    asyncio.run(program())


def test_a_cancelled_server_is_gone_at_once(interface: str, tmp_path: Path) -> None:
    async def program() -> None:
        async with serving(APPS[interface], tmp_path) as (server, task):
            asked = asyncio.create_task(ask(server, "/slow"))
            await until(lambda: server.stats is not None and server.stats.requests == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises((ConnectionError, http.client.HTTPException)):
                await asked

    asyncio.run(program())


def test_certificates_are_renewed(interface: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    first = authority.issue()
    context = ssl.create_default_context(cafile=str(authority.ca_certs))

    async def program() -> None:
        files = {"certfile": str(first.certfile), "keyfile": str(first.keyfile)}
        async with serving(APPS[interface], tmp_path, **files) as (server, _):
            address = ("127.0.0.1", server.server_info.port)
            assert await asyncio.to_thread(presented, address, context) == first.serial
            second = authority.issue(stem="second")
            serial = second.serial
            os.replace(second.keyfile, first.keyfile)
            os.replace(second.certfile, first.certfile)
            await asyncio.to_thread(
                wait_until, lambda: presented(address, context) == serial, message="the new certificate"
            )

    asyncio.run(program())


def test_the_programs_garbage_is_collected_as_the_program_wants(interface: str, tmp_path: Path) -> None:
    before = (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count())

    async def program() -> None:
        async with serving(APPS[interface], tmp_path):
            assert (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()) == before

    asyncio.run(program())


def test_it_leaves_nothing_behind(interface: str, tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def program() -> None:
        async with serving(APPS[interface], tmp_path, bind=f"unix:{path}"):
            assert path.is_socket()
        assert not path.exists()

    def left() -> tuple[int, int]:
        gc.collect()
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    asyncio.run(program())
    before = left()
    for _ in range(3):
        asyncio.run(program())
    assert left() == before


def test_what_cannot_be_is_said_to_the_caller(interface: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(**settings: Any) -> None:
        async with serving(APPS[interface], tmp_path, **settings) as (server, _):
            taken = f"127.0.0.1:{server.server_info.port}"
            with pytest.raises(BindError, match="the address is in use"):
                async with serving(APPS[interface], tmp_path / "other", bind=taken):
                    pass

    (tmp_path / "other").mkdir()
    asyncio.run(run(workers=2, reload=False, max_requests=5))
    said = (tmp_path / "log").read_text()
    assert "no processes to manage: workers, max_requests, reload not honoured" in said
    with pytest.raises(ConfigError, match="the process keeps its user and group"):
        asyncio.run(run(user="nobody"))
    if interface == "asgi":
        monkeypatch.setenv("FAIL_LIFESPAN", "1")
        with pytest.raises(AppError, match="application failed to start: no database"):
            asyncio.run(run(lifespan="on"))


def test_the_grace_of_the_settings_is_what_requests_have(interface: str, tmp_path: Path) -> None:
    async def program() -> None:
        apps: dict[str, Callable[..., Any]] = {"asgi": process.asgi, "wsgi": process.wsgi}
        async with serving(apps[interface], tmp_path) as (server, task):
            asked = asyncio.create_task(ask(server, "/long"))  # 2.5 s
            await until(lambda: server.stats is not None and server.stats.requests == 1)
            server.shutdown()
            assert len(await asked) >= 100
            await asyncio.wait_for(task, 30)
        assert "arbiter" not in (tmp_path / "log").read_text()

    asyncio.run(program())
