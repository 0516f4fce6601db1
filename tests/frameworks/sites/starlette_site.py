"""Starlette, with a stack of middleware of both kinds, and pages that use asyncio and anyio to the full."""

import asyncio
import contextlib
import contextvars
import hashlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypedDict

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.types import Message, Receive, Scope, Send

from tests.frameworks.sites.shared import LARGE, PARTS, TICK, WORK, describe_upload, file_path, journal, purpose

set_at_import = contextvars.ContextVar("set_at_import", default="nothing")
set_at_import.set("import")
set_in_lifespan = contextvars.ContextVar("set_in_lifespan", default="nothing")
set_in_request = contextvars.ContextVar("set_in_request", default="nothing")


class State(TypedDict):
    shared: list[str]
    word: str


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[State]:
    set_in_lifespan.set("lifespan")
    yield {"shared": [], "word": "from lifespan"}
    print("lifespan ended", flush=True)


async def json_page(request: Request) -> Response:
    if request.method == "POST":
        return JSONResponse({"received": await request.json()})
    return JSONResponse({"message": "hello"})


async def large(request: Request) -> Response:
    return JSONResponse(LARGE)


async def digest(request: Request) -> Response:
    hashed, size = hashlib.sha256(), 0
    async for part in request.stream():
        hashed.update(part)
        size += len(part)
    return JSONResponse({"size": size, "sha256": hashed.hexdigest()})


async def form(request: Request) -> Response:
    async with request.form() as sent:
        return JSONResponse({"name": sent["name"], "tags": sent.getlist("tag")})


async def upload(request: Request) -> Response:
    async with request.form() as sent:
        files = []
        for file in sent.getlist("file"):
            assert not isinstance(file, str)
            files.append(describe_upload(file.filename, file.content_type, await file.read()))
        return JSONResponse({"note": sent["note"], "files": files})


async def cookies(request: Request) -> Response:
    response = JSONResponse(request.cookies)
    response.set_cookie("first", "one")
    response.set_cookie("second", "two", httponly=True, samesite="lax")
    return response


async def visits(request: Request) -> Response:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JSONResponse({"visits": request.session["visits"]})


async def redirected(request: Request) -> Response:
    return RedirectResponse("/json", 303)


async def fail(request: Request) -> Response:
    raise RuntimeError(purpose(request.path_params["number"]))


async def nothing(request: Request) -> Response:
    return Response(status_code=204)


async def etag(request: Request) -> Response:
    if request.headers.get("if-none-match") == '"version-1"':
        return Response(status_code=304, headers={"etag": '"version-1"'})
    return PlainTextResponse("the page", headers={"etag": '"version-1"'})


async def stream(request: Request) -> Response:
    async def parts() -> AsyncIterator[str]:
        for part in PARTS:
            yield part

    return StreamingResponse(parts(), media_type="text/plain")


async def stream_fail(request: Request) -> Response:
    async def parts() -> AsyncIterator[str]:
        for part in PARTS[:3]:
            yield part
        raise RuntimeError(purpose(request.path_params["number"]))

    return StreamingResponse(parts(), media_type="text/plain")


async def events(request: Request) -> Response:
    async def ticks() -> AsyncIterator[str]:
        with journal.span(request.path_params["name"]):
            number = 0
            while True:
                yield f"id: {number}\ndata: tick\n\n"
                number += 1
                await asyncio.sleep(TICK)

    return StreamingResponse(ticks(), media_type="text/event-stream")


async def entries(request: Request) -> Response:
    return JSONResponse({"count": journal.count(request.query_params["entry"])})


async def file(request: Request) -> Response:
    return FileResponse(file_path(), media_type="application/octet-stream")


async def echo(request: Request) -> Response:
    assert request.client is not None
    return JSONResponse(
        {
            "rest": request.path_params["rest"],
            "root": request.scope["root_path"],
            "query": request.url.query,
            "header": request.headers.get("x-sent"),
            "client": request.client.host,
            "url": str(request.url).partition("?")[0],
        }
    )


async def sleep(request: Request) -> Response:
    await asyncio.sleep(0.01)
    return JSONResponse({"number": int(request.query_params["number"])})


# What is Starlette's own: tasks, contexts, cancellation. Raw ASGI where a framework would come in between.


async def send_json(send: Send, content: Any) -> None:
    response = JSONResponse(content)
    await send({"type": "http.response.start", "status": 200, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body})


async def first_line(scope: Scope, receive: Receive, send: Send) -> None:
    """`current_task` before anything was awaited, after what is answered at once, and after a real wait."""
    tasks = [asyncio.current_task()]
    await receive()
    tasks.append(asyncio.current_task())
    await asyncio.sleep(0)
    tasks.append(asyncio.current_task())
    running = asyncio.get_running_loop()
    await send_json(
        send,
        {
            "task": tasks[0] is not None,
            "same": len(set(tasks)) == 1,
            "known": tasks[0] in asyncio.all_tasks(),
            "loop": type(running).__module__.partition(".")[0],
        },
    )


async def first_line_timeout(scope: Scope, receive: Receive, send: Send) -> None:
    async with asyncio.timeout(10):
        with anyio.fail_after(10):
            await send_json(send, {"entered": True})


async def timeouts(request: Request) -> Response:
    """Every usual way to bound a wait, each bounding a wait for the client (who says nothing more)."""
    results: dict[str, Any] = {}
    await request.body()
    receive = request.receive

    async def bounded(name: str, wait: Callable[[], Awaitable[Any]]) -> None:
        try:
            await wait()
        except TimeoutError:
            results[name] = "timed out"

    async def timeout() -> None:
        async with asyncio.timeout(0.02):
            await receive()

    async def sleeping() -> None:
        async with asyncio.timeout(0.02):
            await asyncio.sleep(10)

    async def wait_for() -> None:
        await asyncio.wait_for(receive(), 0.02)

    async def fail_after() -> None:
        with anyio.fail_after(0.02):
            await receive()

    async def expired() -> None:
        async with asyncio.timeout(0):
            await asyncio.sleep(10)

    for wait in (timeout, sleeping, wait_for, fail_after, expired):
        await bounded(wait.__name__, wait)
    with anyio.move_on_after(0.02) as scope:
        await receive()
    results["move_on_after"] = "timed out" if scope.cancelled_caught else "ended"
    task = asyncio.current_task()
    assert task is not None
    results["cancelling"] = task.cancelling()
    return JSONResponse(results)


async def groups(request: Request) -> Response:
    """Task groups of both libraries, each with a child that waits for ever."""
    results: dict[str, Any] = {}
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 30)
        with journal.span("child"):
            await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    results["anyio"] = group.cancel_scope.cancel_called
    try:
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(asyncio.sleep(30))
            await asyncio.sleep(0)
            raise KeyError("on purpose")
    except* KeyError:
        results["asyncio"] = waiting.cancelled()
    with anyio.CancelScope() as outer:
        outer.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.01)
            results["shielded"] = True
        await anyio.sleep(30)
    results["outer"] = outer.cancelled_caught
    return JSONResponse(results)


async def receive_as_task(scope: Scope, receive: Receive, send: Send) -> None:
    """What `receive` and `send` return can be made a task, and gathered."""
    never_run = asyncio.ensure_future(receive())
    never_run.cancel()
    message: Message = await asyncio.create_task(receive())  # type: ignore[arg-type]
    waiting = asyncio.ensure_future(receive())
    _, pending = await asyncio.wait({waiting}, timeout=0.02)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}
    await asyncio.gather(send(start))
    body = f'{{"size": {len(message["body"])}, "pending": {len(pending)}, "cancelled": {int(waiting.cancelled())}}}'
    await asyncio.create_task(send({"type": "http.response.body", "body": body.encode()}))  # type: ignore[arg-type]


async def context(request: Request) -> Response:
    before = set_in_request.get()
    set_in_request.set(request.path_params["number"])
    await asyncio.sleep(0.01)
    in_thread = await anyio.to_thread.run_sync(set_in_request.get)
    child = await asyncio.create_task(asyncio.sleep(0, set_in_request.get()))
    return JSONResponse(
        {
            "import": set_at_import.get(),
            "lifespan": set_in_lifespan.get(),
            "before": before,
            "after": set_in_request.get(),
            "thread": in_thread,
            "child": child,
        }
    )


async def state(request: Request) -> Response:
    """The state of a request is its own; the objects in it are the worker's."""
    request.state.shared.append("visit")
    had = hasattr(request.state, "mine")
    request.state.mine = True
    return JSONResponse({"word": request.state.word, "visits": len(request.state.shared), "had": had})


async def gone(request: Request) -> Response:
    """Asks until the client is gone, and then whether it still is."""
    name = request.path_params["name"]
    with journal.span(name):
        while not await request.is_disconnected():  # noqa: ASYNC110 - what the page is about
            await asyncio.sleep(TICK)
        if await request.is_disconnected():
            journal.add(f"{name} gone")
    return Response(status_code=204)


async def here(request: Request) -> Response:
    await request.body()
    return JSONResponse({"disconnected": [await request.is_disconnected() for _ in range(3)]})


async def late(request: Request) -> Response:
    """Reads its body when all of it that may wait in the server has come, a little at a time."""
    await asyncio.sleep(0.05)
    sizes = []
    async for part in request.stream():
        sizes.append(len(part))
        await asyncio.sleep(0.001)
    return JSONResponse({"size": sum(sizes)})


async def impatient(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads under time limits that often run out: nothing may be lost."""
    hashed, more = hashlib.sha256(), True
    while more:
        with anyio.move_on_after(0.0005):
            message = await receive()
            hashed.update(message["body"])
            more = message["more_body"]
    await send_json(send, {"sha256": hashed.hexdigest()})


async def abandoned(request: Request) -> Response:
    """Waits for a body that its client gives up."""
    with journal.span(request.path_params["name"]):
        await request.body()
    return Response(status_code=204)


async def listening(scope: Scope, receive: Receive, send: Send) -> None:
    """Waits for the end of the client, having sent a part."""
    name = scope["path_params"]["name"]
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"listening", "more_body": True})
    with journal.span(name):
        message = await receive()
        journal.add(f"{name} {message['type']}")


async def writing(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends until `send` raises; an application that lets it through has done nothing wrong."""
    name = scope["path_params"]["name"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    try:
        while True:
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
            await asyncio.sleep(TICK)
    except OSError:
        journal.add(f"{name} OSError")
        raise


async def background(request: Request) -> Response:
    name = request.path_params["name"]

    async def work() -> None:
        with journal.span(name):
            await asyncio.sleep(WORK)

    return JSONResponse({"message": "hello"}, background=BackgroundTask(work))


async def background_fail(request: Request) -> Response:
    async def work() -> None:
        raise RuntimeError(purpose(request.path_params["number"]))

    return JSONResponse({"message": "hello"}, background=BackgroundTask(work))


def in_thread(request: Request) -> Response:
    return JSONResponse(
        {
            "thread": threading.current_thread().name,
            "main": threading.current_thread() is threading.main_thread(),
            "lifespan": set_in_lifespan.get(),
        }
    )


def stream_in_thread(request: Request) -> Response:
    def parts() -> Iterator[str]:
        yield from PARTS

    return StreamingResponse(parts(), media_type="text/plain")


async def views(request: Request) -> Response:
    """A body in memoryviews."""

    async def parts() -> AsyncIterator[memoryview]:
        for part in PARTS:
            yield memoryview(part.encode())

    return StreamingResponse(parts(), media_type="text/plain")


async def zero_copy(scope: Scope, receive: Receive, send: Send) -> None:
    """Bytes 10 to 19, then all from 100,000 on, of the file."""
    with file_path().open("rb") as opened:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        part = {"type": "http.response.zerocopysend", "file": opened}
        await send({**part, "offset": 10, "count": 10, "more_body": True})
        await send({**part, "offset": 100_000})


async def early_hint(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
    await send_json(send, {"message": "hello"})


async def trailers(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"trailer", b"x-sum")], "trailers": True})
    await send({"type": "http.response.body", "body": b"content"})
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"seven")]})


class Raw:
    """A route whose endpoint is a raw ASGI application (Starlette takes functions for endpoints)."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class TwoWays(BaseHTTPMiddleware):
    """Sees request and response, in Starlette's task group and stream."""

    async def dispatch(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers["x-middleware"] = "seen"
        return response


pages = [
    Route("/json", json_page, methods=["GET", "POST"]),
    Route("/large", large),
    Route("/digest", digest, methods=["POST"]),
    Route("/form", form, methods=["POST"]),
    Route("/upload", upload, methods=["POST"]),
    Route("/cookies", cookies),
    Route("/visits", visits),
    Route("/redirect", redirected),
    Route("/fail/{number}", fail),
    Route("/nothing", nothing, methods=["DELETE"]),
    Route("/etag", etag),
    Route("/stream", stream),
    Route("/stream/fail/{number}", stream_fail),
    Route("/events/{name}", events),
    Route("/journal", entries),
    Route("/file", file),
    Route("/echo/{rest:path}", echo),
    Route("/sleep", sleep),
]
own = [
    Route("/first-line", Raw(first_line)),
    Route("/first-line-timeout", Raw(first_line_timeout)),
    Route("/timeouts", timeouts),
    Route("/groups", groups),
    Route("/receive-as-task", Raw(receive_as_task), methods=["POST"]),
    Route("/context/{number}", context),
    Route("/state", state),
    Route("/gone/{name}", gone),
    Route("/here", here, methods=["GET", "POST"]),
    Route("/late", late, methods=["POST"]),
    Route("/impatient", Raw(impatient), methods=["POST"]),
    Route("/abandoned/{name}", abandoned, methods=["POST"]),
    Route("/listening/{name}", Raw(listening)),
    Route("/writing/{name}", Raw(writing)),
    Route("/background/{name}", background),
    Route("/background-fail/{number}", background_fail),
    Route("/thread", in_thread),
    Route("/thread/stream", stream_in_thread),
    Route("/views", views),
    Route("/zero-copy", Raw(zero_copy)),
    Route("/early-hint", Raw(early_hint)),
    Route("/trailers", Raw(trailers)),
]

session = Middleware(SessionMiddleware, secret_key="only for these tests")
stack = [
    Middleware(CORSMiddleware, allow_origins=["https://example.org"], allow_methods=["*"]),
    Middleware(GZipMiddleware, minimum_size=500),
    session,
    Middleware(TwoWays),
]

app = Starlette(routes=[*pages, *own, Mount("/mounted", routes=pages)], lifespan=lifespan, middleware=[session])
# The same behind everything that people put in front of it.
stacked = Starlette(routes=[*pages, *own], lifespan=lifespan, middleware=stack)
