"""The smallest ASGI application, and the one `make run` serves.

server --app-dir examples hello_asgi:app
"""

from collections.abc import Awaitable, Callable
from typing import Any

BODY = b"Hello from Ferrule.\n"
HEADERS = [
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"content-length", str(len(BODY)).encode()),
]


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        # Lifespan and WebSocket are not supported here; an exception is how ASGI says so.
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
