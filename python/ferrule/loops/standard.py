"""The standard library's event loop."""

from __future__ import annotations

from asyncio import AbstractEventLoop


class AsyncioLoops:
    """Selector loops: the kind that can watch the reactor's descriptor (`add_reader`)."""

    name = "asyncio"

    def new_event_loop(self) -> AbstractEventLoop:
        import asyncio

        return asyncio.SelectorEventLoop()
