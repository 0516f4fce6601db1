"""winloop: libuv's loop, on Windows."""

from __future__ import annotations

import importlib
from asyncio import AbstractEventLoop


class WinloopLoops:
    """Raises `ImportError` when winloop is not installed or does not work here."""

    name = "winloop"

    def __init__(self) -> None:
        self._module = importlib.import_module("winloop")

    def new_event_loop(self) -> AbstractEventLoop:
        loop: AbstractEventLoop = self._module.new_event_loop()
        return loop
