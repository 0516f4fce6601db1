"""The applications under load: one function per kind of work and interface, nothing imported that costs anything.

Runs inside the measured servers, so it knows nothing of the harness.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import Any

    Scope = dict[str, Any]
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    Environ = dict[str, Any]
    StartResponse = Callable[[str, list[tuple[str, str]]], object]

PLAINTEXT = b"Hello, world!"
BODY_10K = b"0123456789abcde\n" * 640
SLEEP_SECONDS = 0.010
CPU_SECONDS = 75e-6

# The folder of the files that are served; the harness makes them, see `files.py`.
FILES_VARIABLE = "FERRULE_BENCH_FILES"
_FILES = os.environ.get(FILES_VARIABLE, "/nonexistent")
_BLOCK_SIZE = 64 * 1024

_ASGI_TYPE = (b"content-type", b"text/plain")
_WSGI_TYPE = ("Content-Type", "text/plain")
_ASGI_PLAINTEXT = [_ASGI_TYPE, (b"content-length", b"13")]
_WSGI_PLAINTEXT = [_WSGI_TYPE, ("Content-Length", "13")]
_ASGI_10K = [_ASGI_TYPE, (b"content-length", b"10240")]
_WSGI_10K = [_WSGI_TYPE, ("Content-Length", "10240")]


async def plaintext_asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": _ASGI_PLAINTEXT})
    await send({"type": "http.response.body", "body": PLAINTEXT})


def plaintext_wsgi(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", _WSGI_PLAINTEXT)
    return [PLAINTEXT]


async def read_headers_asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    if not any(name == b"user-agent" for name, _ in list(scope["headers"])):
        raise ValueError("the scenario sends a User-Agent")
    await send({"type": "http.response.start", "status": 200, "headers": _ASGI_PLAINTEXT})
    await send({"type": "http.response.body", "body": PLAINTEXT})


async def body_10k_asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": _ASGI_10K})
    await send({"type": "http.response.body", "body": BODY_10K})


def body_10k_wsgi(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", _WSGI_10K)
    return [BODY_10K]


async def echo_asgi(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends each part as it arrives, so that 100 KB stream in both directions at once."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    length = next(value for name, value in scope["headers"] if name == b"content-length")
    await send({"type": "http.response.start", "status": 200, "headers": [_ASGI_TYPE, (b"content-length", length)]})
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})


def echo_wsgi(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Sends each block as it is read; a body of at most one block is one `bytes`."""
    length = int(environ["CONTENT_LENGTH"])
    read: Callable[[int], bytes] = environ["wsgi.input"].read
    start_response("200 OK", [_WSGI_TYPE, ("Content-Length", str(length))])
    if length <= _BLOCK_SIZE:
        return [read(length)]
    return iter(lambda: read(_BLOCK_SIZE), b"")


def file_wsgi(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    file = open(_FILES + environ["PATH_INFO"], "rb", buffering=0)  # noqa: SIM115 # the server closes it
    start_response("200 OK", [_WSGI_TYPE, ("Content-Length", str(os.fstat(file.fileno()).st_size))])
    if "wsgi.file_wrapper" in environ:
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file, _BLOCK_SIZE)
        return wrapped
    return iter(lambda: file.read(_BLOCK_SIZE), b"")


async def file_asgi(scope: Scope, receive: Receive, send: Send) -> None:
    """Has the server send the file where it can, and sends blocks of it elsewhere."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    path = _FILES + scope["path"]
    if "http.response.pathsend" in (scope.get("extensions") or ()):
        length = b"%d" % os.stat(path).st_size
        await send({"type": "http.response.start", "status": 200, "headers": [_ASGI_TYPE, (b"content-length", length)]})
        await send({"type": "http.response.pathsend", "path": path})
        return
    with open(path, "rb", buffering=0) as file:  # noqa: ASYNC230 # from the page cache
        length = b"%d" % os.fstat(file.fileno()).st_size
        await send({"type": "http.response.start", "status": 200, "headers": [_ASGI_TYPE, (b"content-length", length)]})
        while block := file.read(_BLOCK_SIZE):
            await send({"type": "http.response.body", "body": block, "more_body": True})
    await send({"type": "http.response.body"})


async def sleep_asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    # Not imported above, where it would cost the cold start of those that serve WSGI and need no event loop.
    await sys.modules["asyncio"].sleep(SLEEP_SECONDS)
    await send({"type": "http.response.start", "status": 200, "headers": _ASGI_PLAINTEXT})
    await send({"type": "http.response.body", "body": PLAINTEXT})


def sleep_wsgi(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    time.sleep(SLEEP_SECONDS)
    start_response("200 OK", _WSGI_PLAINTEXT)
    return [PLAINTEXT]


def _work() -> None:
    """CPU time of this thread, whatever the machine's speed and the other threads do."""
    end = time.thread_time() + CPU_SECONDS
    while time.thread_time() < end:
        pass


async def cpu_asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    _work()
    await send({"type": "http.response.start", "status": 200, "headers": _ASGI_PLAINTEXT})
    await send({"type": "http.response.body", "body": PLAINTEXT})


def cpu_wsgi(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    _work()
    start_response("200 OK", _WSGI_PLAINTEXT)
    return [PLAINTEXT]
