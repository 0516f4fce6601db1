"""An ASGI application whose paths each do one thing to the wire: the counterpart of the raw clients in the tests.

The first segment of the path names a function below, the query string its parameters.
"""

import asyncio
import contextlib
import gc
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast
from urllib.parse import parse_qsl

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Handler = Callable[[Scope, Receive, Send], Awaitable[None]]

PATHS: dict[str, Handler] = {}
SEEN: Counter[str] = Counter()
"""What happened, by name; `/seen` answers with it."""
KEPT: list[Scope] = []


def path(function: Handler) -> Handler:
    PATHS[function.__name__] = function
    return function


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    handler = PATHS.get(scope["path"].split("/")[1], hello)
    await handler(scope, receive, send)


def query(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))


async def respond(send: Send, body: bytes = b"", *, status: int = 200, headers: Any = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def respond_json(send: Send, content: object) -> None:
    await respond(send, json.dumps(content).encode(), headers=[(b"content-type", b"application/json")])


async def read_body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError("the client left within its request body")
        parts.append(message["body"])
        if not message["more_body"]:
            return b"".join(parts)


async def wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, b"hello " + scope["raw_path"])


@path
async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Everything the application was told about the request."""
    body = await read_body(receive)
    await respond_json(
        send,
        {
            "method": scope["method"],
            "http_version": scope["http_version"],
            "path": scope["path"],
            "raw_path": scope["raw_path"].decode("latin-1"),
            "query": scope["query_string"].decode("latin-1"),
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
            "client": scope["client"],
            "server": scope["server"],
            "body": body.decode("latin-1"),
        },
    )


@path
async def sleep(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the query after `s` seconds, without looking at the body."""
    await asyncio.sleep(float(query(scope)["s"]))
    await respond(send, scope["query_string"])


@path
async def ignore(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without reading the request body."""
    await respond(send, b"ignored")


@path
async def late_read(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads its body only after `s` seconds."""
    await asyncio.sleep(float(query(scope)["s"]))
    await respond(send, str(len(await read_body(receive))).encode())


@path
async def count(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body at `rate` bytes per second (0: as fast as it comes) and answers with its length."""
    rate = float(query(scope).get("rate", "0"))
    total = 0
    more = True
    began = time.monotonic()
    while more:
        message = await receive()
        assert message["type"] == "http.request", message
        total += len(message["body"])
        more = message["more_body"]
        if rate:
            await asyncio.sleep(max(0.0, total / rate - (time.monotonic() - began)))
    await respond(send, str(total).encode())


@path
async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends `size` bytes in messages of `chunk`; `SEEN` counts the bytes that `send` has taken."""
    asked = query(scope)
    size, chunk = int(asked["size"]), bytes(int(asked.get("chunk", "65536")))
    headers = [(b"content-length", asked["size"].encode())] if "length" in asked else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    sent = SEEN["streamed"] = 0
    try:
        while sent < size:
            part = chunk[: size - sent]
            await send({"type": "http.response.body", "body": part, "more_body": True})
            sent += len(part)
            SEEN["streamed"] = sent
        await send({"type": "http.response.body"})
    except OSError as error:
        SEEN[f"stream:{type(error).__name__}"] += 1
        raise


@path
async def flood(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends for as long as the client takes it, and never waits for anything else."""
    await send({"type": "http.response.start", "status": 200})
    piece = bytes(int(query(scope).get("chunk", "100")))
    while True:
        await send({"type": "http.response.body", "body": piece, "more_body": True})


@path
async def gulp(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads its body to the end and answers with how long it took, in messages and in seconds."""
    messages = 0
    began = time.monotonic()
    while (await receive())["more_body"]:
        messages += 1
    await respond_json(send, {"messages": messages, "seconds": time.monotonic() - began})


@path
async def response(scope: Scope, receive: Receive, send: Send) -> None:
    """The response that the request body describes: status, headers, and body messages, in JSON."""
    wanted = json.loads(await read_body(receive))
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in wanted.get("headers", [])]
    start: Message = {"type": "http.response.start", "status": wanted.get("status", 200), "headers": headers}
    for key in ("trailers", "log_access"):
        if key in wanted:
            start[key] = wanted[key]
    await send(start)
    parts = wanted.get("body", [""])
    for number, part in enumerate(parts, 1):
        await send({"type": "http.response.body", "body": part.encode("latin-1"), "more_body": number < len(parts)})
    for number, fields in enumerate(wanted.get("trailer_fields", []), 1):
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        more = number < len(wanted["trailer_fields"])
        await send({"type": "http.response.trailers", "headers": pairs, "more_trailers": more})


@path
async def messages(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends exactly the messages that the request body lists (bodies as text), and then ends."""
    for message in json.loads(await read_body(receive)):
        if isinstance(message.get("body"), str):
            message["body"] = message["body"].encode()
        await send(message)


@path
async def misuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Mistakes of type that JSON cannot spell, by name."""
    mistakes: dict[str, Any] = {
        "not-a-dict": ["http.response.start"],
        "no-type": {"status": 200},
        "bytes-type": {"type": b"http.response.start"},
        "no-status": {"type": "http.response.start"},
        "text-status": {"type": "http.response.start", "status": "200"},
        "text-header": {"type": "http.response.start", "status": 200, "headers": [("x", "y")]},
        "header-of-three": {"type": "http.response.start", "status": 200, "headers": [(b"x", b"y", b"z")]},
        "headers-not-iterable": {"type": "http.response.start", "status": 200, "headers": 7},
        "unknown-type": {"type": "websocket.accept"},
        "surrogate-type": {"type": "\ud800"},
        "huge-status": {"type": "http.response.start", "status": 10**30},
        "negative-status": {"type": "http.response.start", "status": -200},
    }
    await send(mistakes[query(scope)["what"]])


@path
async def text_body(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": "text"})


@path
async def early_hints(scope: Scope, receive: Receive, send: Send) -> None:
    for _ in range(int(query(scope).get("times", "1"))):
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]})
    await respond(send, b"after hints")


@path
async def crash(scope: Scope, receive: Receive, send: Send) -> None:
    """Raises before (`when=before`), between (`started`), within (`body`) or after (`complete`) its response."""
    when = query(scope)["when"]
    secret = "<script>alert('page')</script>"
    if when == "before":
        raise RuntimeError(f"crashed before {secret}")
    await send({"type": "http.response.start", "status": 200})
    if when == "started":
        raise RuntimeError("crashed started")
    await send({"type": "http.response.body", "body": b"part", "more_body": True})
    if when == "body":
        raise RuntimeError("crashed body")
    await send({"type": "http.response.body"})
    raise RuntimeError("crashed complete")


@path
async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Returns without any response."""


@path
async def unfinished(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"part", "more_body": True})


@path
async def until_disconnect(scope: Scope, receive: Receive, send: Send) -> None:
    """Waits for `http.disconnect`, and counts it; then (`answer`) goes on to respond."""
    name = scope["path"].rsplit("/", 1)[-1]
    SEEN[f"waiting:{name}"] += 1
    try:
        await wait_for_disconnect(receive)
    except asyncio.CancelledError:
        SEEN[f"cancelled:{name}"] += 1
        raise
    SEEN[f"disconnect:{name}"] += 1
    assert (await receive())["type"] == "http.disconnect"  # and again, for whoever asks again
    if "answer" in query(scope):
        await respond(send, b"answered after disconnect")


@path
async def until_error(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends a little now and then until `send` raises, and counts what it raised."""
    name = scope["path"].rsplit("/", 1)[-1]
    await send({"type": "http.response.start", "status": 200})
    try:
        while True:
            await send({"type": "http.response.body", "body": b"tick\n", "more_body": True})
            await asyncio.sleep(0.02)
    except OSError as error:
        SEEN[f"error:{name}:{type(error).__name__}"] += 1
        raise
    except asyncio.CancelledError:
        SEEN[f"cancelled:{name}"] += 1
        raise


@path
async def seen(scope: Scope, receive: Receive, send: Send) -> None:
    await respond_json(send, SEEN)


@path
async def keep(scope: Scope, receive: Receive, send: Send) -> None:
    KEPT.append(scope)
    await respond(send, str(len(KEPT)).encode())


@path
async def kept(scope: Scope, receive: Receive, send: Send) -> None:
    """What the kept scopes say now."""
    await respond_json(send, [[one["path"], dict(one["headers"]).get(b"x-number", b"").decode()] for one in KEPT])
    KEPT.clear()


@path
async def blocks(scope: Scope, receive: Receive, send: Send) -> None:
    """Memory blocks in use: what the request before this one has left or taken."""
    await respond(send, str(sys.getallocatedblocks()).encode())


def as_coroutine(receive: Receive) -> Coroutine[Any, Any, Message]:
    """What frameworks take `receive()` for, although ASGI promises only an awaitable."""
    return cast("Coroutine[Any, Any, Message]", receive())


@path
async def receive_task(scope: Scope, receive: Receive, send: Send) -> None:
    """Uses `receive` in every way that frameworks do, beside `send`."""
    way = query(scope)["way"]
    if way == "task":
        body = (await asyncio.create_task(as_coroutine(receive)))["body"]
    elif way == "wait_for":
        body = (await asyncio.wait_for(receive(), 5))["body"]
    elif way == "shield":
        body = (await asyncio.shield(receive()))["body"]
    elif way == "gather":
        first, _ = await asyncio.gather(receive(), asyncio.sleep(0.01))
        body = first["body"]
    elif way == "timeout":
        body = (await receive())["body"]
        try:
            await asyncio.wait_for(receive(), 0.05)
        except TimeoutError:
            body += b" timeout"
        async with asyncio.timeout(5):
            task = asyncio.ensure_future(receive())
            await asyncio.sleep(0.02)
            assert not task.done()
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                body += b" cancelled"
    elif way == "watch":
        # A listener for the disconnect beside the response, as Starlette's streaming responses keep it.
        body = (await receive())["body"]
        listener = asyncio.create_task(wait_for_disconnect(receive))
        await send({"type": "http.response.start", "status": 200})
        for _ in range(5):
            await send({"type": "http.response.body", "body": b".", "more_body": True})
            await asyncio.sleep(0.01)
        assert not listener.done()
        await send({"type": "http.response.body", "body": body})
        await asyncio.wait_for(listener, 5)  # the response is complete: http.disconnect
        SEEN["watch:done"] += 1
        return
    elif way == "two":
        # Two at a time: each body part goes to one of them, and both end.
        tasks = [asyncio.create_task(as_coroutine(receive)) for _ in range(2)]
        done = await asyncio.gather(*tasks)
        body = b"".join(message["body"] for message in done)
    else:
        raise ValueError(way)
    await respond(send, body)


@path
async def duplex(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers each part of the body while the next is on its way: reads and writes at the same time."""
    await send({"type": "http.response.start", "status": 200})
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(4)

    async def read() -> None:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            more = message["more_body"]
            await queue.put(message["body"])
        await queue.put(None)

    reader = asyncio.create_task(read())
    while (part := await queue.get()) is not None:
        if part:
            await send({"type": "http.response.body", "body": part, "more_body": True})
    await reader
    await send({"type": "http.response.body"})


@path
async def after(scope: Scope, receive: Receive, send: Send) -> None:
    """Works on for `s` seconds after its response is complete."""
    await respond(send, b"done")
    await asyncio.sleep(float(query(scope)["s"]))
    SEEN["after"] += 1


@path
async def slow_start(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends a body that no socket buffer holds, from a task that had to wait first."""
    await asyncio.sleep(0.3)
    try:
        await respond(send, bytes(32 * 1024 * 1024))
    except OSError:
        pass
    SEEN["slow_start"] += 1


@path
async def pathsend(scope: Scope, receive: Receive, send: Send) -> None:
    asked = query(scope)
    headers = [(b"content-length", asked["length"].encode())] if "length" in asked else []
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.pathsend", "path": asked["file"]})


@path
async def zerocopysend(scope: Scope, receive: Receive, send: Send) -> None:
    """The file in the parts that the query lists as `offset-count`, either of them empty for its default."""
    asked = query(scope)
    parts = asked["parts"].split(",")
    await send({"type": "http.response.start", "status": 200})
    with open(asked["file"], "rb") as file:  # noqa: ASYNC230
        if "seek" in asked:
            os.lseek(file.fileno(), int(asked["seek"]), os.SEEK_SET)
        for number, part in enumerate(parts, 1):
            offset, count = part.split("-")
            message: Message = {"type": "http.response.zerocopysend", "file": file, "more_body": number < len(parts)}
            message.update({"offset": int(offset)} if offset else {}, **({"count": int(count)} if count else {}))
            await send(message)


@path
async def shrinking(scope: Scope, receive: Receive, send: Send) -> None:
    """A file that becomes shorter while it is on its way."""
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(64 * 1024 * 1024)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.pathsend", "path": file.name})
        file.truncate(1024)
        await asyncio.sleep(0.1)


@path
async def freeze(scope: Scope, receive: Receive, send: Send) -> None:
    """Blocks the loop for `s` seconds, then answers with `size` bytes."""
    time.sleep(float(query(scope)["s"]))  # noqa: ASYNC251
    await respond(send, bytes(int(query(scope).get("size", "1"))))


@path
async def asks(scope: Scope, receive: Receive, send: Send) -> None:
    """Asks a thousand times whether the client is there, as Starlette's `is_disconnected` does, while somebody waits
    for it to go. Answers how many futures that left."""

    def futures() -> int:
        return sum(type(each) is asyncio.Future for each in gc.get_objects())

    await receive()
    listener = asyncio.create_task(wait_for_disconnect(receive))
    await asyncio.sleep(0)
    before = futures()
    for _ in range(1000):
        task = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert not listener.done()
    await respond(send, str(futures() - before).encode())
    await asyncio.wait_for(listener, 5)  # the response is complete: http.disconnect
    SEEN["asks:done"] += 1


@path
async def pid(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, str(os.getpid()).encode())


@path
async def lag(scope: Scope, receive: Receive, send: Send) -> None:
    """The lengths of the loop's turns over `s` seconds, in order of length."""
    until = time.monotonic() + float(query(scope)["s"])
    turns = []
    while (began := time.monotonic()) < until:
        await asyncio.sleep(0)
        turns.append(time.monotonic() - began)
    await respond_json(send, sorted(turns))
