"""The WSGI worker: application threads that run the core's serve loop, one thread that only does I/O, and the main
thread, which has signals and the heartbeat and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from types import FrameType

from .. import _core
from ..errors import EXIT_OK
from ..importer import Application
from .context import WorkerContext
from .worker import Worker, core_options

DRAIN_POLL = 0.02  # s between looks at whether everything in flight is done
JOIN_LIMIT = 0.5  # s for threads to notice that they are to end
ALONE_LIMIT = 30.0  # s for threads whose clients have all gone; no time-out of a request ends these


class WsgiWorker(Worker):
    """Serves a WSGI application (PEP 3333)."""

    def __init__(self, context: WorkerContext, application: Application) -> None:
        super().__init__(context, application)
        self._draining = threading.Event()
        self._deadline: float | None = None
        self._pending: list[int] = []
        self._threads: list[threading.Thread] = []
        self._wakeup, writer = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(writer, False)
        self._wakeup_writer = writer

    def run(self) -> int:
        server = _core.WsgiServer(
            self.application.call,
            core_options(self.settings, workers=self.context.workers),
            listeners=self.context.listeners,
            tls=self.tls,
            protocols=self.protocols,
            log=self.report_from_core,
            error_page=self.error_page(),
            access_log=self.access_log,
            scoreboard=self.scoreboard,
            draining=self._draining,
            wakeup=self._wakeup_writer,
        )
        self.release_listeners()
        self._take_signals()
        self.take_dump_signals()
        for _ in range(self.settings.threads):
            self._start_thread(server)
        self._start(threading.Thread(target=server.io_loop, name="ferrule-io", daemon=True))
        server.start()
        self.scoreboard.beat()
        self.announce(threads=str(self.settings.threads))
        self._watch(server)
        self._drain(server)
        server.abort()
        server.stop()
        return self._finish()

    def _start_thread(self, server: _core.WsgiServer) -> None:
        number = len(self._threads) + 1
        self._start(threading.Thread(target=server.serve, name=f"ferrule-app-{number}", daemon=True))

    def _start(self, thread: threading.Thread) -> None:
        self._threads.append(thread)
        thread.start()

    def stop(self, grace: float) -> None:
        deadline = time.monotonic() + grace
        self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)

    def _watch(self, server: _core.WsgiServer) -> None:
        while self._deadline is None:
            self._wait(self.heartbeat_interval)
            self._beat(server)
            self._replace_stuck(server)

    def _drain(self, server: _core.WsgiServer) -> None:
        assert self._deadline is not None  # draining began with a stop
        self.context.slot.draining()
        server.drain(self.drain_time(self._deadline - time.monotonic()))
        self._draining.set()  # afterwards: a response that this brings about says that it is the last
        alone_since: float | None = None
        while (now := time.monotonic()) < self._deadline:
            if not server.is_idle():
                alone_since = None
            elif not server.is_busy():
                break
            elif alone_since is None:
                alone_since = now
            elif now - alone_since > ALONE_LIMIT:
                break
            self._wait(DRAIN_POLL)
            self._beat(server)
            self._replace_stuck(server)
        if left := server.in_flight():
            self.log.warning("Requests cut off at the end of the grace", in_flight=left)

    def _replace_stuck(self, server: _core.WsgiServer) -> None:
        """A request ran out of time: say where its thread is, give it a successor, and have this worker replaced,
        because a thread cannot be ended from outside."""
        abandoned = server.abandoned()
        if abandoned:
            from .stacks import thread_stack  # not at the top: few workers need it, and it costs the start of all
        for ident, request in abandoned:
            self.log.error(f"Request timed out, its thread is stuck {request}", traceback=thread_stack(ident))
            self._start_thread(server)
            self.context.report.unwanted("request-timeout")

    def _finish(self) -> int:
        limit = time.monotonic() + JOIN_LIMIT
        for thread in self._threads:
            thread.join(max(0.0, limit - time.monotonic()))
        if self.access_log is not None:
            self.access_log.flush()
        if any(thread.is_alive() for thread in self._threads):
            self.leave_busy()
        return EXIT_OK

    def leave_busy(self) -> None:
        """End the process: a thread that is still inside the application would run into a dying interpreter."""
        self.log.warning("Worker leaves while application threads are still busy")
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(EXIT_OK)

    def wake(self) -> None:
        """Have the main thread look whether it is to stop. From any thread."""
        with contextlib.suppress(OSError):  # full: it will look; closed: it has stopped
            os.write(self._wakeup_writer, b"\0")

    def close(self) -> None:
        """Give back the descriptors, for a process that goes on."""
        os.close(self._wakeup)
        os.close(self._wakeup_writer)

    def _beat(self, server: _core.WsgiServer) -> None:
        """Every thread stuck in the application counts as no progress, for as long as it has lasted."""
        server.report()
        self.refresh_tls()
        stuck = server.stuck_for()
        if stuck:
            self.context.slot.progress(time.monotonic_ns() - int(stuck * 1e9))
        else:
            self.scoreboard.beat()

    def _wait(self, timeout: float) -> None:
        """Sleep until a signal comes or the time is over; act on signals."""
        poller = select.poll()
        poller.register(self._wakeup, select.POLLIN)
        if poller.poll(timeout * 1000):
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakeup, 4096)
        while self._pending:
            self._act(self._pending.pop(0))

    def _act(self, number: int) -> None:
        match number:
            case signal.SIGTERM:
                self.stop(self.grace())
            case signal.SIGINT | signal.SIGQUIT:
                self.interrupt_hook()
                self.stop(0.0)
            case signal.SIGUSR1:
                self.reopen_logs()

    def _take_signals(self) -> None:
        signal.set_wakeup_fd(self._wakeup_writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1):
            signal.signal(number, self._enqueue)
        for number in (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH):
            signal.signal(number, signal.SIG_IGN)  # the arbiter's business, even when sent to the whole group

    def _enqueue(self, number: int, frame: FrameType | None) -> None:
        self._pending.append(number)
