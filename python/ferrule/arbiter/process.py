"""What makes a process a well-behaved service: pid file, background, privileges, names, descriptor limit.

Knows nothing of workers or sockets' purpose.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import sys

from ..errors import BindError, ConfigError
from ..records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..config import Settings

STDOUT = 1
DESCRIPTORS_BESIDES_CONNECTIONS = 64  # listeners, logs, pipes, and some files of the application


class PidFile:
    """A file with our process id; a stale one is replaced, one of a living process refused."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    def write(self) -> None:
        """Raises `BindError` when another living process has it, or it cannot be written."""
        other = self._read()
        if other is not None and other != os.getpid() and is_alive(other):
            raise BindError(f"--pid: {self.path}: process {other} runs already")
        temporary = f"{self.path}.{os.getpid()}"
        try:
            with open(temporary, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
            os.replace(temporary, self.path)  # nobody ever reads half a number
        except OSError as error:
            raise BindError(f"--pid: cannot write {self.path}: {error.strerror}") from None

    def rename(self, suffix: str) -> None:
        """Make room for the file of a new generation."""
        with contextlib.suppress(OSError):
            os.replace(self.path, self.path + suffix)
        self.path += suffix

    def rename_back(self, suffix: str) -> None:
        plain = self.path.removesuffix(suffix)
        with contextlib.suppress(OSError):
            os.replace(self.path, plain)
        self.path = plain

    def remove(self) -> None:
        """Remove the file if it is still ours."""
        if self._read() == os.getpid():
            with contextlib.suppress(OSError):
                os.unlink(self.path)

    def _read(self) -> int | None:
        try:
            with open(self.path, encoding="ascii") as file:
                return int(file.read(32))
        except (OSError, ValueError):
            return None


class Identity(Record):
    """Whom workers run as; None keeps what the arbiter is."""

    uid: int | None
    gid: int | None
    name: str | None  # of the user, for its supplementary groups

    def take_on(self) -> None:
        """Become it, for good. Group first: afterwards there is no right to."""
        if self.gid is not None:
            if self.name is not None:
                os.initgroups(self.name, self.gid)
            else:
                os.setgroups([self.gid])
            os.setgid(self.gid)
        if self.uid is not None:
            os.setuid(self.uid)

    def give(self, path: str) -> None:
        """Make a file of the arbiter's theirs."""
        if self.uid is not None or self.gid is not None:
            os.chown(path, -1 if self.uid is None else self.uid, -1 if self.gid is None else self.gid)


def resolve_identity(user: str | None, group: str | None) -> Identity:
    """Look up `--user` and `--group`. Raises `ConfigError` when they do not exist or only root could become them."""
    import grp
    import pwd

    uid: int | None = None
    gid: int | None = None
    name: str | None = None
    if user is not None:
        try:
            entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
            uid, gid, name = entry.pw_uid, entry.pw_gid, entry.pw_name
        except KeyError:
            if not user.isdigit():
                raise ConfigError(f"--user: no such user: {user}") from None
            uid = int(user)
    if group is not None:
        try:
            gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        except KeyError:
            raise ConfigError(f"--group: no such group: {group}") from None
    if uid in (None, os.geteuid()) and gid in (None, os.getegid()):
        return Identity(None, None, None)
    if os.geteuid() != 0:
        raise ConfigError(f"--{'user' if user else 'group'}: only root can run workers as somebody else")
    return Identity(uid, gid, name)


def open_access_log(settings: Settings, identity: Identity) -> int:
    """Open the access log; where there is no file for it, that is standard output. Raises `ConfigError`."""
    path = settings.access_log_file
    if not settings.access_log or path is None:
        return STDOUT
    fd: int | None = None
    try:
        # A FIFO that nobody reads is an error then, instead of a server that hangs.
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
        identity.give(path)
    except OSError as error:
        close_access_log(fd)
        reason = "it is a FIFO that nobody reads, or a socket" if error.errno == errno.ENXIO else error.strerror
        raise ConfigError(f"access-log-file: cannot open {path}: {reason}") from None
    return fd


def close_access_log(fd: int | None) -> None:
    """Standard output, which is not only ours, stays open."""
    if fd is not None and fd != STDOUT:
        os.close(fd)


class Background:
    """The channel from a daemon to the command that started it, which waits to report success or failure."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    def succeeded(self) -> None:
        """The server is ready: let the command return 0, and let go of its terminal."""
        if self._fd is None:
            return
        leave_terminal()
        self._tell(self._fd, 0)

    def failed(self, code: int) -> None:
        """The server is not going to be ready: let the command return `code`."""
        if self._fd is not None:
            self._tell(self._fd, code)

    def _tell(self, fd: int, code: int) -> None:
        with contextlib.suppress(OSError):  # it waits no more
            os.write(fd, bytes([code]))
        os.close(fd)
        self._fd = None


def leave_terminal() -> None:
    """Let go of what standard input, output and error are: whoever reads them waits until everybody has."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def go_to_background() -> Background:
    """Detach from the terminal. Returns in the daemon; the command itself waits for the outcome and exits with it.

    The daemon keeps the terminal's output until it is ready, so that a failing start is seen.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os.close(writer)
        outcome = os.read(reader, 1)
        os._exit(outcome[0] if outcome else 1)
    os.close(reader)
    os.setsid()
    if os.fork():
        os._exit(0)  # the session leader goes, so that no terminal can ever be acquired again
    return Background(writer)


def fork_with_pipe() -> tuple[int, int, set[int]]:
    """Fork, with a pipe to the parent: (pid, its reading end, mask), in the child (0, its writing end, mask).

    No signal runs the parent's handlers in the child: all are blocked there until it has reset them and sets `mask`.
    Raises `OSError` and leaves nothing open when the machine is out of processes, memory or descriptors.
    """
    reader, writer = os.pipe()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
    except OSError:
        os.close(reader)
        os.close(writer)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise
    if pid == 0:
        os.close(reader)
        return 0, writer, mask
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(writer)
    return pid, reader, mask


def name_process(title: str, short: str) -> None:
    """Show `title` in ps where the `setproctitle` package is installed, else `short` (15 bytes) as the command name."""
    try:
        setproctitle = importlib.import_module("setproctitle").setproctitle
    except ImportError:
        with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="ascii", errors="replace") as comm:
            comm.write(short[:15])
    else:
        setproctitle(title)


def raise_descriptor_limit(connections: int) -> tuple[int, int] | None:
    """Raise RLIMIT_NOFILE to its hard limit. Returns (limit, needed) when that is too low, else None."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass  # macOS reports a hard limit that it does not grant
    needed = connections + DESCRIPTORS_BESIDES_CONNECTIONS
    return (soft, needed) if soft != resource.RLIM_INFINITY and soft < needed else None


def is_alive(pid: int) -> bool:
    """Whether a process of that id exists, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
