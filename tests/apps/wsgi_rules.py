"""WSGI applications at the edges of PEP 3333: late errors, `write`, iterables of every kind, and their `close`."""

import gzip
import io
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

PLAIN = [("Content-Type", "text/plain")]
EVENTS: list[str] = []


class Body:
    """An iterable that notes what is done with it."""

    def __init__(self, *items: bytes | Exception, closing: Exception | None = None) -> None:
        self._items = iter(items)
        self._closing = closing

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        item = next(self._items)
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        EVENTS.append("closed")
        if self._closing is not None:
            raise self._closing


def app(environ: Environ, start_response: StartResponse) -> Any:
    name = environ["PATH_INFO"].strip("/")
    return globals()["serve_" + name](environ, start_response)


def _serve_validated(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", PLAIN)
    return [b"%s %d" % (environ["REQUEST_METHOD"].encode(), len(body))]


serve_validated = validator(_serve_validated)


def serve_events(environ: Environ, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", PLAIN)
    events = " ".join(EVENTS)
    EVENTS.clear()
    return [events.encode()]


def serve_closable(environ: Environ, start_response: StartResponse) -> Body:
    start_response("200 OK", PLAIN)
    return Body(b"one ", b"", b"two")


def serve_raising(environ: Environ, start_response: StartResponse) -> Body:
    start_response("200 OK", PLAIN)
    return Body(ValueError("while iterating"))


def serve_bad_close(environ: Environ, start_response: StartResponse) -> Body:
    start_response("200 OK", [*PLAIN, ("Content-Length", "4")])
    return Body(b"done", closing=ValueError("while closing"))


def serve_endless(environ: Environ, start_response: StartResponse) -> Body:
    start_response("200 OK", PLAIN)
    return Body(*[bytes(65536)] * 100_000)


def serve_generator(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Starts the response only when it is iterated, after an empty item; and cleans up."""
    try:
        yield b""
        start_response("200 OK", PLAIN)
        yield b"late start"
    finally:
        EVENTS.append("cleaned")


def serve_write(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", PLAIN)
    write(b"written ")
    write(b"twice, ")
    return [b"then returned"]


def serve_error_in_time(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [*PLAIN, ("X-First", "yes")])
    try:
        raise ValueError("noticed in time")
    except ValueError:
        start_response("503 Try Later", [("Content-Type", "text/html")], sys.exc_info())
    return [b"sorry"]


def serve_error_too_late(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", PLAIN)
    write(b"part")
    try:
        raise ValueError("noticed too late")
    except ValueError:
        try:
            start_response("500 Oops", PLAIN, sys.exc_info())
        except ValueError as error:
            EVENTS.append(f"raised again: {error}")
            raise
    return []


def serve_twice(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", PLAIN)
    try:
        start_response("404 Not Found", PLAIN)
    except RuntimeError:
        return [b"the first one holds"]
    return []


def serve_never_started(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return [b"no head"]


def serve_nothing(environ: Environ, start_response: StartResponse) -> None:
    start_response("200 OK", PLAIN)


def serve_str(environ: Environ, start_response: StartResponse) -> list[str]:
    start_response("200 OK", PLAIN)
    return ["str"]


def serve_exit(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    sys.exit(3)


def serve_interrupt(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    raise KeyboardInterrupt


def serve_caught_bad_header(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    try:
        start_response("200 OK", [("X-Bad", "a\r\nb: c")])
    except ValueError:
        return [b"goes on without a head"]
    return []


def serve_gzip(environ: Environ, start_response: StartResponse) -> Any:
    """A file object whose descriptor holds other bytes than it reads."""
    packed = tempfile.NamedTemporaryFile(suffix=".gz")  # noqa: SIM115 - lives as long as the response
    packed.write(gzip.compress(b"plain content"))
    packed.flush()
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](gzip.open(packed.name))


def serve_rest_of_file(environ: Environ, start_response: StartResponse) -> Any:
    """A buffered file that was read from already."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it (PEP 3333)
    file.write(b"0123456789" * 5)
    file.seek(0)
    file.read(45)
    start_response("200 OK", [*PLAIN, ("Content-Length", "3")])
    return environ["wsgi.file_wrapper"](file)


class Closing(io.BytesIO):
    def close(self) -> None:
        EVENTS.append("file closed")
        super().close()


def serve_file_object(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](Closing(b"x" * 100_000), 1000)
