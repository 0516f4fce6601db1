"""The port of event loops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


class EventLoopPort(Protocol):
    """A kind of event loop.

    An adapter is made without arguments, which imports what it needs: `ImportError` means that it cannot be used here.
    """

    @property
    def name(self) -> str: ...

    def new_event_loop(self) -> AbstractEventLoop:
        """A fresh loop, for `asyncio.Runner(loop_factory=...)`."""
        ...
