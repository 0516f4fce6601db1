"""The WSGI counterpart of `wire_asgi`, for what both interfaces promise. Validated by `wsgiref` in every call but those
that break the rules on purpose."""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.validate import validator

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Handler = Callable[[Environ, StartResponse], Iterable[bytes]]

PATHS: dict[str, Handler] = {}
RULE_BREAKERS = {"response", "echo", "stream", "crash", "unfinished"}
STATE = {"streamed": 0}


def path(function: Handler) -> Handler:
    PATHS[function.__name__] = function
    return function


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    name = environ["PATH_INFO"].split("/")[1]
    handler = PATHS.get(name, hello)
    return handler(environ, start_response) if name in RULE_BREAKERS else validator(handler)(environ, start_response)


def query(environ: Environ) -> dict[str, str]:
    return dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))


def respond(start_response: StartResponse, body: bytes) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return respond(start_response, b"hello " + environ["PATH_INFO"].encode("latin-1"))


@path
def echo(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    told = {
        "method": environ["REQUEST_METHOD"],
        "raw_path": environ["RAW_URI"].partition("?")[0],
        "query": environ["QUERY_STRING"],
        "headers": {key: value for key, value in environ.items() if key.startswith(("HTTP_", "CONTENT_"))},
        "body": body.decode("latin-1"),
    }
    return respond(start_response, json.dumps(told).encode())


@path
def sleep(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    time.sleep(float(query(environ)["s"]))
    return respond(start_response, environ["QUERY_STRING"].encode("latin-1"))


@path
def ignore(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return respond(start_response, b"ignored")


@path
def late_read(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    time.sleep(float(query(environ)["s"]))
    return respond(start_response, str(len(environ["wsgi.input"].read(-1))).encode())


@path
def count(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    rate = float(query(environ).get("rate", "0"))
    total = 0
    began = time.monotonic()
    while part := environ["wsgi.input"].read(65536):
        total += len(part)
        if rate:
            time.sleep(max(0.0, total / rate - (time.monotonic() - began)))
    return respond(start_response, str(total).encode())


@path
def stream(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    asked = query(environ)
    size, chunk = int(asked["size"]), bytes(int(asked.get("chunk", "65536")))
    headers = [("Content-Type", "application/octet-stream")]
    if "length" in asked:
        headers.append(("Content-Length", asked["size"]))
    start_response("200 OK", headers)
    sent = STATE["streamed"] = 0
    while sent < size:
        part = chunk[: size - sent]
        yield part
        sent += len(part)
        STATE["streamed"] = sent


@path
def seen(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return respond(start_response, json.dumps(STATE).encode())


@path
def response(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    wanted = json.loads(environ["wsgi.input"].read())
    start_response(
        wanted.get("status_line", f"{wanted.get('status', 200)} Status"),
        [(name, value) for name, value in wanted.get("headers", [])],
    )
    parts = [part.encode("latin-1") for part in wanted.get("body", [""])]
    return parts if len(parts) == 1 else iter(parts)


@path
def early_hints(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    links = [("Link", "</a.css>; rel=preload"), ("Link", "</b.js>; rel=preload")]
    for _ in range(int(query(environ).get("times", "1"))):
        environ["wsgi.early_hints"](links)
    return respond(start_response, b"after hints")


@path
def crash(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    when = query(environ)["when"]
    if when == "before":
        raise RuntimeError("crashed before <script>alert('page')</script>")
    start_response("200 OK", [("Content-Type", "text/plain")])
    if when == "started":
        raise RuntimeError("crashed started")
    yield b"part"
    raise RuntimeError("crashed body")


@path
def pid(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return respond(start_response, str(os.getpid()).encode())
