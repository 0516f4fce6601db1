"""An HTTP/2 client that does what it is told, frame by frame, over a real socket: RFC 9113 by hyperframe and hpack.

It keeps both sides' windows unless asked not to, answers PING and SETTINGS, and collects what arrives by stream. It
never judges: what is right is the tests' business.
"""

import contextlib
import selectors
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from hpack import Decoder, Encoder, NeverIndexedHeaderTuple
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DEFAULT_WINDOW = 65535
MAX_FRAME = 16384

Fields = Iterable[tuple[str, str]]


class ClosedError(AssertionError):
    """The server closed the connection before what was waited for had come."""


@dataclass
class Exchange:
    """What has come of one stream."""

    heads: list[dict[str, str]] = field(default_factory=list)  # interim ones, the final one, then trailers
    raw_fields: list[tuple[str, str]] = field(default_factory=list)  # of the last header block
    body: bytearray = field(default_factory=bytearray)
    data_frames: int = 0
    ended: bool = False
    reset: int | None = None  # the error code of RST_STREAM

    @property
    def interim(self) -> list[dict[str, str]]:
        return [head for head in self.heads if head.get(":status", "").startswith("1")]

    @property
    def head(self) -> dict[str, str]:
        return next(head for head in self.heads if not head.get(":status", "1").startswith("1"))

    @property
    def status(self) -> int:
        return int(self.head[":status"])

    @property
    def trailers(self) -> dict[str, str] | None:
        return self.heads[-1] if ":status" not in self.heads[-1] else None

    @property
    def has_head(self) -> bool:
        return any(not head.get(":status", "1").startswith("1") for head in self.heads)

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None


class H2Connection:
    """One connection to a server; a context manager that closes it."""

    def __init__(
        self,
        address: Any,
        *,
        timeout: float = 10.0,
        settings: Mapping[int, int] | None = None,
        grow_windows: bool = True,
        greet: bool = True,
        source: str | None = None,
        receive_buffer: int | None = None,
        wrap: Callable[[socket.socket], socket.socket] | None = None,
    ) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        if source is not None:
            self.sock.bind((source, 0))
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.connect(address)
        if family != socket.AF_UNIX:
            # HEADERS and DATA leave in sends of their own; a test must not wait for delayed acknowledgements.
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if wrap is not None:
            self.sock = wrap(self.sock)
        self.timeout = timeout
        self.grow_windows = grow_windows
        self.exchanges: dict[int, Exchange] = defaultdict(Exchange)
        self.data_order: list[int] = []  # the streams of the DATA frames received
        self.goaways: list[GoAwayFrame] = []
        self.pings: list[PingFrame] = []
        self.ack_pings = True
        self.settings: dict[int, int] = {}
        self.settings_acks = 0
        self.window = DEFAULT_WINDOW  # of the connection, for what this client sends
        self.windows: dict[int, int] = {}
        self.closed = False
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.decoder.max_header_list_size = 1 << 24
        self._initial = DEFAULT_WINDOW
        self._input = bytearray()
        self._output = bytearray()
        self._next = 1
        self._block = b""
        if greet:
            self.send(PREFACE + SettingsFrame(0, settings=dict(settings or {})).serialize())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    # Sending.

    def send(self, data: bytes) -> None:
        """Bytes as they are, in full. Reads meanwhile, as every client of a bidirectional protocol has to."""
        self._output += data
        self._move(lambda: not self._output)

    def send_frames(self, *frames: Frame) -> None:
        self.send(b"".join(frame.serialize() for frame in frames))

    def head(self, method: str = "GET", path: str = "/", fields: Fields = ()) -> list[tuple[str, str]]:
        return [(":method", method), (":scheme", "http"), (":authority", "test"), (":path", path), *fields]

    def next_stream(self) -> int:
        """The number of a new stream, for a test that makes its frames itself."""
        stream = self._next
        self._next += 2
        self.windows[stream] = self._initial
        return stream

    def open(self, fields: Fields, *, end: bool) -> int:
        """HEADERS with exactly these fields on the next stream."""
        stream = self.next_stream()
        pairs = [NeverIndexedHeaderTuple(name, value) if len(value) > 4096 else (name, value) for name, value in fields]
        block = self.encoder.encode(pairs)
        flags = ["END_STREAM"] if end else []
        first, rest = block[:MAX_FRAME], block[MAX_FRAME:]
        out = HeadersFrame(stream, first, flags=[*flags, *([] if rest else ["END_HEADERS"])]).serialize()
        while rest:
            piece, rest = rest[:MAX_FRAME], rest[MAX_FRAME:]
            head = len(piece).to_bytes(3) + bytes([9, 0 if rest else 4]) + stream.to_bytes(4)
            out += head + piece
        self.send(out)
        return stream

    def request(self, method: str = "GET", path: str = "/", *, fields: Fields = (), body: bytes | None = None) -> int:
        """A whole request; a body waits for windows."""
        stream = self.open(self.head(method, path, fields), end=body is None)
        if body is not None:
            self.data(stream, body, end=True)
        return stream

    def data(self, stream: int, body: bytes, *, end: bool = False) -> None:
        """All of `body`, as the windows allow."""
        rest = memoryview(body)
        while True:
            if rest:
                self.wait(lambda: self.room(stream) > 0 or self.exchanges[stream].over, "a window")
                if self.exchanges[stream].over:
                    return
            piece = rest[: min(self.room(stream), MAX_FRAME)]
            rest = rest[len(piece) :]
            self.window -= len(piece)
            self.windows[stream] -= len(piece)
            flags = ["END_STREAM"] if end and not rest else []
            self.send(DataFrame(stream, bytes(piece), flags=flags).serialize())
            if not rest:
                return

    def trailers(self, stream: int, fields: Fields) -> None:
        self.send_frames(HeadersFrame(stream, self.encoder.encode(list(fields)), flags=["END_HEADERS", "END_STREAM"]))

    def reset(self, stream: int, code: int = 8) -> None:
        self.send_frames(RstStreamFrame(stream, error_code=code))

    def settle(self, settings: Mapping[int, int] | None = None) -> None:
        """Wait until the server has acknowledged our settings: those of the greeting, or these. From then on nothing
        is sent but what the test sends."""
        expected = max(1, self.settings_acks)
        if settings is not None:
            expected += 1
            self.send_frames(SettingsFrame(0, settings=dict(settings)))
        self.wait(lambda: self.settings_acks >= expected and bool(self.settings) and not self._output, "its settings")

    def open_window(self, stream: int, increment: int) -> None:
        self.send_frames(WindowUpdateFrame(stream, window_increment=increment))

    def room(self, stream: int) -> int:
        """Bytes of data that may be sent now."""
        return min(self.window, self.windows[stream])

    # Receiving.

    def response(self, stream: int, timeout: float | None = None) -> Exchange:
        """The exchange once its response is complete or the stream was reset."""
        self.wait(lambda: self.exchanges[stream].over, f"the end of stream {stream}", timeout)
        return self.exchanges[stream]

    def get(self, path: str = "/", **more: Any) -> Exchange:
        return self.response(self.request("GET", path, **more))

    def post(self, path: str, body: bytes, **more: Any) -> Exchange:
        return self.response(self.request("POST", path, body=body, **more))

    def greet(self) -> Self:
        """Waits until both sides know each other: from here on nothing is sent but what is asked for."""
        self.wait(lambda: self.settings_acks > 0 and self.settings != {}, "the server's greeting")
        self.send(b"")
        return self

    def wait_closed(self, timeout: float | None = None) -> None:
        with contextlib.suppress(ClosedError):
            self.wait(lambda: self.closed, "the end of the connection", timeout)

    def wait(self, condition: Callable[[], bool], what: str, timeout: float | None = None) -> None:
        """Read until the condition holds. `ClosedError` when the connection ends before, `AssertionError` in time."""
        self._move(condition, what, timeout)

    def pause(self, seconds: float) -> None:
        """Read for so long."""
        end = time.monotonic() + seconds
        with contextlib.suppress(ClosedError):
            self._move(lambda: time.monotonic() >= end, "time to pass", seconds + 1)

    def _move(self, condition: Callable[[], bool], what: str = "room to send", timeout: float | None = None) -> None:
        """Move bytes both ways until the condition holds."""
        limit = time.monotonic() + (timeout or self.timeout)
        with selectors.DefaultSelector() as selector:
            selector.register(self.sock, selectors.EVENT_READ)
            while not condition():
                if self.closed:
                    raise ClosedError(f"closed while waiting for {what}")
                if time.monotonic() > limit:
                    raise AssertionError(f"no {what} in {timeout or self.timeout:g} s")
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._output else 0)
                selector.modify(self.sock, events)
                for _, ready in selector.select(0.02):
                    if ready & selectors.EVENT_READ:
                        self._read()
                    if ready & selectors.EVENT_WRITE and self._output and not self.closed:
                        self._write()

    def _write(self) -> None:
        try:
            count = self.sock.send(memoryview(self._output)[:65536], socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            # Nobody reads this any more; what was said before is still here.
            while not self.closed:
                self._read()
            return
        del self._output[:count]

    def _read(self) -> None:
        try:
            data = self.sock.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return
        self._input += data
        while len(self._input) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._input)[:9])
            if len(self._input) < 9 + length:
                break
            frame.parse_body(memoryview(bytes(self._input[9 : 9 + length])))
            del self._input[: 9 + length]
            self._on_frame(frame)

    def _on_frame(self, frame: Frame) -> None:
        exchange = self.exchanges[frame.stream_id] if frame.stream_id else None
        kind = frame.type
        if kind in (1, 9):  # HEADERS, CONTINUATION
            assert exchange is not None
            self._block += frame.data  # type: ignore[attr-defined]
            if "END_HEADERS" in frame.flags:
                decoded = self.decoder.decode(self._block, raw=True)
                pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in decoded]
                self._block = b""
                exchange.raw_fields = pairs
                exchange.heads.append(dict(pairs))
            exchange.ended |= "END_STREAM" in frame.flags
        elif isinstance(frame, DataFrame):
            assert exchange is not None
            exchange.body += frame.data
            exchange.data_frames += 1
            self.data_order.append(frame.stream_id)
            exchange.ended |= "END_STREAM" in frame.flags
            if self.grow_windows and frame.flow_controlled_length:
                self._output += WindowUpdateFrame(0, window_increment=frame.flow_controlled_length).serialize()
                if not exchange.ended:
                    update = WindowUpdateFrame(frame.stream_id, window_increment=frame.flow_controlled_length)
                    self._output += update.serialize()
        elif isinstance(frame, RstStreamFrame):
            assert exchange is not None
            exchange.reset = frame.error_code
        elif isinstance(frame, WindowUpdateFrame):
            if frame.stream_id:
                self.windows[frame.stream_id] += frame.window_increment
            else:
                self.window += frame.window_increment
        elif isinstance(frame, SettingsFrame):
            if "ACK" in frame.flags:
                self.settings_acks += 1
                return
            self.settings.update(frame.settings)
            if SettingsFrame.INITIAL_WINDOW_SIZE in frame.settings:
                grown = frame.settings[SettingsFrame.INITIAL_WINDOW_SIZE] - self._initial
                self._initial += grown
                for stream in self.windows:
                    self.windows[stream] += grown
            self._output += SettingsFrame(0, flags=["ACK"]).serialize()
        elif isinstance(frame, PingFrame):
            if "ACK" not in frame.flags and self.ack_pings:
                self._output += PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize()
            else:
                self.pings.append(frame)
        elif isinstance(frame, GoAwayFrame):
            self.goaways.append(frame)
