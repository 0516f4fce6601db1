"""The ASGI lifespan protocol (ASGI lifespan 2.0): one conversation with the application per worker.

Knows nothing of HTTP or sockets.
"""

from __future__ import annotations

import asyncio
import contextvars

from ..errors import AppError
from ..logs import Log, format_traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Lifespan:
    """`mode` is auto, on or off. `state` is what the application put there at start-up; requests get copies.

    `context` is where the conversation runs: what start-up sets in context variables is for requests to copy.
    """

    def __init__(self, app: Any, mode: str, log: Log) -> None:
        self.state: dict[str, Any] = {}
        self.context = contextvars.copy_context()
        self._app = app
        self._mode = mode
        self._log = log
        self._inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._started: asyncio.Future[str | None] | None = None  # result: message of a failure
        self._stopped: asyncio.Future[str | None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._asked = False  # whether the application ever took the start-up message

    async def startup(self) -> None:
        """Run the application's start-up. Raises `AppError` when it says, or with mode "on" shows, that it failed."""
        if self._mode == "off":
            return
        loop = asyncio.get_running_loop()
        self._started, self._stopped = loop.create_future(), loop.create_future()
        self._inbox.put_nowait({"type": "lifespan.startup"})
        self._task = loop.create_task(self._converse(), name="ferrule-lifespan", context=self.context)
        await asyncio.wait((self._started, self._task), return_when=asyncio.FIRST_COMPLETED)
        if self._started.done():
            failure = self._started.result()
            if failure is not None:
                raise AppError(f"application failed to start{': ' if failure else ''}{_first_line(failure)}", failure)
            return
        self._ended_early(self._task)
        self._task = None

    async def shutdown(self) -> None:
        """Run the application's shutdown, if it took part in the start-up. Failures are logged."""
        if self._task is None or self._stopped is None:
            return
        if not self._task.done():
            self._inbox.put_nowait({"type": "lifespan.shutdown"})
            await asyncio.wait((self._stopped, self._task), return_when=asyncio.FIRST_COMPLETED)
        if self._stopped.done():
            failure = self._stopped.result()
            if failure is not None:
                self._log.error("Application failed to shut down", traceback=failure or None)
        elif error := self._task.exception():
            self._log.error("Application failed to shut down", traceback=format_traceback(error))

    async def _converse(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        await self._app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, str]:
        self._asked = True
        return await self._inbox.get()

    async def _send(self, message: dict[str, Any]) -> None:
        assert self._started is not None  # the conversation exists
        assert self._stopped is not None
        kind = message.get("type")
        failure = str(message.get("message", "")) if isinstance(kind, str) and kind.endswith(".failed") else None
        match kind:
            case "lifespan.startup.complete" | "lifespan.startup.failed" if not self._started.done():
                self._started.set_result(failure)
            case "lifespan.shutdown.complete" | "lifespan.shutdown.failed" if self._started.done() and (
                not self._stopped.done()
            ):
                self._stopped.set_result(failure)
            case _:
                raise RuntimeError(f"ASGI lifespan: unexpected message {kind!r}")

    def _ended_early(self, task: asyncio.Task[None]) -> None:
        """The application returned or raised before it answered: to "auto" that means it has no lifespan."""
        error = None if task.cancelled() else task.exception()
        traceback = None if error is None else format_traceback(error, below=__file__)
        if self._mode == "on":
            raise AppError("application does not support lifespan, which --lifespan on demands", traceback)
        if self._asked and error is not None:
            self._log.warning("Application raised in lifespan start-up, served without lifespan", traceback=traceback)
        else:
            self._log.debug("Application has no lifespan")


def _first_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
