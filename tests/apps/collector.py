"""Applications that tell how garbage is collected, and set that up as `SET_UP` wants."""

import gc
import json
import os
from collections.abc import Callable, Iterable
from typing import Any

match os.environ.get("SET_UP"):
    case "own":
        gc.set_threshold(1234, 5, 6)
    case "off":
        gc.disable()


def state() -> bytes:
    return json.dumps([gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()]).encode()


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": state()})


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [state()]
