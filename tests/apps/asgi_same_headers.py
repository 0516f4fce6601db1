"""An ASGI application that gives the very same list of headers with every response; the path may change it first."""

from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]

HEADERS: list[Any] = [(b"content-length", b"0"), (b"x-one", b"1")]
CHANGES: dict[str, Any] = {
    "/other-value": (b"x-one", b"2"),
    "/pair-in-a-list": [b"x-one", b"3"],
    "/refused": (b"x-one", b"4\r\nx-two: 4"),
    "/mutable": (b"x-one", bytearray(b"5")),
    "/mutable-anew": (b"x-one", b"6"),
}


async def app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    status = 200
    match scope["path"]:
        case "/other-status":
            status = 404
        case "/bad-status":
            status = 20
        case "/changed-in-place":
            HEADERS[1][1][:] = b"7"
        case path if path in CHANGES:
            HEADERS[1] = CHANGES[path]
    await send({"type": "http.response.start", "status": status, "headers": HEADERS})
    await send({"type": "http.response.body"})
