"""Applications that keep to what every server offers: the smoke suite of the servers behind the port.

The ASGI one writes to the file that MARKS names when its lifespan begins and ends.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def mark(what: str) -> None:
    if path := os.environ.get("MARKS"):
        with Path(path).open("a") as file:
            file.write(f"{what} {os.getpid()}\n")


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    match scope["path"]:
        case "/echo":
            parts = [body]
        case "/stream":
            parts = [b"part %d\n" % number for number in range(50)]
        case "/slow":
            mark("slow")
            await asyncio.sleep(0.7)
            parts = [b"slow but whole"]
        case "/loop":
            parts = [type(asyncio.get_running_loop()).__module__.encode()]
        case "/state":
            parts = [str(scope.get("state", {}).get("began")).encode()]
        case "/scheme":
            parts = [scope["scheme"].encode()]
        case "/group":
            parts = [f"{os.getgid()} {os.getgroups()}".encode()]
        case _:
            parts = [b"hello from asgi at " + scope["path"].encode()]
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    return None


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "lifespan.startup"
    if os.environ.get("FAIL_LIFESPAN"):
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        return
    mark("startup")
    if "state" in scope:
        scope["state"]["began"] = "yes"
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    mark("shutdown")
    await send({"type": "lifespan.shutdown.complete"})


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    match environ["PATH_INFO"]:
        case "/echo":
            return [environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))]
        case "/stream":
            return parts()
        case "/slow":
            mark("slow")
            time.sleep(0.7)
            return [b"slow but whole"]
    return [b"hello from wsgi at " + environ["PATH_INFO"].encode("latin-1")]


def parts() -> Iterator[bytes]:
    for number in range(50):
        yield b"part %d\n" % number
