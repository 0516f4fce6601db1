"""Listening sockets: made, inherited, handed on, and their socket files kept tidy.

A stale unix socket file is replaced; one that somebody listens on is never taken. Knows nothing of workers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Sequence

from ..config import Bind
from ..config.binds import FD, TCP, UNIX, format_tcp
from ..errors import BindError


class Listener:
    """A bound, listening, non-blocking socket. `inode` identifies the socket file that it made, if it made one."""

    def __init__(self, bind: Bind, socket: socket.socket, inode: tuple[int, int] | None = None) -> None:
        self.bind = bind
        self.socket = socket
        self.inode = inode
        self._name = socket.getsockname()  # remembered: a worker detaches the socket

    def url(self, *, tls: bool = False) -> str:
        """How a person reaches it: a URL, or `unix:PATH`."""
        name = self._name
        if self.socket.family == socket.AF_UNIX:
            return f"unix:{name if isinstance(name, str) else '@' + name[1:].decode(errors='replace')}"
        return f"{'https' if tls else 'http'}://{format_tcp(*name[:2])}"

    @property
    def port(self) -> int:
        """The port that it has, which may have been chosen by the system; 0 for a unix socket."""
        return 0 if self.socket.family == socket.AF_UNIX else int(self._name[1])

    def close(self) -> None:
        self.socket.close()

    def remove_file(self) -> None:
        """Remove the socket file, unless somebody else has put their own in its place."""
        if self.inode is None:
            return
        with contextlib.suppress(OSError):
            found = os.lstat(self.bind.path)
            if (found.st_dev, found.st_ino) == self.inode:
                os.unlink(self.bind.path)
        self.inode = None


def open_listeners(binds: Sequence[Bind], backlog: int) -> list[Listener]:
    """Listen on every address, or on none. Raises `BindError`."""
    opened: list[Listener] = []
    try:
        for bind in binds:
            listener = open_listener(bind, backlog, v6_only=_has_v4_twin(bind, binds))
            opened.append(listener)
    except BaseException:
        for listener in opened:
            listener.close()
            listener.remove_file()
        raise
    return opened


def open_listener(bind: Bind, backlog: int, *, v6_only: bool = False) -> Listener:
    """Listen on one address. Raises `BindError`."""
    try:
        if bind.family == UNIX:
            return _open_unix(bind, backlog)
        if bind.family == FD:
            return adopt(bind, bind.fd)
        return Listener(bind, _open_tcp(bind, backlog, v6_only))
    except OSError as error:
        raise BindError(f"cannot listen on {bind}: {_reason(error)}") from None


def reserve(bind: Bind) -> socket.socket:
    """Take a TCP address without listening, so that only those can listen on it who share it (SO_REUSEPORT): servers
    whose processes bind for themselves. Raises `BindError`."""
    held: socket.socket | None = None
    try:
        family, address = _resolve(bind)
        held = socket.socket(family, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except OSError as error:
        if held is not None:
            held.close()
        raise BindError(f"cannot listen on {bind}: {_reason(error)}") from None
    return held


def adopt(bind: Bind, fd: int) -> Listener:
    """Take over a descriptor that was inherited. Raises `BindError` when it is no listening stream socket."""
    try:
        inherited = socket.socket(fileno=fd)
    except OSError as error:
        raise BindError(f"cannot listen on {bind}: descriptor {fd}: {_reason(error)}") from None
    is_stream = inherited.type == socket.SOCK_STREAM
    if not is_stream or not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        inherited.detach()
        raise BindError(f"cannot listen on {bind}: descriptor {fd} is not a listening stream socket")
    inherited.setblocking(False)
    inherited.set_inheritable(False)
    return Listener(bind, inherited)


def _has_v4_twin(bind: Bind, binds: Sequence[Bind]) -> bool:
    """`[::]:80` takes IPv4 too, as elsewhere, unless the same port is bound for IPv4 by name."""
    return bind.family == TCP and any(
        other.family == TCP and other.port == bind.port and other.host and ":" not in other.host for other in binds
    )


def _open_tcp(bind: Bind, backlog: int, v6_only: bool) -> socket.socket:
    family, address = _resolve(bind)
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6_only))
        listening.bind(address)
        listening.listen(backlog)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _resolve(bind: Bind) -> tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]:
    # Only a str goes through the IDNA codec, whose tables cost a millisecond of the start.
    host = bind.host.encode() if bind.host.isascii() else bind.host
    found = socket.getaddrinfo(host, bind.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name like localhost has both; IPv4 is what clients of such names expect to be answered.
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, address  # type: ignore[return-value]


def _open_unix(bind: Bind, backlog: int) -> Listener:
    clear_stale_file(bind)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The mode has to be right from the first moment, so it is the umask that sets it.
        umask = None if bind.mode is None else os.umask(0o777 & ~bind.mode)
        try:
            listening.bind(bind.path)
        finally:
            if umask is not None:
                os.umask(umask)
        made = os.lstat(bind.path)
        listening.listen(backlog)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return Listener(bind, listening, (made.st_dev, made.st_ino))


def clear_stale_file(bind: Bind) -> None:
    """Remove a socket file that nobody listens on. Raises `BindError` when somebody does, or it is no socket."""
    try:
        found = os.lstat(bind.path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise BindError(f"cannot listen on {bind}: the file exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        result = probe.connect_ex(bind.path)
    if result == errno.ECONNREFUSED:
        os.unlink(bind.path)
    elif result != errno.ENOENT:
        raise BindError(f"cannot listen on {bind}: another process listens on it")


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the address is in use"
        case errno.EACCES:
            return "permission denied"
        case errno.EADDRNOTAVAIL:
            return "no interface of this machine has the address"
        case errno.EBADF:
            return "no such open descriptor"
    return error.strerror or str(error)
