"""Binary upgrade (USR2): a new generation of the server on the same sockets, beside this one.

The new process is a child that inherits the listening sockets and a pipe on which it says that it is ready. This one
goes on serving until the operator sends it TERM; if the new one fails instead, nothing has happened.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Mapping, MutableMapping, Sequence

from ..config import parse_bind
from ..config.binds import UNIX
from ..records import Record
from .listeners import Listener, adopt
from .process import fork_with_pipe

LISTENERS = "FERRULE_LISTENERS"  # fd=bind, parted by blanks
PREDECESSOR = "FERRULE_PREDECESSOR"  # pid:fd of the readiness pipe


class Successor:
    """The new generation, seen from the old one. `ready_fd` is to be waited for, None once it has said all."""

    def __init__(self, pid: int, ready_fd: int) -> None:
        self.pid = pid
        self.ready_fd: int | None = ready_fd

    def becomes_ready(self) -> bool:
        """Whether it has said so just now (the pipe is read without blocking)."""
        if self.ready_fd is None:
            return False
        try:
            said = os.read(self.ready_fd, 1)
        except BlockingIOError:
            return False
        self.close()  # it would be readable for good: the other end is closed
        return bool(said)

    def close(self) -> None:
        if self.ready_fd is not None:
            os.close(self.ready_fd)
            self.ready_fd = None


class Predecessor(Record):
    """The old generation, seen from the new one. pid 0: there is none."""

    pid: int
    ready_fd: int

    def tell_ready(self) -> None:
        if self.pid:
            with contextlib.suppress(OSError):
                os.write(self.ready_fd, b"\1")
                os.close(self.ready_fd)

    def alive(self) -> bool:
        """It is our parent for as long as it lives."""
        return self.pid != 0 and os.getppid() == self.pid


def start_successor(
    listeners: Sequence[Listener], activated: int, directory: str, environ: Mapping[str, str]
) -> Successor:
    """Start the program again with the arguments it was started with, in the directory it was started in.

    `activated` is how many of the listeners came from socket activation; they are handed on in the same way.
    Raises `OSError` when there can be no further process.
    """
    arguments = [sys.executable, *sys.orig_argv[1:]]
    old, sockets = os.getpid(), [listener.socket.fileno() for listener in listeners]
    handed = "" if activated else " ".join(f"{each.socket.fileno()}={each.bind}" for each in listeners)
    pid, pipe, mask = fork_with_pipe()
    if pid == 0:
        try:
            environment = {**environ, LISTENERS: handed, PREDECESSOR: f"{old}:{pipe}"}
            for descriptor in (pipe, *sockets):
                os.set_inheritable(descriptor, True)
            os.chdir(directory)
            if activated:
                environment |= {"LISTEN_FDS": str(activated), "LISTEN_PID": str(os.getpid())}
            signal.set_wakeup_fd(-1)
            for number in signal.valid_signals():
                if signal.getsignal(number) not in (signal.SIG_DFL, signal.SIG_IGN, None):
                    signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.execve(sys.executable, arguments, environment)
        except OSError:
            os._exit(127)
    os.set_blocking(pipe, False)
    return Successor(pid, pipe)


def take_over(environ: MutableMapping[str, str]) -> tuple[Predecessor, list[Listener]]:
    """In a new generation: the old one and the sockets it hands on. Takes the variables out of `environ`."""
    handed, old = environ.pop(LISTENERS, ""), environ.pop(PREDECESSOR, "")
    pid, _, fd = old.partition(":")
    if not pid.isdigit() or not fd.isdigit() or os.getppid() != int(pid):
        return Predecessor(0, -1), []
    os.set_inheritable(int(fd), False)
    listeners = []
    for item in handed.split():
        descriptor, _, text = item.partition("=")
        listener = adopt(parse_bind(text), int(descriptor))
        if listener.bind.family == UNIX:
            with contextlib.suppress(OSError):
                found = os.lstat(listener.bind.path)
                listener.inode = (found.st_dev, found.st_ino)
        listeners.append(listener)
    return Predecessor(int(pid), int(fd)), listeners
