"""What a server is told, and what it tells of itself.

A leaf: the port of servers speaks of these, and adapters make them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..config import Loaded, Settings
from ..logs import Log
from ..records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT = "default"  # the origin of a setting that nobody gave


class ServerInfo(Record):
    """What a server is, and once it serves, where. `host` is a path and `port` is 0 on a unix socket.

    `workers` counts processes, `http_protocol` is as in `--http`: what the server was told to speak.
    """

    name: str
    version: str
    workers: int = 0
    event_loop: str = ""
    http_protocol: str = ""
    host: str = ""
    port: int = 0


class ServerStats(Record):
    """Counters of a server since it began to serve. None is what a server does not count."""

    uptime: float  # seconds
    requests: int | None = None
    connections: int | None = None  # open now


class ServerConfig(Record):
    """What an adapter serves with: the settings as they were read, and the way to read them again."""

    loaded: Loaded
    read: Callable[[], Loaded]  # the same sources once more, for servers that reload
    directory: str  # where the program was started
    log: Log

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    @property
    def given(self) -> dict[str, str]:
        """Settings that somebody gave, and where: `{"threads": "--threads"}`. All others have their default."""
        return {name: where for name, where in self.loaded.origins.items() if where != DEFAULT}

    def options(self, server: str) -> Mapping[str, Any]:
        """The table of the configuration file that is meant for one server, empty without one."""
        table = getattr(self.settings, server, None)
        return table if isinstance(table, dict) else {}
