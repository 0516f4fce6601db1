"""A raw HTTP/1.1 client: sends exactly the bytes a test wrote, reads exactly one response at a time.

It is strict about what it reads, so that a malformed answer fails the test that got it.
"""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self


class MalformedResponseError(AssertionError):
    """The server sent bytes that are not an HTTP/1.1 response (RFC 9112)."""


@dataclass(frozen=True, slots=True)
class Response:
    """One response as it stood on the wire, its body decoded from its framing. Field names keep their case."""

    version: str
    status: int
    reason: str
    fields: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Every value of a field, in order; the name in any case."""
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """The only value of a field, None when absent; `AssertionError` when it is repeated."""
        values = self.values(name)
        assert len(values) <= 1, f"{name} appears {len(values)} times: {values}"
        return values[0] if values else None


class RawConnection:
    """A client socket with a read buffer; a context manager. Every wait is bounded by `timeout` seconds."""

    def __init__(self, address: tuple[str, int] | str, *, timeout: float = 10.0, receive_buffer: int = 0) -> None:
        if isinstance(address, str):
            family = socket.AF_UNIX
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        if receive_buffer:
            # Before connecting: the window is settled in the handshake. For clients that read slowly or never.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.socket.connect(address)
        except BaseException:
            self.socket.close()
            raise
        if family != socket.AF_UNIX:
            # Each `send` must leave as a segment of its own for the tests that split requests.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Close with RST instead of FIN, as a client that crashed."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def half_close(self) -> None:
        """Send FIN and go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_slowly(self, data: bytes, *, size: int = 1, delay: float = 0.0) -> None:
        """Send pieces of `size` bytes, `delay` seconds apart."""
        for start in range(0, len(data), size):
            self.socket.sendall(data[start : start + size])
            if delay:
                time.sleep(delay)

    def get(self, path: str = "/", *, fields: str = "") -> Response:
        """A plain GET and its response; `fields` are whole field lines, each with its CRLF."""
        self.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n".encode("latin-1"))
        return self.read_response()

    def read_response(self, *, method: str = "GET") -> Response:
        """The next response, interim ones (1xx) included. `method` matters for HEAD, which has no content.

        Raises `EOFError` when the connection was closed before its first byte, `MalformedResponseError` when the
        bytes are not a response or end in the middle of one, `TimeoutError`.
        """
        head = self._read_head()
        lines = head.split("\r\n")
        version, status, reason = _status_line(lines[0])
        fields = [_field_line(line) for line in lines[1:]]
        body = self._read_body(method, status, fields)
        return Response(version, status, reason, fields, body)

    def read_final_response(self, *, method: str = "GET") -> Response:
        """The next response that is not interim."""
        while (response := self.read_response(method=method)).status < 200:
            pass
        return response

    def read_to_end(self) -> bytes:
        """Everything until the server closes. Raises `TimeoutError` when it does not, `ConnectionResetError`."""
        while self._fill():
            pass
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def wait_closed(self) -> None:
        """Return once the server has closed, by FIN or RST; `AssertionError` when it sent anything before."""
        try:
            rest = self.read_to_end()
        except ConnectionResetError:
            return
        assert rest == b"", f"expected the end of the connection, got {rest[:200]!r}"

    def is_open(self, *, after: float = 0.0) -> bool:
        """Whether the server has not closed the connection `after` seconds from now."""
        time.sleep(after)
        before = self.socket.gettimeout()
        self.socket.setblocking(False)
        try:
            return len(self.socket.recv(1, socket.MSG_PEEK)) > 0
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        finally:
            self.socket.settimeout(before)

    def _fill(self) -> bool:
        data = self.socket.recv(65536)
        self._buffer += data
        return bool(data)

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not self._fill():
                raise MalformedResponseError(f"closed after {len(self._buffer)} of {count} bytes of content")
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _take_line(self) -> str:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if not self._fill():
                raise MalformedResponseError(f"closed inside a chunk line: {bytes(self._buffer)!r}")
        return self._take(end + 2)[:-2].decode("latin-1")

    def _read_head(self) -> str:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if not self._fill():
                if not self._buffer:
                    raise EOFError("closed before a response began")
                raise MalformedResponseError(f"closed inside a head: {bytes(self._buffer)!r}")
        return self._take(end + 4)[:-4].decode("latin-1")

    def _read_body(self, method: str, status: int, fields: list[tuple[str, str]]) -> bytes:
        lengths = [value for name, value in fields if name.lower() == "content-length"]
        codings = [value for name, value in fields if name.lower() == "transfer-encoding"]
        if len(lengths) > 1 or (lengths and codings):
            raise MalformedResponseError(f"ambiguous framing: {fields}")
        # RFC 9112 section 6.3: no content whatever the fields say.
        if method == "HEAD" or status < 200 or status in {204, 304}:
            return b""
        if codings:
            if codings != ["chunked"]:
                raise MalformedResponseError(f"unknown transfer coding: {codings}")
            return b"".join(self._read_chunks())
        if lengths:
            if not lengths[0].isascii() or not lengths[0].isdigit():
                raise MalformedResponseError(f"bad Content-Length: {lengths[0]!r}")
            return self._take(int(lengths[0]))
        return self.read_to_end()

    def _read_chunks(self) -> Iterator[bytes]:
        while True:
            size = int(self._take_line().split(";", 1)[0], 16)
            if size == 0:
                while self._take_line():  # trailers, up to the empty line
                    pass
                return
            yield self._take(size)
            if self._take(2) != b"\r\n":
                raise MalformedResponseError("chunk data is longer than its size says")


def every_split(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Both parts of `data` for every place it can be cut in two."""
    return ((data[:cut], data[cut:]) for cut in range(1, len(data)))


def _status_line(line: str) -> tuple[str, int, str]:
    version, _, rest = line.partition(" ")
    status, _, reason = rest.partition(" ")
    if version not in {"HTTP/1.1", "HTTP/1.0"} or len(status) != 3 or not status.isdigit():
        raise MalformedResponseError(f"bad status line: {line!r}")
    return version, int(status), reason


def _field_line(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name or name != name.strip() or any(character in line for character in "\r\n\0"):
        raise MalformedResponseError(f"bad field line: {line!r}")
    return name, value.strip(" \t")
