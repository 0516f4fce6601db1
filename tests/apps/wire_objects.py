"""Answers with the memory blocks in use at the application's first line (at `/look`: after a look at the headers)."""

import gc
import sys
from collections.abc import Awaitable, Callable
from typing import Any

gc.disable()  # a collection in the middle would be counted


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    if scope["path"] == "/look":
        list(scope["headers"])
    blocks = sys.getallocatedblocks()
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": str(blocks).encode()})
