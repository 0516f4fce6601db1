"""The ASGI worker: an event loop with the core's reactor inside, and the application's lifespan around it.

Everything here runs on the loop's thread, which is the main thread.
"""

from __future__ import annotations

import asyncio
import os
import signal

from .. import _core
from ..errors import EXIT_BOOT, EXIT_OK, AppError
from ..importer import Application
from ..loops import choose_event_loop
from .context import WorkerContext
from .lifespan import Lifespan
from .stacks import task_stack
from .worker import Worker, core_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXTENSIONS: dict[str, dict[str, Any]] = {
    "http.response.early_hint": {},
    "http.response.pathsend": {},
    "http.response.trailers": {},
    "http.response.zerocopysend": {},
}
"""What the core does beyond the base of the ASGI HTTP specification."""

DRAIN_POLL = 0.02  # s between looks at whether everything in flight is done
QUICK_SHUTDOWN = 1.0  # s for the application's shutdown when there is no grace


class AsgiWorker(Worker):
    """Serves an ASGI 3 application."""

    def __init__(self, context: WorkerContext, application: Application) -> None:
        super().__init__(context, application)
        self._loop_choice = choose_event_loop(self.settings.loop)
        self._deadline: float | None = None  # loop time at which draining ends; None while serving
        self._heart: asyncio.TimerHandle | None = None
        self._stopping = asyncio.Event()
        self._serving = False  # whether there are clients to think of
        self._exit_wanted = False  # whether the arbiter knows that the application wants this process to end
        self._draining = asyncio.Event()  # what the application can see of it

    def run(self) -> int:
        with asyncio.Runner(loop_factory=self._loop_choice.port.new_event_loop) as runner:
            loop = runner.get_loop()
            asyncio.set_event_loop(loop)
            serving, pid = loop.create_task(self.serve()), os.getpid()
            while True:
                try:
                    return loop.run_until_complete(serving)
                except SystemExit:
                    # A task of the application ends the loop with it. The requests beside that task are to be answered.
                    if serving.done() or not self._serving or os.getpid() != pid:
                        raise
                    self.log.exception("Application asked the process to exit, the worker is replaced")
                    if not self._exit_wanted:
                        self._exit_wanted = True
                        self.context.report.unwanted("exit")
                except KeyboardInterrupt:
                    # Also a task of the application, since signals go to the loop: an exception like any other. Who
                    # waits for the task logs it.
                    if serving.done() or not self._serving or os.getpid() != pid:
                        raise

    def stop(self, grace: float) -> None:
        deadline = asyncio.get_running_loop().time() + grace
        self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)
        self._stopping.set()

    async def serve(self) -> int:
        """Serve on the running loop until stopped. Returns as `run`."""
        loop = asyncio.get_running_loop()
        app = self.application.call
        lifespan = Lifespan(app, self.settings.lifespan, self.log)
        try:
            await lifespan.startup()
        except AppError as error:
            self.context.report.failed(str(error), error.traceback)
            return EXIT_BOOT
        server = _core.AsgiServer(
            app,
            core_options(self.settings, workers=self.context.workers),
            loop,
            listeners=self.context.listeners,
            tls=self.tls,
            protocols=self.protocols,
            context=lifespan.context.copy(),
            state=lifespan.state if self.settings.lifespan != "off" else None,
            extensions={**EXTENSIONS, "ferrule.draining": {"event": self._draining}},
            log=self.report_from_core,
            error_page=self.error_page(),
            task_stack=task_stack,
            access_log=self.access_log,
            scoreboard=self.scoreboard,
        )
        self.release_listeners()
        self._take_signals(loop)
        self.take_dump_signals()
        loop.add_reader(server.fileno(), server.poll)
        self._beat(loop)
        server.start()
        self._serving = True
        self.announce(**self._about_loop())
        await self._stopping.wait()
        await self._drain(loop, server)
        await self._finish(loop, server, lifespan)
        return EXIT_OK

    async def _drain(self, loop: asyncio.AbstractEventLoop, server: _core.AsgiServer) -> None:
        self.context.slot.draining()
        assert self._deadline is not None  # draining began with a stop
        server.drain(self.drain_time(self._deadline - loop.time()))
        self._draining.set()  # afterwards: a response that this brings about says that it is the last
        while not server.is_idle() and loop.time() < self._deadline:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(DRAIN_POLL)
        if left := server.in_flight():
            self.log.warning("Requests cut off at the end of the grace", in_flight=left)
        server.abort()

    async def _finish(self, loop: asyncio.AbstractEventLoop, server: _core.AsgiServer, lifespan: Lifespan) -> None:
        assert self._deadline is not None  # draining began with a stop
        remaining = max(self._deadline - loop.time(), QUICK_SHUTDOWN)
        try:
            await asyncio.wait_for(lifespan.shutdown(), None if remaining == float("inf") else remaining)
        except TimeoutError:
            self.log.error("Application did not shut down in time")
        loop.remove_reader(server.fileno())
        server.close()
        if self._heart is not None:
            self._heart.cancel()
        if self.access_log is not None:
            self.access_log.flush()

    def _about_loop(self) -> dict[str, str]:
        port, passed_over = self._loop_choice
        return {"loop": port.name} | ({} if passed_over is None else {"because": passed_over})

    def _take_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.add_signal_handler(signal.SIGTERM, lambda: self.stop(self.grace()))
        loop.add_signal_handler(signal.SIGINT, self._quick)
        loop.add_signal_handler(signal.SIGQUIT, self._quick)
        loop.add_signal_handler(signal.SIGUSR1, self.reopen_logs)
        for number in (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH):
            signal.signal(number, signal.SIG_IGN)  # the arbiter's business, even when sent to the whole group

    def _quick(self) -> None:
        self.interrupt_hook()
        self.stop(0.0)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self.scoreboard.beat()
        self.refresh_tls()
        self._heart = loop.call_later(self.heartbeat_interval, self._beat, loop)
