"""The ASGI application of `wire_asgi` on a loop whose timers fire too early, as libuv's do by up to a millisecond."""

import asyncio
from typing import Any

from tests.apps import wire_asgi
from tests.apps.wire_asgi import Receive, Scope, Send

EARLY = 0.003
"""Seconds."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "lifespan":
        await wire_asgi.app(scope, receive, send)
        return
    loop: Any = asyncio.get_running_loop()
    in_time = loop.call_later

    def call_later(delay: float, callback: Any, *arguments: Any, context: Any = None) -> asyncio.TimerHandle:
        handle: asyncio.TimerHandle = in_time(max(0.0, delay - EARLY), callback, *arguments, context=context)
        return handle

    loop.call_later = call_later
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
