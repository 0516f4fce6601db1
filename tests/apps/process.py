"""Applications for tests of the process manager: each answers with the id of the process that served it."""

import asyncio
import os
import re
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

Message = dict[str, Any]


def keep_the_gil() -> None:
    """Matching takes exponential time, in C, and no other thread runs meanwhile."""
    re.match(r"(a|a)*b", "a" * 60)


async def asgi(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """`/` answers at once, `/slow` after 200 ms, `/stream` in parts, `/long` in parts over 2.5 s, `/hang` never,
    `/until-draining` a while after the worker began to drain; `/block` blocks the loop, `/gil` every thread."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            sys.stderr.write(f"{message['type']} in {os.getpid()}\n")
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = str(os.getpid()).encode()
    parts = [body]
    match scope["path"]:
        case "/slow":
            await asyncio.sleep(0.2)
        case "/stream":
            parts = [body[at : at + 1] for at in range(len(body))]
        case "/long":
            parts = [b"."] * 125
        case "/until-draining":
            await scope["extensions"]["ferrule.draining"]["event"].wait()
            await asyncio.sleep(0.1)
            sys.stderr.write("waited until draining\n")
        case "/hang":
            await asyncio.Event().wait()
        case "/block":
            time.sleep(3600)  # noqa: ASYNC251 - that is the point
        case "/gil":
            keep_the_gil()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
        if len(parts) > 1:
            await asyncio.sleep(0.02)
    await send({"type": "http.response.body"})


def wsgi(environ: Message, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """As `asgi`; `/threads` names the application threads' process-wide count."""
    body = str(os.getpid()).encode()
    match environ["PATH_INFO"]:
        case "/slow":
            time.sleep(0.2)
        case "/block":
            time.sleep(3600)
        case "/gil":
            keep_the_gil()
        case "/until-draining":
            environ["ferrule.draining"].wait()
            time.sleep(0.1)
        case "/threads":
            body = str(threading.active_count()).encode()
        case "/stream":
            start_response("200 OK", [])
            return _slowly(body)
        case "/long":
            start_response("200 OK", [])
            return _slowly(b"." * 125)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def _slowly(body: bytes) -> Iterable[bytes]:
    for at in range(len(body)):
        time.sleep(0.02)
        yield body[at : at + 1]
