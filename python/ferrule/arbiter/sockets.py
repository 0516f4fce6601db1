"""All listening sockets of a server through reloads, upgrades and socket activation: who opened them, who closes them.

Knows nothing of workers; the sockets themselves are `listeners.py`.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from ..config import Bind, Settings, parse_bind
from ..config.binds import UNIX
from .listeners import Listener, open_listeners
from .process import Identity
from .systemd import inherited_descriptors
from .upgrade import Predecessor, take_over


class Sockets:
    """`activated` are descriptors from socket activation, `predecessor` the server this one takes over from."""

    def __init__(self) -> None:
        self.activated: list[int] = []
        self.predecessor = Predecessor(0, -1)
        self._open: list[Listener] = []

    def take_over(self, environ: MutableMapping[str, str]) -> None:
        """Take what the environment says was handed to this process."""
        self.activated = inherited_descriptors(environ, os.getpid())
        self.predecessor, self._open = take_over(environ)

    def open(self, settings: Settings, identity: Identity) -> list[Listener]:
        """A listener for each of `wanted(settings)`, in that order: those open already are used again, whatever options
        they were opened with. Raises `BindError`; then nothing has changed."""
        spare = list(self._open)
        wanted = self.wanted(settings)
        found = [_take(spare, bind) for bind in wanted]
        missing = [bind for bind, listener in zip(wanted, found, strict=True) if listener is None]
        opened = open_listeners(missing, settings.backlog)
        for listener in opened:
            if listener.bind.family == UNIX:
                identity.give(listener.bind.path)
        self._open += opened
        fresh = iter(opened)
        return [listener or next(fresh) for listener in found]

    def wanted(self, settings: Settings) -> tuple[Bind, ...]:
        """The addresses to listen on: what socket activation gave, else what the settings say."""
        if self.activated:
            return tuple(parse_bind(f"fd://{descriptor}") for descriptor in self.activated)
        return settings.bind

    def keep_only(self, listeners: list[Listener]) -> None:
        """Close what no generation uses any more."""
        for listener in self._open:
            if listener not in listeners:
                self._close(listener, keep_file=False)
        self._open = [listener for listener in self._open if listener in listeners]

    def close_all(self, *, keep_files: bool) -> None:
        """Accept no more in this process. Socket files go with the last generation of a server only."""
        for listener in self._open:
            self._close(listener, keep_file=keep_files)
        self._open = []

    def _close(self, listener: Listener, *, keep_file: bool) -> None:
        listener.close()
        if not keep_file and not self.predecessor.alive():
            listener.remove_file()


def _take(spare: list[Listener], bind: Bind) -> Listener | None:
    """The first listener with the address, taken out of `spare`: an address with port 0 may be there several times."""
    for listener in spare:
        if listener.bind.address == bind.address:
            spare.remove(listener)
            return listener
    return None
