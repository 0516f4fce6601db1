"""What ASGI and WSGI workers have in common: options for the core, access log, heartbeat interval, grace, signals.

Knows no application and no loop.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from types import FrameType

from .. import _core
from ..config import Settings
from ..config.tls import protocol_of
from ..importer import Application
from ..logs import format_traceback
from . import collector
from .context import WorkerContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .tls import ListenersTls

SERVER_NAME = "ferrule"
LONGEST_GRACE = 1e9  # s, for the core; it counts in integers, which have no infinity

ErrorPage = Callable[[BaseException, str, Iterable[tuple[bytes, bytes]]], bytes]

LOST_ARBITER_GRACE = 0.75  # s that a worker without an arbiter takes to finish what is in flight
LOST_ARBITER_DRAIN = 0.05  # s for the core, which keeps idle connections for half of it: requests that are on their way

ACCESS_FIELDS = ("method", "path", "query", "status", "duration_ms", "size", "ip", "user_agent", "referer")
RELOAD_ACCESS_FIELDS = ("method", "url", "status", "duration_ms", "size")


class Worker(ABC):
    """A booted worker. `run` serves until a signal, or the loss of the arbiter, ends it."""

    def __init__(self, context: WorkerContext, application: Application) -> None:
        self.context = context
        self.application = application
        self.settings = context.settings
        self.log = context.log
        self.scoreboard = _scoreboard(context)
        self.access_log = _access_log(context)
        self.protocols = tuple(protocol_of(context.settings, bind) for bind in context.binds)
        self._tls = _listeners_tls(context)
        self._orphaned = False

    @abstractmethod
    def run(self) -> int:
        """Serve. Returns the exit code of the process; 3 when start-up failed (and was reported)."""

    @abstractmethod
    def stop(self, grace: float) -> None:
        """Begin to drain, or shorten a drain that goes on. Called on the main thread."""

    @property
    def heartbeat_interval(self) -> float:
        """Seconds between beats: a few within the time-out, and once a second at most."""
        timeout = self.settings.timeout
        return min(1.0, timeout / 4) if timeout else 1.0

    def grace(self) -> float:
        """Seconds that a drain may take: what the arbiter granted, else the setting; inf without a limit."""
        if os.getppid() != self.context.server.pid:
            self._orphaned = True
            self.log.error("The arbiter is gone, worker leaves")
            return LOST_ARBITER_GRACE
        return self.context.slot.drain_grace() or self.settings.graceful_timeout or float("inf")

    def drain_time(self, remaining: float) -> float:
        """What the core is to count with when `remaining` seconds are left. Without an arbiter there is no point in
        keeping idle connections for long: no other worker will be there for their clients when they are closed."""
        return min(remaining, LOST_ARBITER_DRAIN if self._orphaned else LONGEST_GRACE)

    @property
    def tls(self) -> tuple[_core.TlsConfig | None, ...]:
        """What each listener presents; () where none speaks TLS."""
        return () if self._tls is None else self._tls.configs

    def refresh_tls(self) -> None:
        """Take in certificates that the arbiter has read since. Called with every beat."""
        if self._tls is not None:
            self._tls.refresh()

    def announce(self, **facts: str) -> None:
        """Tell the arbiter, and siblings through the scoreboard, that this worker serves."""
        self.leave_terminal()
        self.settle_collector()
        self.context.slot.ready(time.monotonic_ns())
        self.context.report.ready(interface=self.application.interface, **facts)

    def leave_terminal(self) -> None:
        """As the arbiter of a daemon does once a worker is ready; until then what goes wrong is to be seen."""
        if self.settings.daemon:
            from ..arbiter.process import leave_terminal

            leave_terminal()

    def settle_collector(self) -> None:
        """The application is there: from now on garbage comes from requests."""
        collector.settle()

    def release_listeners(self) -> None:
        """Close the listening sockets: the core serves copies of its own, and once it has closed those, a client must
        be refused instead of waiting for somebody who accepts no more."""
        for fd in self.context.listeners:
            os.close(fd)

    def error_page(self) -> ErrorPage | None:
        """What renders the page of `--debug`; None without it."""
        if not self.settings.debug:
            return None
        from .error_page import error_page

        return error_page

    def report_from_core(self, level: int, message: str, error: BaseException | None) -> None:
        """The core's log callback. What follows the first line of `message` is a stack."""
        message, _, stack = message.partition("\n")
        traceback = (stack or None) if error is None else format_traceback(error).rstrip()
        self.log.write(level, message, traceback=traceback)

    def abort_hook(self) -> None:
        """SIGABRT comes before SIGKILL when this worker is stuck; its hook is the last thing that may run."""
        self.context.hooks.call("worker_abort", self.context.facts(os.getpid()))

    def interrupt_hook(self) -> None:
        self.context.hooks.call("worker_int", self.context.facts(os.getpid()))

    def reopen_logs(self) -> None:
        self.log.reopen()
        if self.access_log is not None and self.settings.access_log_file is not None:
            try:
                self.access_log.reopen()
            except OSError as error:
                self.log.error("Access log cannot be reopened", reason=error.strerror)

    def take_dump_signals(self) -> None:
        """Be ready to say where this worker is stuck."""
        faulthandler.register(signal.SIGUSR2, file=self.log.fd, all_threads=True)
        signal.signal(signal.SIGABRT, self._on_abort)

    def _on_abort(self, number: int, frame: FrameType | None) -> None:
        self.abort_hook()


def core_options(settings: Settings, *, workers: int) -> _core.Options:
    """The settings that the core needs."""
    return _core.Options(
        threads=settings.threads,
        connections=settings.connections,
        limit_concurrency=settings.limit_concurrency,
        keep_alive=settings.keep_alive,
        header_timeout=settings.header_timeout,
        write_timeout=settings.write_timeout,
        body_min_rate=settings.body_min_rate,
        limit_request_line=settings.limit_request_line,
        limit_request_fields=settings.limit_request_fields,
        limit_request_field_size=settings.limit_request_field_size,
        limit_request_head=settings.limit_request_head,
        limit_request_body=settings.limit_request_body,
        body_memory=settings.body_memory,
        body_memory_total=settings.body_memory_total,
        request_timeout=settings.request_timeout,
        cancel_on_disconnect=settings.cancel_on_disconnect,
        root_path=settings.root_path,
        server_header=SERVER_NAME if settings.server_header else None,
        date_header=settings.date_header,
        headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in settings.header],
        sendfile=settings.sendfile,
        multiprocess=workers > 1,
        health_path=settings.health_path,
        ready_path=settings.ready_path,
        http=settings.http,
        h2_max_streams=settings.h2_max_streams,
        h2_window=settings.h2_window,
        h2_connection_window=settings.h2_connection_window,
        h2_max_frame_size=settings.h2_max_frame_size,
        h2_max_header_list=settings.h2_max_header_list,
    )


def _scoreboard(context: WorkerContext) -> _core.Scoreboard:
    slot = context.slot
    wrong = slot.board.mismatches(_core.SCOREBOARD_LAYOUT, _core.SCOREBOARD_VERSION)
    if wrong:
        raise RuntimeError(f"the core and the process manager are of different versions (scoreboard: {wrong[0]})")
    return _core.Scoreboard(slot.board.memory, slot.number, slot.board.slots)


def _listeners_tls(context: WorkerContext) -> ListenersTls | None:
    if context.certificates is None:
        return None
    from .tls import ListenersTls  # not at the top: what it imports costs the start of those that do without

    return ListenersTls(context.settings, context.binds, context.certificates, context.log)


def _access_log(context: WorkerContext) -> _core.AccessLog | None:
    settings = context.settings
    if not settings.access_log or (settings.daemon and settings.access_log_file is None):
        return None  # a daemon has no standard output
    fields = settings.access_log_fields or (RELOAD_ACCESS_FIELDS if settings.reload else ACCESS_FIELDS)
    return _core.AccessLog(
        context.access_fd,
        path=settings.access_log_file,
        format=settings.access_log_format,
        fields=fields,
        worker=context.worker_id,
    )
