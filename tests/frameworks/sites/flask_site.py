"""Flask: as it is (`app`), and between wsgiref's validators (`validated`)."""

import hashlib
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast
from wsgiref.validate import validator

from flask import Flask, Response, g, jsonify, make_response, redirect, request, send_file, session, stream_with_context
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.wrappers import Response as AnyResponse

from tests.frameworks.sites.shared import LARGE, PARTS, TICK, WORK, describe_upload, file_path, journal, purpose

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

site = Flask(__name__)
site.secret_key = "only for these tests"


@site.get("/json")
def json_page() -> Response:
    return jsonify(message="hello")


@site.post("/json")
def json_echo() -> Response:
    return jsonify(received=request.get_json())


@site.get("/large")
def large() -> Response:
    return jsonify(LARGE)


@site.post("/digest")
def digest() -> Response:
    data = request.get_data()
    return jsonify(size=len(data), sha256=hashlib.sha256(data).hexdigest())


@site.post("/form")
def form() -> Response:
    return jsonify(name=request.form["name"], tags=request.form.getlist("tag"))


@site.post("/upload")
def upload() -> Response:
    files = [describe_upload(file.filename, file.content_type, file.read()) for file in request.files.getlist("file")]
    return jsonify(note=request.form["note"], files=files)


@site.get("/cookies")
def cookies() -> Response:
    response = jsonify(request.cookies)
    response.set_cookie("first", "one")
    response.set_cookie("second", "two", httponly=True, samesite="Lax")
    return response


@site.get("/visits")
def visits() -> Response:
    session["visits"] = session.get("visits", 0) + 1
    return jsonify(visits=session["visits"])


@site.get("/redirect")
def redirected() -> AnyResponse:
    return redirect("/json", 303)


@site.get("/fail/<number>")
def fail(number: str) -> Response:
    raise RuntimeError(purpose(number))


@site.delete("/nothing")
def nothing() -> Response:
    response = Response(status=204)
    # A response without content has no type; wsgiref's validator insists.
    del response.headers["Content-Type"]
    return response


@site.get("/etag")
def etag() -> Response:
    response = make_response("the page")
    response.set_etag("version-1")
    response.make_conditional(request)
    if response.status_code == 304:
        del response.headers["Content-Type"]
    return response


@site.get("/stream")
def stream() -> Response:
    return Response(iter(PARTS), mimetype="text/plain")


@site.get("/stream/fail/<number>")
def stream_fail(number: str) -> Response:
    def parts() -> Iterator[str]:
        yield from PARTS[:3]
        raise RuntimeError(purpose(number))

    return Response(parts(), mimetype="text/plain")


@site.get("/events/<name>")
def events(name: str) -> Response:
    def ticks() -> Iterator[str]:
        with journal.span(name):
            number = 0
            while True:
                yield f"id: {number}\ndata: tick\n\n"
                number += 1
                time.sleep(TICK)

    return Response(ticks(), mimetype="text/event-stream")


@site.get("/journal")
def entries() -> Response:
    return jsonify(count=journal.count(request.args["entry"]))


@site.get("/file")
def file() -> Response:
    return send_file(file_path(), mimetype="application/octet-stream", conditional=True)


@site.get("/echo/<path:rest>")
def echo(rest: str) -> Response:
    return jsonify(
        rest=rest,
        root=request.root_path.rstrip("/"),
        query=request.query_string.decode(),
        header=request.headers.get("X-Sent"),
        client=request.remote_addr,
        url=request.base_url,
    )


@site.get("/sleep")
def sleep() -> Response:
    time.sleep(0.01)
    return jsonify(number=int(request.args["number"]))


# What is Flask's own.


@site.get("/stack")
def stack() -> Response:
    """The request context lives until the last part was sent."""
    g.word = request.args["word"]

    def parts() -> Iterator[str]:
        for _ in range(3):
            time.sleep(TICK)
            yield f"{g.word} {request.args['word']}\n"

    return Response(stream_with_context(parts()), mimetype="text/plain")


@site.get("/close")
def close() -> Response:
    """What runs when the server closes the iterable."""
    response = Response(iter(PARTS), mimetype="text/plain")
    response.call_on_close(lambda: journal.add("response closed"))
    return response


@site.get("/slow-close")
def slow_close() -> Response:
    response = jsonify(message="hello")
    response.call_on_close(lambda: time.sleep(WORK))
    return response


@site.get("/multiple")
def multiple() -> Response:
    response = jsonify(message="hello")
    response.headers.add("X-Repeated", "one")
    response.headers.add("X-Repeated", "two")
    response.status = "299 Something Else"
    return response


@site.get("/write/<number>")
def raw(number: str) -> Response:
    raise AssertionError(f"the middleware answers instead of this page ({number})")


class Unhandled(RuntimeError):
    """Leaves the application altogether."""


def raises(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Below Flask: an exception that no framework turns into a response."""
    raise Unhandled(purpose(environ["PATH_INFO"].rpartition("/")[2]))


def written(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Below Flask: the `write` callable of PEP 3333, then an iterable."""
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"written, ")
    write(b"written again, ")
    return [b"and returned"]


def late(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Below Flask: another response in place of the one that failed (PEP 3333, `exc_info`)."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-First", "yes")])
    try:
        raise Unhandled("never sent")
    except Unhandled:
        import sys

        start_response("503 Service Unavailable", [("Content-Type", "text/plain")], sys.exc_info())
    return [b"the second response"]


app: "WSGIApplication" = cast(
    "WSGIApplication",
    DispatcherMiddleware(
        site.wsgi_app, {"/raises": raises, "/written": written, "/late": late, "/mounted": site.wsgi_app}
    ),
)


class SizedReads:
    """Werkzeug reads to the end with `read()`, which the validator forbids: the same in sized reads."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if size >= 0:
            return cast("bytes", self._stream.read(size))
        parts = []
        while part := self._stream.read(65536):
            parts.append(part)
        return b"".join(parts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def sized(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    environ["wsgi.input"] = SizedReads(environ["wsgi.input"])
    return app(environ, start_response)


validated = validator(sized)
