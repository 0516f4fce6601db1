"""The control socket: one line in, one line out, for whoever may open the socket file (mode 0600).

Reads and writes without blocking inside the arbiter's loop; what a command does is the arbiter's business.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

from ..config import Bind
from ..config.binds import UNIX
from ..errors import BindError
from .listeners import Listener, open_listener

LONGEST_COMMAND = 256  # bytes
PATIENCE = 5.0  # s that a client may take for its line
MOST_CLIENTS = 16
BACKLOG = 64  # clients that wait for a place
ACCEPT_RETRY = 1.0  # s until an accept that failed is tried again


class ControlSocket:
    """Serves commands on a unix socket. `execute` gets a command's words and returns the answer's line."""

    def __init__(self, path: str, execute: Callable[[list[str]], str]) -> None:
        """Raises `BindError`."""
        bind = Bind(f"unix:{path}", UNIX, path=path, mode=0o600)
        try:
            self._listener: Listener = open_listener(bind, BACKLOG)
        except BindError as error:
            raise BindError(f"--control-socket: {error}") from None
        self._execute = execute
        self._clients: dict[socket.socket, tuple[bytes, float]] = {}
        self._accept_again = 0.0

    def descriptors(self) -> list[int]:
        """What the arbiter's loop should wait for: the listener only while there is something to be done about it."""
        clients = [client.fileno() for client in self._clients]
        return [self._listener.socket.fileno(), *clients] if self._can_accept() else clients

    @property
    def wake(self) -> float:
        """When something is to be done although nothing has arrived (monotonic)."""
        deadlines = [deadline for _, deadline in self._clients.values()]
        if self._accept_again > time.monotonic():
            deadlines.append(self._accept_again)
        return min(deadlines, default=float("inf"))

    def serve(self) -> None:
        """Take in whatever has arrived."""
        for client, (received, deadline) in list(self._clients.items()):
            self._hear(client, received, deadline)
        for _ in range(MOST_CLIENTS - len(self._clients)):
            try:
                client, _ = self._listener.socket.accept()
            except BlockingIOError:
                break
            except OSError:  # out of descriptors: the listener stays readable
                self._accept_again = time.monotonic() + ACCEPT_RETRY
                break
            client.setblocking(False)
            deadline = time.monotonic() + PATIENCE
            self._clients[client] = (b"", deadline)
            self._hear(client, b"", deadline)

    def _can_accept(self) -> bool:
        return len(self._clients) < MOST_CLIENTS and time.monotonic() >= self._accept_again

    def _hear(self, client: socket.socket, received: bytes, deadline: float) -> None:
        try:
            chunk = client.recv(LONGEST_COMMAND)
        except BlockingIOError:
            chunk = None
        except OSError:
            chunk = b""
        line = received + (chunk or b"")
        if b"\n" in line or len(line) >= LONGEST_COMMAND or (chunk == b"" and line):
            words = line.partition(b"\n")[0].decode(errors="replace").split()
            # The answer fits any socket buffer; a client that does not read it loses it.
            with contextlib.suppress(OSError):
                client.send((self._execute(words) + "\n").encode())
            self._drop(client)
        elif chunk == b"" or time.monotonic() >= deadline:
            self._drop(client)
        else:
            self._clients[client] = (line, deadline)

    def leave_in_child(self) -> None:
        """After fork: the worker has no part in this."""
        for client in self._clients:
            client.close()
        self._listener.close()

    def close(self) -> None:
        self.leave_in_child()
        self._listener.remove_file()

    def _drop(self, client: socket.socket) -> None:
        del self._clients[client]
        client.close()
