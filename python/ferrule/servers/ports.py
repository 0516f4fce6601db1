"""The port of application servers: what Ferrule asks of a server that runs an application, its own or another's.

A leaf: adapters import it, and so do packages that bring an adapter of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .facts import ServerConfig, ServerInfo, ServerStats

__all__ = ["ApplicationServerPort", "ServerConfig", "ServerInfo", "ServerStats"]


class ApplicationServerPort(Protocol):
    """A server that can run an application.

    An adapter is made without arguments. Making it imports what it needs: `ImportError` means that it cannot be used
    here, and that `--server auto` goes on to the next.
    """

    def serve(self, app: str | Callable[..., Any], config: ServerConfig) -> int:
        """Serve until a signal or `shutdown` ends it; returns the exit code for the process. For the main thread.

        `app` is `"MODULE:ATTR"`, which servers with worker processes need in order to import it there, or the
        application itself. Raises `ferrule.errors.FerruleError` when it cannot be served.
        """
        ...

    async def serve_async(self, app: str | Callable[..., Any], config: ServerConfig) -> None:
        """Serve in this process, on the running event loop, until `shutdown` is called or the task is cancelled."""
        ...

    def shutdown(self) -> None:
        """Have `serve` or `serve_async` stop gracefully and return, if it serves. May be called from any thread."""
        ...

    @property
    def server_info(self) -> ServerInfo: ...

    @property
    def stats(self) -> ServerStats | None:
        """Counters of the running server; None when it is not serving."""
        ...
