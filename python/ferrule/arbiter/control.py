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
from .listeners import Listener, open_listener

LONGEST_COMMAND = 256  # bytes
PATIENCE = 5.0  # s that a client may take for its line
MOST_CLIENTS = 16


class ControlSocket:
    """Serves commands on a unix socket. `execute` gets a command's words and returns the answer's line."""

    def __init__(self, path: str, execute: Callable[[list[str]], str]) -> None:
        """Raises `BindError`."""
        self._listener: Listener = open_listener(Bind(f"unix:{path}", UNIX, path=path, mode=0o600), 8)
        self._execute = execute
        self._clients: dict[socket.socket, tuple[bytes, float]] = {}

    def descriptors(self) -> list[int]:
        """What the arbiter's loop should wait for."""
        return [self._listener.socket.fileno(), *(client.fileno() for client in self._clients)]

    def serve(self) -> None:
        """Take in whatever has arrived."""
        with contextlib.suppress(OSError):
            while len(self._clients) < MOST_CLIENTS:
                client, _ = self._listener.socket.accept()
                client.setblocking(False)
                self._clients[client] = (b"", time.monotonic() + PATIENCE)
        for client, (received, deadline) in list(self._clients.items()):
            try:
                chunk = client.recv(LONGEST_COMMAND)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    self._drop(client)
                continue
            except OSError:
                self._drop(client)
                continue
            line = received + chunk
            if b"\n" not in line and chunk and len(line) < LONGEST_COMMAND:
                self._clients[client] = (line, deadline)
                continue
            words = line.partition(b"\n")[0].decode(errors="replace").split()
            # The answer fits any socket buffer; a client that does not read it loses it.
            with contextlib.suppress(OSError):
                client.send((self._execute(words) + "\n").encode())
            self._drop(client)

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
