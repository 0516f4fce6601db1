"""Signals of the arbiter: handlers only enqueue, the arbiter's loop acts.

Knows nothing of what a signal means.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

HANDLED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGCHLD,
)
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Interrupted(BaseException):
    """Raised wherever the start has got to by a signal that stops it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name = signal.Signals(number).name


class SignalQueue:
    """Received signals in order, and a descriptor that is readable while there are any."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._previous: dict[int, signal._HANDLER] = {}
        self._previous_fd = -1

    def install_for_start(self) -> None:
        """Take over the handled signals; until `install`, those that stop the server raise `Interrupted`, because a
        start may take long without coming back to any loop. Main thread only."""
        self._previous_fd = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in HANDLED:
            handler = _interrupt if number in STOPPING else _enqueued_by_the_interpreter
            self._previous[number] = signal.signal(number, handler)

    def install(self) -> None:
        """From now on only enqueue, whatever an application that was imported meanwhile has made of the handlers."""
        for number in HANDLED:
            signal.signal(number, _enqueued_by_the_interpreter)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def fileno(self) -> int:
        return self._reader

    def take(self) -> list[signal.Signals]:
        """The signals received since the last call; several SIGCHLD count as one."""
        try:
            received = os.read(self._reader, 4096)
        except BlockingIOError:
            return []
        known = [signal.Signals(number) for number in received if number in HANDLED]
        return [number for i, number in enumerate(known) if number != signal.SIGCHLD or number not in known[:i]]

    def restore(self) -> None:
        """Give the signals back to whoever had them."""
        if not self._previous:
            self.close()
            return
        for number, handler in self._previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._previous.clear()
        signal.set_wakeup_fd(self._previous_fd)
        self.close()

    def leave_in_child(self) -> None:
        """After fork: default actions again, and none of the arbiter's descriptors."""
        signal.set_wakeup_fd(-1)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL)
        self.close()

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


def _enqueued_by_the_interpreter(number: int, frame: FrameType | None) -> None:
    """The number is in the pipe already; a Python handler must exist for that to happen."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)
