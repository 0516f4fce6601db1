"""A generation: one reading of the configuration, and the workers that were started with it.

A reload makes a new one; it counts only once one of its workers is ready, and is dropped when none becomes so.
"""

from __future__ import annotations

from ..config import Bind, Hooks, Loaded, Settings
from ..config.tls import speaks_tls
from .listeners import Listener
from .process import STDOUT, Identity, close_access_log, open_access_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .certificates import Certificates


class Generation:
    """`binds` say how the listener at the same place is used; another generation may use it otherwise."""

    def __init__(self, number: int, loaded: Loaded) -> None:
        self.number = number
        self.loaded = loaded
        self.listeners: list[Listener] = []
        self.binds: tuple[Bind, ...] = ()
        self.certificates: Certificates | None = None  # where a listener speaks TLS
        self.access_fd = STDOUT  # what its workers inherit
        self.proven = False  # whether a worker of it was ever ready
        self.complained: set[str] = set()  # start-up failures that were logged already

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    @property
    def hooks(self) -> Hooks:
        return self.loaded.hooks

    def open_access_log(self, identity: Identity) -> None:
        """Open the file of the settings, or once more after rotation. Raises `ConfigError`, and keeps the old one."""
        fresh = open_access_log(self.settings, identity)
        close_access_log(self.access_fd)
        self.access_fd = fresh

    def release(self) -> None:
        """No worker will be started with it any more. Those that live have descriptors of their own."""
        close_access_log(self.access_fd)
        self.access_fd = STDOUT

    @property
    def urls(self) -> tuple[str, ...]:
        """How a person reaches the listeners."""
        pairs = zip(self.listeners, self.binds, strict=True)
        return tuple(listener.url(tls=speaks_tls(self.settings, bind)) for listener, bind in pairs)
