"""A WSGI application that sleeps, spins, gets stuck, reads and writes as its query asks, for tests of the threads."""

import contextlib
import io
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
SLEPT: list[float] = []


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    asked = dict(parse_qsl(environ["QUERY_STRING"]))
    handler: Callable[..., Iterable[bytes]] = globals()["serve_" + environ["PATH_INFO"].strip("/")]
    return handler(environ, start_response, **asked)


def respond(start_response: StartResponse, text: str) -> Iterable[bytes]:
    body = text.encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def serve_sleep(environ: Environ, start_response: StartResponse, s: str) -> Iterable[bytes]:
    began = time.monotonic()
    time.sleep(float(s))
    SLEPT.append(time.monotonic() - began)
    return respond(start_response, "slept")


def serve_slept(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """How long a sleep took on average since this was last asked, in seconds: a busy machine oversleeps."""
    average = sum(SLEPT) / len(SLEPT)
    SLEPT.clear()
    return respond(start_response, str(average))


def serve_spin(environ: Environ, start_response: StartResponse, s: str) -> Iterable[bytes]:
    end = time.monotonic() + float(s)
    while time.monotonic() < end:
        pass
    return respond(start_response, "spun")


def serve_echo(environ: Environ, start_response: StartResponse, text: str, sleep: str = "0") -> Iterable[bytes]:
    if float(sleep):
        time.sleep(float(sleep))
    return respond(start_response, text)


def serve_thread(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Which thread calls, iterates and closes, and whether the environ says that there are more."""
    called = threading.get_ident()
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield f"{called} {threading.get_ident()} {environ['wsgi.multithread']}".encode()


def serve_count(environ: Environ, start_response: StartResponse, size: str, pause: str = "0") -> Iterable[bytes]:
    """Reads the body in pieces of `size` bytes, all at once for -1, after `pause` seconds."""
    time.sleep(float(pause))
    total = 0
    while piece := environ["wsgi.input"].read(int(size)):
        total += len(piece)
    return respond(start_response, str(total))


def serve_back(environ: Environ, start_response: StartResponse, size: str, most: str = "1000000") -> Iterable[bytes]:
    """The body, at least the first `most` bytes of it, read in pieces of `size` bytes, of which only the last may be
    shorter."""
    pieces: list[bytes] = []
    while sum(map(len, pieces)) < int(most) and (piece := environ["wsgi.input"].read(int(size))):
        pieces.append(piece)
    assert all(len(piece) == int(size) for piece in pieces[:-1]), list(map(len, pieces))
    return respond(start_response, b"".join(pieces).decode())


def serve_lines(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    lines = [len(line) for line in environ["wsgi.input"]]
    return respond(start_response, f"{len(lines)} {sum(lines)}")


def serve_blocks(environ: Environ, start_response: StartResponse, size: str, pause: str) -> Iterator[bytes]:
    """One block of `size` bytes, and after `pause` seconds the end."""
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    yield bytes(int(size))
    time.sleep(float(pause))
    yield b"end"


def serve_stream(environ: Environ, start_response: StartResponse, size: str) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", size)])
    left = int(size)
    while left:
        piece = min(left, 65536)
        yield bytes(piece)
        left -= piece


def serve_ticks(environ: Environ, start_response: StartResponse, count: str, pause: str) -> Iterator[bytes]:
    """Server-sent events: alive for long, never for long in one call."""
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    for number in range(int(count)):
        yield f"data: {number}\n\n".encode()
        time.sleep(float(pause))


def serve_file(environ: Environ, start_response: StartResponse, size: str, kind: str = "file") -> Iterable[bytes]:
    """A sparse file, or the same bytes through an object without a descriptor."""
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", size)])
    wrap: Callable[..., Iterable[bytes]] = environ["wsgi.file_wrapper"]
    if kind == "memory":
        return wrap(io.BytesIO(bytes(int(size))), 65536)
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it (PEP 3333)
    file.truncate(int(size))
    return wrap(file, 65536)


def serve_pid(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return respond(start_response, str(os.getpid()))


def serve_fork(environ: Environ, start_response: StartResponse, s: str) -> Iterable[bytes]:
    """Leaves a child behind that holds copies of every descriptor for a while."""
    if os.fork() == 0:
        time.sleep(float(s))
        os._exit(0)
    return respond(start_response, "forked")


def serve_child_reads(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Has a child read the body, then reads it, and tells how much each of them got before it failed."""

    def count() -> bytes:
        got = 0
        with contextlib.suppress(OSError):
            while piece := environ["wsgi.input"].read(10_000):
                got += len(piece)
        return b"%d" % got

    come, gone = os.pipe()
    if os.fork() == 0:
        os.write(gone, count())
        os._exit(0)
    os.close(gone)
    with open(come, "rb") as pipe:
        told = pipe.read()
    os.wait()
    return respond(start_response, (told + b" " + count()).decode())


def serve_child_writes(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Has a child send a hint and a part of the body, and tells how often it failed."""
    write = start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "1")])
    come, gone = os.pipe()
    if os.fork() == 0:
        try:
            environ["wsgi.early_hints"]([("Link", "</a>")])
        except OSError:
            os.write(gone, b"!")
        try:
            write(b"child")
        except OSError:
            os.write(gone, b"!")
        os._exit(0)
    os.close(gone)
    with open(come, "rb") as pipe:
        failed = len(pipe.read())
    os.wait()
    return [str(failed).encode()]


def serve_until(environ: Environ, start_response: StartResponse, file: str) -> Iterable[bytes]:
    """Until there is a file of this name."""
    while not os.path.exists(file):
        time.sleep(0.01)
    return respond(start_response, "until")


class Closing:
    """An iterable that has something to do at its end."""

    def __init__(self, close: Callable[[], object]) -> None:
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        yield b"closing"


def serve_late_close(environ: Environ, start_response: StartResponse, s: str, file: str = "") -> Iterable[bytes]:
    """Closes for `s` seconds, and makes a file at the end if it is to."""

    def close() -> None:
        time.sleep(float(s))
        if file:
            open(file, "x").close()

    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "7")])
    return Closing(close)


def serve_late_read(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "7")])
    return Closing(environ["wsgi.input"].read)


def serve_descriptors(environ: Environ, start_response: StartResponse, count: str) -> Iterable[bytes]:
    """Takes descriptors from the process for a second."""
    taken: list[int] = []
    with contextlib.suppress(OSError):
        while len(taken) < int(count):
            taken.append(os.open(os.devnull, os.O_RDONLY))
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield f"{len(taken)}\n".encode()
    time.sleep(1)
    for fd in taken:
        os.close(fd)
    yield b"given back"
