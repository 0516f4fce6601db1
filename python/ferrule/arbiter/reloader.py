"""The arbiter's handle on the process that watches files for `--reload`."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from ..config import Settings
from ..logs import Log
from .process import fork_with_pipe


class Reloader:
    """Starts the watching child. `leave_in_child` gives up the arbiter's descriptors in it."""

    def __init__(self, settings: Settings, lifeline: int, leave_in_child: Callable[[], None], log: Log) -> None:
        from . import watcher

        roots = [os.path.realpath(root) for root in settings.reload_dir or (settings.app_dir or os.getcwd(),)]
        chosen = watcher.Filter(settings.reload_include, settings.reload_exclude)
        # Looked at before any worker loads the application: what is saved while it starts is a change.
        before = watcher.snapshot(roots, chosen)
        self._pid, self._pipe, mask = fork_with_pipe()
        if self._pid == 0:
            try:
                leave_in_child()
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                watcher.run(roots, chosen, self._pipe, lifeline, before, log)
            except BaseException:
                log.exception("Watching files failed")
            finally:
                os._exit(0)
        os.set_blocking(self._pipe, False)

    def fileno(self) -> int:
        return self._pipe

    def changed(self) -> str | None:
        """The path of a file that has changed since the last call, or None. Raises `EOFError` once nobody watches."""
        try:
            lines = os.read(self._pipe, 65536).decode(errors="replace").splitlines()
        except BlockingIOError:
            return None
        if not lines:
            raise EOFError
        return lines[0]

    def close(self) -> None:
        """Let go of a child that has ended, or in a process that is not its parent."""
        os.close(self._pipe)

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        self.close()
