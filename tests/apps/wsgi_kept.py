"""A WSGI application that keeps one of the things it gets with a request, and at `/kept` tells what became of it."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

KEPT: dict[str, Any] = {}


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    if environ["PATH_INFO"] == "/kept":
        found = look()
    else:
        KEPT.clear()
        what = environ["PATH_INFO"].removeprefix("/")
        KEPT[what] = {
            "input": environ["wsgi.input"],
            "start_response": start_response,
            "weakly": weakref.ref(start_response),
        }[what]
        found = body.decode()
    start_response("200 OK", [])
    return [found.encode()]


def look() -> str:
    ((what, thing),) = KEPT.items()
    match what:
        case "input":
            return repr(thing.read())
        case "weakly":
            return repr(thing())
        case _:
            try:
                thing("500 Not The Next Ones", [])
            except RuntimeError as error:
                return str(error)
            return "started"
