"""FastAPI: models, dependencies, synchronous endpoints on threads, background tasks."""

import asyncio
import contextlib
import contextvars
import hashlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

from fastapi import BackgroundTasks, Body, Depends, FastAPI, File, Form, HTTPException, Request, UploadFile
from fastapi.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from pydantic import BaseModel
from starlette.middleware.sessions import SessionMiddleware

from tests.frameworks.sites.shared import LARGE, PARTS, TICK, WORK, describe_upload, file_path, journal, purpose

set_by_dependency = contextvars.ContextVar("set_by_dependency", default="nothing")


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {"word": "from lifespan"}
    print("lifespan ended", flush=True)


app = FastAPI(lifespan=lifespan)
app.add_middleware(SessionMiddleware, secret_key="only for these tests")


@app.get("/json")
@app.head("/json")
async def json_page() -> dict[str, str]:
    return {"message": "hello"}


@app.post("/json")
async def json_echo(received: Annotated[Any, Body()]) -> dict[str, Any]:
    return {"received": received}


@app.get("/large")
async def large() -> Response:
    return JSONResponse(LARGE)


@app.post("/digest")
async def digest(request: Request) -> dict[str, Any]:
    data = await request.body()
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@app.post("/form")
async def form(name: Annotated[str, Form()], tag: Annotated[list[str], Form()]) -> dict[str, Any]:
    return {"name": name, "tags": tag}


@app.post("/upload")
async def upload(note: Annotated[str, Form()], file: Annotated[list[UploadFile], File()]) -> dict[str, Any]:
    files = [describe_upload(sent.filename, sent.content_type, await sent.read()) for sent in file]
    return {"note": note, "files": files}


@app.get("/cookies")
async def cookies(request: Request, response: Response) -> dict[str, str]:
    response.set_cookie("first", "one")
    response.set_cookie("second", "two", httponly=True, samesite="lax")
    return request.cookies


@app.get("/visits")
async def visits(request: Request) -> dict[str, int]:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return {"visits": request.session["visits"]}


@app.get("/redirect")
async def redirected() -> RedirectResponse:
    return RedirectResponse("/json", 303)


@app.get("/fail/{number}")
async def fail(number: str) -> None:
    raise RuntimeError(purpose(number))


@app.delete("/nothing", status_code=204)
async def nothing() -> None:
    pass


@app.get("/etag")
async def etag(request: Request) -> Response:
    if request.headers.get("if-none-match") == '"version-1"':
        return Response(status_code=304, headers={"etag": '"version-1"'})
    return PlainTextResponse("the page", headers={"etag": '"version-1"'})


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        for part in PARTS:
            yield part

    return StreamingResponse(parts(), media_type="text/plain")


@app.get("/stream/fail/{number}")
async def stream_fail(number: str) -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        for part in PARTS[:3]:
            yield part
        raise RuntimeError(purpose(number))

    return StreamingResponse(parts(), media_type="text/plain")


@app.get("/events/{name}")
async def events(name: str) -> StreamingResponse:
    async def ticks() -> AsyncIterator[str]:
        with journal.span(name):
            number = 0
            while True:
                yield f"id: {number}\ndata: tick\n\n"
                number += 1
                await asyncio.sleep(TICK)

    return StreamingResponse(ticks(), media_type="text/event-stream")


@app.get("/journal")
async def entries(entry: str) -> dict[str, int]:
    return {"count": journal.count(entry)}


@app.get("/file")
async def file() -> FileResponse:
    return FileResponse(file_path(), media_type="application/octet-stream")


@app.get("/echo/{rest:path}")
async def echo(rest: str, request: Request) -> dict[str, str | None]:
    assert request.client is not None
    return {
        "rest": rest,
        "root": request.scope["root_path"],
        "query": request.url.query,
        "header": request.headers.get("x-sent"),
        "client": request.client.host,
        "url": str(request.url).partition("?")[0],
    }


@app.get("/sleep")
async def sleep(number: int) -> dict[str, int]:
    await asyncio.sleep(0.01)
    return {"number": number}


# What is FastAPI's own.


class Item(BaseModel):
    name: str
    price: float


@app.put("/items/{number}")
async def put(number: int, item: Item, q: str | None = None) -> dict[str, Any]:
    return {"number": number, "item": item, "q": q}


@app.get("/teapot")
async def teapot() -> None:
    raise HTTPException(418, "short and stout", headers={"X-Spout": "yes"})


@app.get("/state")
async def state(request: Request) -> dict[str, str]:
    return {"word": request.state.word}


@app.get("/thread")
def in_thread(number: int) -> dict[str, Any]:
    time.sleep(0.1)
    return {"number": number, "main": threading.current_thread() is threading.main_thread()}


@app.get("/thread/fail/{number}")
def fail_in_thread(number: str) -> None:
    raise RuntimeError(purpose(number))


@app.get("/background/{name}")
async def background(name: str, tasks: BackgroundTasks) -> dict[str, str]:
    async def work() -> None:
        with journal.span(name):
            await asyncio.sleep(WORK)

    tasks.add_task(work)
    return {"message": "hello"}


@app.get("/background/thread/{name}")
async def background_in_thread(name: str, tasks: BackgroundTasks) -> dict[str, str]:
    def work() -> None:
        with journal.span(name):
            time.sleep(WORK)

    tasks.add_task(work)
    return {"message": "hello"}


async def resource() -> AsyncIterator[str]:
    """Set up before the endpoint and torn down after the response."""
    token = set_by_dependency.set("dependency")
    with journal.span("resource"):
        yield "resource"
    set_by_dependency.reset(token)


def thread_resource() -> Iterator[str]:
    with journal.span("thread resource"):
        yield "thread resource"


@app.get("/depends")
async def depends(
    first: Annotated[str, Depends(resource)], second: Annotated[str, Depends(thread_resource)]
) -> dict[str, Any]:
    return {"values": [first, second], "context": set_by_dependency.get()}
