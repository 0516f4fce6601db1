"""An ASGI application that keeps one of the things it gets with a request, and at `/kept` tells what became of it.

With `?wait` its task does not end at once.
"""

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

KEPT: dict[str, Any] = {}


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    if scope["query_string"] == b"wait":
        await asyncio.sleep(0)
    if scope["path"] == "/kept":
        found = await look()
    else:
        KEPT.clear()
        what = scope["path"].removeprefix("/")
        things = {"headers": scope["headers"], "receive": receive, "send": send, "weakly": weakref.ref(send)}
        KEPT[what] = things[what]
        found = "kept"
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": found.encode()})


async def look() -> str:
    ((what, thing),) = KEPT.items()
    match what:
        case "headers":
            return repr(dict(thing)[b"x-name"])
        case "receive":
            return repr(await thing())
        case "weakly":
            return repr(thing())
        case _:
            try:
                await thing({"type": "http.response.start", "status": 500})
            except RuntimeError as error:
                return str(error)
            return "sent"
