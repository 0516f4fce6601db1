"""The Rust core: sockets, parsing, framing, and the hand-over to applications.

Nothing here is public API; `python/ferrule/worker` is its only caller. Importing this module starts no
thread and opens no file.
"""

from asyncio import AbstractEventLoop, Task
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, final

__all__ = [
    "SCOREBOARD_LAYOUT",
    "SCOREBOARD_VERSION",
    "VERSION",
    "AccessLog",
    "AsgiServer",
    "ClientDisconnected",
    "FileWrapper",
    "Options",
    "Scoreboard",
    "TlsConfig",
    "WsgiServer",
    "leave_with",
]

VERSION: str
"""Version of the crate; equals the version of the distribution."""

SCOREBOARD_VERSION: int
"""Changes with the layout below, so that a mixed upgrade is noticed."""

SCOREBOARD_LAYOUT: dict[str, int]
"""Byte offset of every u64 in a worker's slot, plus `slot_size`. `arbiter/scoreboard.py` holds the same table."""

def leave_with(lifeline: int, parent: int, limit: float) -> None:
    """End this process with its parent: once `parent` is not the parent any more, SIGTERM, and SIGKILL `limit` seconds
    later, whatever keeps the GIL meanwhile. `lifeline` (duplicated) is a pipe that closes with the parent, so that it
    is noticed at once.

    Starts a native thread. Raises `OSError`.
    """

@final
class Scoreboard:
    """One worker's counters in memory shared with the arbiter.

    `memory` is a writable buffer (an `mmap.mmap`) of at least `(slot + 1) * slot_size` bytes.
    Raises `ValueError` when it is smaller.
    """

    def __new__(cls, memory: Any, slot: int, slots: int) -> Scoreboard: ...
    def beat(self) -> None:
        """Store the monotonic clock (ns) as this worker's heartbeat."""

@final
class AccessLog:
    """Formats access lines and writes them in batches; never blocks serving.

    `fd` is duplicated. `path` (when the sink is a file) is what `reopen` opens again.
    `fields` in their order of appearance; `format` is `kv`, `json` or `combined`.
    """

    def __new__(cls, fd: int, *, path: str | None, format: str, fields: Sequence[str], worker: int) -> AccessLog: ...
    def flush(self) -> None: ...
    def reopen(self) -> None:
        """Open `path` again (after rotation). Raises `OSError`; the old file stays in use then."""
    def dropped(self) -> int:
        """Lines dropped because the sink did not keep up."""

@final
class Options:
    """What the core needs of the settings; times in seconds, sizes in bytes, 0 = off."""

    def __new__(
        cls,
        *,
        threads: int,
        connections: int,
        limit_concurrency: int,
        keep_alive: float,
        header_timeout: float,
        write_timeout: float,
        body_min_rate: int,
        limit_request_line: int,
        limit_request_fields: int,
        limit_request_field_size: int,
        limit_request_head: int,
        limit_request_body: int,
        body_memory: int,
        body_memory_total: int,
        request_timeout: float,
        cancel_on_disconnect: bool,
        root_path: str,
        server_header: str | None,
        date_header: bool,
        headers: Sequence[tuple[bytes, bytes]],
        sendfile: bool,
        multiprocess: bool,
        health_path: str | None,
        ready_path: str | None,
        http: str,
        h2_max_streams: int,
        h2_window: int,
        h2_connection_window: int,
        h2_max_frame_size: int,
        h2_max_header_list: int,
    ) -> Options: ...

@final
class TlsConfig:
    """What one TLS listener presents and demands. Immutable but for `replace`.

    `identities` are (names, certificate chain, private key, password of the key); PEM, and the first is presented to
    clients that ask for none of the names. A name is a host name or `*.` and one; the first identity can do without.
    `client_ca` is a PEM bundle, needed unless `client_cert` is "none" (else "optional" or "required"). `ciphers` are
    OpenSSL or IANA names, none for the defaults; `min_version` is "1.2" or "1.3"; `alpn` has what to agree on, in order
    of preference. `handshake_timeout` in seconds, 0 = off. `ticket_key` (32 random bytes or more) seals session
    tickets: clients resume with every worker that has the same; None: one of this object's own.

    Raises `ValueError`, whose one line begins with what is wrong: "identities[0]: the private key does not match ...".
    """

    def __new__(
        cls,
        *,
        identities: Sequence[tuple[Sequence[str], bytes, bytes, str | None]],
        client_ca: bytes | None,
        client_cert: str,
        ciphers: Sequence[str],
        min_version: str,
        alpn: Sequence[str],
        handshake_timeout: float,
        ticket_key: bytes | None = None,
    ) -> TlsConfig: ...
    @property
    def not_after(self) -> list[float]:
        """Unix time at which each identity's certificate expires."""
    def replace(self, other: TlsConfig) -> None:
        """Later handshakes use what `other` has; live connections go on. Atomic; from any thread."""

class ClientDisconnected(OSError):
    """The client went away before the response was complete (ASGI HTTP spec 2.4, `send`; reading `wsgi.input`)."""

@final
class FileWrapper:
    """`wsgi.file_wrapper` (PEP 3333)."""

    def __new__(cls, filelike: Any, blksize: int = ..., /) -> FileWrapper: ...
    def __iter__(self) -> FileWrapper: ...
    def __next__(self) -> bytes: ...
    def close(self) -> None: ...

@final
class AsgiServer:
    """Serves an ASGI 3 application inside a running asyncio loop, on that loop's thread only.

    The worker calls `loop.add_reader(server.fileno(), server.poll)` once and `start()`; everything else is driven
    from there. `listeners` are file descriptors of listening sockets (duplicated by the core).
    `context` is the base context that every request's task copies. `state` is the lifespan state or None.
    `log(level, message, exc)` receives what an operator should read: level is a `logging` level number,
    exc an exception or None. `extensions` is `scope["extensions"]`. `error_page(exception, request_line, fields)`
    renders the HTML page that `--debug` shows; None: plain text. `task_stack(task)` formats where a task is stuck.
    `tls` and `protocols` ("auto", "1", "2") say what each listener speaks, in the order of `listeners`; empty: all of
    them clear text, and what `options` say. Raises `ValueError` when their number is another.
    """

    def __new__(
        cls,
        app: Any,
        options: Options,
        event_loop: AbstractEventLoop,
        *,
        listeners: Sequence[int],
        context: Context,
        state: dict[str, Any] | None,
        extensions: dict[str, Any],
        log: Callable[[int, str, BaseException | None], None],
        error_page: Callable[[BaseException, str, list[tuple[bytes, bytes]]], bytes] | None,
        task_stack: Callable[[Task[Any]], str],
        access_log: AccessLog | None,
        scoreboard: Scoreboard | None,
        tls: Sequence[TlsConfig | None] = ...,
        protocols: Sequence[str] = ...,
    ) -> AsgiServer: ...
    def fileno(self) -> int: ...
    def poll(self) -> None: ...
    def start(self) -> None:
        """Begin to accept."""
    def drain(self, grace: float) -> None:
        """Stop accepting (after serving what the accept queue holds); answer what is in flight with
        `Connection: close`; idle connections are closed after min(5 s, grace / 2). Idempotent."""
    def abort(self) -> None:
        """Close every connection now; tasks still running are cancelled."""
    def close(self) -> None:
        """Let go of the loop and its timers, so that a process that goes on can free the server."""
    def is_idle(self) -> bool:
        """No connection and no task (background work counts) is left."""
    def in_flight(self) -> int: ...
    def connections(self) -> int: ...

@final
class WsgiServer:
    """Serves a WSGI application (PEP 3333) on Python threads that the worker starts.

    Each application thread runs `serve()`, one more thread runs `io_loop()` and never enters Python code.
    A byte is written to the descriptor `wakeup` (duplicated by the core) when `abandoned` has something new.
    `tls` and `protocols` as for `AsgiServer`.
    """

    def __new__(
        cls,
        app: Any,
        options: Options,
        *,
        listeners: Sequence[int],
        log: Callable[[int, str, BaseException | None], None],
        error_page: Callable[[BaseException, str, list[tuple[bytes, bytes]]], bytes] | None,
        access_log: AccessLog | None,
        scoreboard: Scoreboard | None,
        draining: Any,
        wakeup: int | None = None,
        tls: Sequence[TlsConfig | None] = ...,
        protocols: Sequence[str] = ...,
    ) -> WsgiServer: ...
    def start(self) -> None:
        """Begin to accept."""
    def report(self) -> None:
        """Pass waiting messages to `log`; the main thread calls it with every beat, because the I/O thread cannot."""
    def serve(self) -> None:
        """Run as leader or follower until `stop` (returns then)."""
    def io_loop(self) -> None:
        """Poll, parse and answer what needs no application while every application thread is inside the
        application. Returns on `stop`."""
    def drain(self, grace: float) -> None:
        """As `AsgiServer.drain`."""
    def abort(self) -> None:
        """Close every connection now."""
    def stop(self) -> None:
        """Make `serve` and `io_loop` return as soon as their current call has ended."""
    def is_idle(self) -> bool: ...
    def is_busy(self) -> bool:
        """Whether threads are inside the application, be their clients there or not."""
    def in_flight(self) -> int: ...
    def connections(self) -> int: ...
    def stuck_for(self) -> float:
        """Seconds since the application last gave a thread back while every thread has been inside one application
        call (waiting for the client does not count); 0.0 while any thread is free."""
    def abandoned(self) -> list[tuple[int, str]]:
        """Threads given up since the last call because their request ran into `request_timeout`: the
        `threading.get_ident()` of each and the request it is stuck in. Its client has been answered, the thread counts
        no more and its `serve` returns as soon as the application lets go; the worker should start another."""
