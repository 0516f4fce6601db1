"""uvloop: libuv's loop, on Linux and macOS."""

from __future__ import annotations

import importlib
from asyncio import AbstractEventLoop


class UvloopLoops:
    """Raises `ImportError` when uvloop is not installed or does not work here."""

    name = "uvloop"

    def __init__(self) -> None:
        self._module = importlib.import_module("uvloop")

    def new_event_loop(self) -> AbstractEventLoop:
        loop: AbstractEventLoop = self._module.new_event_loop()
        return loop
