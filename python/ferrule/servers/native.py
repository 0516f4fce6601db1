"""Ferrule itself: the arbiter and its workers, or one worker inside an event loop, behind the same port as the others.

Imports the arbiter, and the native core only inside an event loop.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from .. import __version__
from ..arbiter.arbiter import Arbiter, worker_count
from ..arbiter.workers import Forked
from .facts import ServerConfig, ServerInfo, ServerStats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..arbiter.scoreboard import Scoreboard
    from ..config import Settings
    from ..importer import Application


class NativeServer:
    """Worker processes of an arbiter, which is this process."""

    name = "native"

    def __init__(self) -> None:
        self._info = ServerInfo(self.name, __version__)
        self._began: float | None = None
        self._board: Scoreboard | None = None
        self._stop: Callable[[], None] | None = None

    @property
    def server_info(self) -> ServerInfo:
        return self._info

    @property
    def stats(self) -> ServerStats | None:
        if self._began is None or self._board is None:
            return None
        board = self._board
        return ServerStats(time.monotonic() - self._began, board.total("requests"), board.total("connections"))

    def check(self, config: ServerConfig) -> None:
        """Every setting is its own."""

    def serve(self, app: str | Callable[..., Any], config: ServerConfig) -> int:
        """As `ApplicationServerPort.serve`. In worker processes it does not return: they leave through `SystemExit`."""
        application: Application | None = None
        if callable(app):
            config, application = _with_object(config, app)
        try:
            arbiter = Arbiter(
                config.read, config.directory, loaded=config.loaded, log=config.log, application=application
            )
            self._begin(config.settings, worker_count(config.settings), config.settings.loop, arbiter.board)
            self._stop = _terminate
            return arbiter.run()
        except Forked as forked:
            context = forked.context
            forked.__traceback__ = None  # the arbiter's frames are none of the worker's business
        finally:
            self._began = self._stop = None

        from ..worker.entry import run as run_worker

        raise SystemExit(run_worker(context))

    async def serve_async(self, app: str | Callable[..., Any], config: ServerConfig) -> None:
        """As `ApplicationServerPort.serve_async`: one worker in this process, a WSGI application on threads of it."""
        import asyncio  # not at the top: the arbiter does without it

        from ..importer import enter_app_dir, load_app
        from .in_loop import InLoopServer, loop_name

        if callable(app):
            config, application = _with_object(config, app)
        else:
            enter_app_dir(config.settings)
            application = load_app(config.settings)
        server = InLoopServer(application, config, self._listens_on)
        self._begin(config.settings, 1, loop_name(asyncio.get_running_loop()), server.board)
        self._stop = server.shutdown
        try:
            await server.serve()
        finally:
            self._began = self._stop = None

    def shutdown(self) -> None:
        stop = self._stop
        if stop is not None:
            stop()

    def _listens_on(self, port: int) -> None:
        self._info = self._info._replace(port=port)

    def _begin(self, settings: Settings, workers: int, loop: str, board: Scoreboard) -> None:
        bind = settings.bind[0]
        self._info = self._info._replace(
            workers=workers,
            event_loop=loop,
            http_protocol=settings.http,
            host=bind.path or bind.host,
            port=bind.port,
        )
        self._board = board
        self._began = time.monotonic()


def _with_object(config: ServerConfig, app: Callable[..., Any]) -> tuple[ServerConfig, Application]:
    """An application that nobody has to import, and the settings with its name."""
    from ..importer import as_application

    name = getattr(app, "__qualname__", type(app).__name__)
    loaded = config.loaded._replace(settings=config.settings.replace(app=name))
    return config._replace(loaded=loaded), as_application(app, name, config.settings, False)


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
