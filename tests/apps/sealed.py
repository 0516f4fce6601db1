"""One application in both interfaces for tests of what TLS carries: bodies in both directions, files, and what is known
of the connection. The path names what is done, the query string how many bytes or seconds."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PIECE = bytes(range(256)) * 256
FILE = os.environ.get("SEALED_FILE", __file__)


async def asgi(scope: Message, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    number = scope["query_string"].decode()
    headers: list[tuple[bytes, bytes]] = []

    async def answer(body: bytes) -> None:
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def parts() -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await receive()
            assert message["type"] == "http.request"
            more = message["more_body"]
            yield message["body"]

    match scope["path"]:
        case "/count":
            await answer(b"%d" % sum([len(part) async for part in parts()]))
        case "/send":
            await answer(content(int(number)))
        case "/mirror":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async for part in parts():
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        case "/file":
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.pathsend", "path": FILE})
        case "/sleep":
            await asyncio.sleep(float(number))
            await answer(b"awake")
        case "/connection":
            tls = scope["extensions"]["tls"]
            known = {"scheme": scope["scheme"], "http": scope["http_version"], "version": tls["tls_version"]}
            await answer(json.dumps(known | {"suite": tls["cipher_suite"], "pid": os.getpid()}).encode())
        case _:
            await answer(b"hello")


def wsgi(environ: Message, start_response: Callable[..., Any]) -> Iterable[bytes]:
    number = environ["QUERY_STRING"]

    def parts() -> Iterator[bytes]:
        while part := environ["wsgi.input"].read(len(PIECE)):
            yield part

    body = b"hello"
    match environ["PATH_INFO"]:
        case "/count":
            body = b"%d" % sum(len(part) for part in parts())
        case "/send":
            body = content(int(number))
        case "/mirror":
            start_response("200 OK", [])
            return parts()
        case "/file":
            start_response("200 OK", [])
            return environ["wsgi.file_wrapper"](open(FILE, "rb"))  # type: ignore[no-any-return]
        case "/sleep":
            time.sleep(float(number))
            body = b"awake"
        case "/connection":
            http = environ["SERVER_PROTOCOL"].removeprefix("HTTP/")
            known = {"scheme": environ["wsgi.url_scheme"], "http": http, "version": environ["SSL_PROTOCOL"]}
            body = json.dumps(known | {"suite": environ["SSL_CIPHER"], "pid": os.getpid()}).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def content(size: int) -> bytes:
    """`size` bytes that differ from one record to the next."""
    return (PIECE * (size // len(PIECE) + 1))[:size]
