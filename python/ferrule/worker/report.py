"""What a worker tells the arbiter: that it is ready, why it could not start, that it should be replaced.

One pipe per worker, written by the worker alone. Messages are marshalled dicts behind a four-byte length; both ends are
forks of one interpreter, so the format has no versions.
"""

from __future__ import annotations

import contextlib
import marshal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LENGTH = 4
LARGEST = 1 << 20  # a traceback; anything longer is cut by the writer

READY = "ready"
FAILED = "failed"
UNWANTED = "unwanted"


class ReportWriter:
    """The worker's end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def ready(self, **facts: str) -> None:
        """The worker accepts connections; `facts` are for the start-up line."""
        self._send({"what": READY, **facts})

    def failed(self, message: str, traceback: str | None) -> None:
        """The worker did not start."""
        room = LARGEST // 8  # characters, each of up to four bytes
        self._send({"what": FAILED, "message": message[:room], "traceback": (traceback or "")[-room:]})

    def unwanted(self, cause: str) -> None:
        """The worker should be replaced; it serves until it is told to go."""
        self._send({"what": UNWANTED, "cause": cause})

    def _send(self, message: dict[str, str]) -> None:
        data = marshal.dumps(message)
        data = len(data).to_bytes(_LENGTH, "little") + data
        # Without an arbiter to read it, a report has no purpose; the worker notices its absence elsewhere.
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._fd, data) :]


class ReportReader:
    """The arbiter's end."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._buffer = b""
        os.set_blocking(fd, False)

    def read(self) -> list[dict[str, Any]]:
        """Every complete message that has arrived. The writer may have died half-way: the rest is dropped."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.fd, 65536):
                self._buffer += chunk
        messages = []
        while len(self._buffer) >= _LENGTH:
            length = int.from_bytes(self._buffer[:_LENGTH], "little")
            if length > LARGEST:
                self._buffer = b""
                break
            if len(self._buffer) < _LENGTH + length:
                break
            data, self._buffer = self._buffer[_LENGTH : _LENGTH + length], self._buffer[_LENGTH + length :]
            with contextlib.suppress(ValueError, EOFError, TypeError):
                messages.append(marshal.loads(data))  # written by our own fork
        return messages

    def close(self) -> None:
        os.close(self.fd)
