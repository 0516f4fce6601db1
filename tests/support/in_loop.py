"""The native server inside the event loop that a test runs in."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from ferrule.api import prepare
from ferrule.config.load import from_keywords
from ferrule.servers.ports import ApplicationServerPort


@contextlib.asynccontextmanager
async def serving(
    app: Callable[..., Any], directory: Path, **settings: Any
) -> AsyncIterator[tuple[ApplicationServerPort, asyncio.Task[None]]]:
    """The server and its task, once it is ready; stopped at the end, if it still serves."""
    keywords = {"app": "object", "bind": "127.0.0.1:0", "access_log": False, **settings}
    log = directory / "log"
    log.unlink(missing_ok=True)
    server, config = prepare(from_keywords({"log_file": str(log), "server": "native", **keywords}), None)
    task = asyncio.create_task(server.serve_async(app, config))
    await until(lambda: task.done() or "Ready" in log.read_text())
    try:
        if task.done():
            task.result()
        yield server, task
    finally:
        server.shutdown()
        await asyncio.gather(task, return_exceptions=True)
        config.log.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
