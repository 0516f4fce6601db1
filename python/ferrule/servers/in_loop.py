"""Ferrule without its process manager: one worker inside an event loop that a program runs itself.

An ASGI application is served by that loop, a WSGI application by threads beside it. Signals, exit codes and the process
stay the program's; settings that are about processes are not honoured, and named.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence

from ..arbiter.certificates import Certificates
from ..arbiter.listeners import Listener, open_listeners
from ..arbiter.process import close_access_log, open_access_log, resolve_identity
from ..arbiter.scoreboard import Scoreboard
from ..config.hooks import NO_HOOKS, ServerFacts
from ..config.tls import speaks_tls
from ..errors import AppError, ConfigError
from ..importer import Application
from ..logs import Log
from ..tls import Material, check
from ..worker.asgi import AsgiWorker
from ..worker.context import WorkerContext
from ..worker.report import ReportWriter
from ..worker.worker import Worker
from ..worker.wsgi import WsgiWorker
from .ports import ServerConfig

OF_PROCESSES = (
    *("workers", "preload", "timeout", "drain_delay", "recycle_grace", "worker_boot_timeout", "min_worker_lifetime"),
    *("max_requests", "max_requests_jitter", "max_worker_memory", "worker_lifetime", "control_socket", "pid", "umask"),
    *("daemon", "proc_name", "reload", "reload_dir", "reload_include", "reload_exclude", "loop"),
)
"""Settings that mean nothing where there is one process, which is not ours."""

_SLOT = 0


class InLoopServer:
    """One call of `serve`. `board` has its counters; `on_listening` is told the port of the first address once it is
    bound, 0 for a unix socket."""

    def __init__(self, application: Application, config: ServerConfig, on_listening: Callable[[int], None]) -> None:
        """Raises `ConfigError` for settings that it would be unsafe to go on without."""
        self.board = Scoreboard(1)
        self.board.close()  # nobody else is to map it
        self._on_listening = on_listening
        self._application = application
        self._config = config
        self._worker: LoopWorker | ThreadsWorker | None = None
        self._told_to_stop = False
        _check(config)

    async def serve(self) -> None:
        """Serve until `shutdown`, or until the task is cancelled, which cuts off what is in flight.

        Raises `AppError` when the application does not start, `BindError` and `ConfigError`.
        """
        with _prepared(self._config, self.board) as (context, certificates, listeners):
            self._on_listening(listeners[0].port)
            kind = LoopWorker if self._application.interface == "asgi" else ThreadsWorker
            worker = self._worker = kind(context, self._application, certificates, listeners)
            serving = worker.start()
            if self._told_to_stop:
                worker.stop_soon()
            try:
                await asyncio.shield(serving)
            except asyncio.CancelledError:
                worker.stop_soon(0.0)
                await serving
                raise
            finally:
                self._worker = None
            if worker.told.failure is not None:
                raise worker.told.failure

    def shutdown(self) -> None:
        """Stop gracefully, as the settings say. From any thread."""
        self._told_to_stop = True
        worker = self._worker
        if worker is not None:
            worker.stop_soon()


class Report(ReportWriter):
    """What an arbiter would be told."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.failure: AppError | None = None

    def ready(self, **facts: str) -> None:
        self._log.info("Ready", pid=os.getpid(), **facts)

    def failed(self, message: str, traceback: str | None) -> None:
        self.failure = AppError(message, traceback)

    def unwanted(self, cause: str) -> None:
        """A thread is stuck, which the log has; its successor serves, and there is no process to replace."""


class LoopCertificates(Certificates):
    """Checked here: the core is loaded in this process, and a program with threads is better not forked."""

    def _check(self, material: Material) -> list[float]:
        return check(self._settings, self._files, material)


class _InProgram(Worker):
    """A worker in a process that is not its own: no arbiter to watch, no signals to take."""

    def __init__(
        self,
        context: WorkerContext,
        application: Application,
        certificates: LoopCertificates | None,
        listeners: Sequence[Listener],
    ) -> None:
        super().__init__(context, application)
        assert isinstance(context.report, Report)
        self.told = context.report
        self.program_loop = asyncio.get_running_loop()
        self._certificates = certificates
        self._listeners = listeners

    @abstractmethod
    def start(self) -> asyncio.Future[int]:
        """Serve; done when that is over."""

    @abstractmethod
    def stop_soon(self, grace: float | None = None) -> None:
        """As `stop`, from any thread, within what the settings grant (None)."""

    def grace(self) -> float:
        """As the settings say: nobody else has a say in it."""
        return self.settings.graceful_timeout or float("inf")

    def leave_terminal(self) -> None:
        """It is the program's."""

    def settle_collector(self) -> None:
        """It is the program's."""

    def release_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()

    def refresh_tls(self) -> None:
        if self._certificates is not None and self._certificates.look(self.log) and self._tls is not None:
            self._tls.replace(self._certificates.feed.material)

    def take_dump_signals(self) -> None:
        """They are the program's, like all others."""


class LoopWorker(_InProgram, AsgiWorker):
    """ASGI, on the program's loop."""

    def start(self) -> asyncio.Future[int]:
        return self.program_loop.create_task(self.serve(), name="ferrule-serve")

    def stop_soon(self, grace: float | None = None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing is left to stop
            self.program_loop.call_soon_threadsafe(self.stop, self.grace() if grace is None else grace)

    def _about_loop(self) -> dict[str, str]:
        return {"loop": loop_name(self.program_loop)}

    def _take_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        """They are the program's."""


class ThreadsWorker(_InProgram, WsgiWorker):
    """WSGI, on threads beside the program's loop."""

    def start(self) -> asyncio.Future[int]:
        self._over: asyncio.Future[int] = self.program_loop.create_future()
        threading.Thread(target=self._run_beside, name="ferrule-main", daemon=True).start()
        return self._over

    def stop_soon(self, grace: float | None = None) -> None:
        self.stop(self.grace() if grace is None else grace)
        self.wake()

    def _run_beside(self) -> None:
        code, failure = 0, None
        try:
            code = self.run()
        except BaseException as error:
            failure = error
        self.close()
        with contextlib.suppress(RuntimeError):  # the loop was closed without waiting for this
            self.program_loop.call_soon_threadsafe(self._settle, code, failure)

    def _settle(self, code: int, failure: BaseException | None) -> None:
        if self._over.done():
            return
        if failure is None:
            self._over.set_result(code)
        else:
            self._over.set_exception(failure)

    def _take_signals(self) -> None:
        """They are the program's."""

    def leave_busy(self) -> None:
        """The threads are daemons: they end with the process, which is the program's to end."""
        self.log.warning("Application threads are still busy")


def _check(config: ServerConfig) -> None:
    """Raises `ConfigError` where going on without a setting would be unsafe; warns of the others."""
    given, settings = config.given, config.settings
    for name in ("user", "group"):
        if name in given:
            raise ConfigError(f"{given[name]}: inside an event loop the process keeps its user and group")
    left = [
        where for name, where in given.items() if name in OF_PROCESSES and (name != "workers" or settings.workers > 1)
    ]
    if left:
        names = ", ".join(dict.fromkeys(left))
        config.log.warning(f"Inside an event loop there are no processes to manage: {names} not honoured")


@contextlib.contextmanager
def _prepared(
    config: ServerConfig, board: Scoreboard
) -> Iterator[tuple[WorkerContext, LoopCertificates | None, list[Listener]]]:
    """What a worker is otherwise forked with. Certificates first, as in the arbiter."""
    settings, log = config.settings, config.log
    certificates = None
    if any(speaks_tls(settings, bind) for bind in settings.bind):
        certificates = LoopCertificates(settings, config.loaded.origins, config.directory, _nothing_to_leave, log)
    identity = resolve_identity(None, None)
    access_fd = open_access_log(settings, identity)
    listeners = open_listeners(settings.bind, settings.backlog)
    try:
        urls = tuple(listener.url(tls=speaks_tls(settings, listener.bind)) for listener in listeners)
        for url in urls:
            log.info("Listening", url=url)
        board.occupy(_SLOT, worker_id=1, generation=1, now_ns=time.monotonic_ns(), max_requests=0)
        slot = board.slot(_SLOT)
        slot.booted(os.getpid(), settings.threads)
        yield (
            WorkerContext(
                settings=settings,
                variables=config.loaded.variables,
                hooks=NO_HOOKS,
                server=ServerFacts(os.getpid(), settings, log, urls, 1),
                worker_id=1,
                generation=1,
                workers=1,
                slot=slot,
                listeners=tuple(listener.socket.fileno() for listener in listeners),
                binds=settings.bind,
                certificates=None if certificates is None else certificates.feed,
                report=Report(log),
                lifeline=-1,
                access_fd=access_fd,
                log=log,
                identity=identity,
            ),
            certificates,
            listeners,
        )
    finally:
        for listener in listeners:
            listener.close()
            listener.remove_file()
        close_access_log(access_fd)


def loop_name(loop: asyncio.AbstractEventLoop) -> str:
    """The package that a loop comes from: asyncio, uvloop."""
    return type(loop).__module__.partition(".")[0]


def _nothing_to_leave() -> None:
    """No child is made."""
