"""The server's own log: one line per event, `[LEVEL] What happened key=value ...`, or one JSON object per line.

A leaf without Python's `logging`, which would cost the arbiter several milliseconds of start-up. Lines are written with
one write(2) each, so that those of several processes do not mix. Nothing a client or an application says can start a
line of its own.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time

from .errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .config import Settings

DEBUG, INFO, WARNING, ERROR, CRITICAL = 10, 20, 30, 40, 50
LEVELS = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR, "critical": CRITICAL}
_NAMES = {number: name for name, number in LEVELS.items()}

_BARE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:/@%+,[]()<>~-"


def quote(value: object) -> str:
    """A value of a key=value line: bare when it is one plain word, else in double quotes with escapes."""
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    text = str(value)
    if text and not text.strip(_BARE):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_escape(escaped)}"'


def format_traceback(error: BaseException, below: str | None = None) -> str:
    """The traceback of `error`, without the frames down to and including those of file `below`, and of the import
    machinery right under it."""
    import traceback

    frame = error.__traceback__
    if below is not None:
        while frame is not None and frame.tb_frame.f_code.co_filename != below:
            frame = frame.tb_next
        while frame is not None and _is_machinery(frame.tb_frame.f_code.co_filename, below):
            frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame))


def _is_machinery(filename: str, below: str) -> bool:
    return filename == below or "<frozen importlib" in filename or filename.endswith("/importlib/__init__.py")


class Log:
    """Writes to `path`, or to descriptor `fd` when there is none. `fields` are added to every line.

    Messages may be %-style with `args`; the `fields` of a call follow as key=value, a `traceback` on lines of its own.
    """

    def __init__(
        self,
        level: str = "info",
        *,
        path: str | None = None,
        format: str = "kv",
        fd: int = 2,
        **fields: object,
    ) -> None:
        """Raises `OSError` when `path` cannot be opened."""
        self.level = LEVELS[level]
        self.path = path
        self.format = format
        self.fd = fd if path is None else _open(path)
        self._fields = fields

    def child(self, **fields: object) -> Log:
        """The same sink with more fields on every line."""
        other = Log.__new__(Log)
        other.level, other.path, other.format, other.fd = self.level, self.path, self.format, self.fd
        other._fields = {**self._fields, **fields}
        return other

    def reopen(self) -> None:
        """Open `path` again under the same descriptor, after rotation. The old file stays in use when that fails."""
        if self.path is None:
            return
        try:
            fresh = _open(self.path)
        except OSError as error:
            self.error("Log file cannot be reopened", path=self.path, reason=error.strerror)
            return
        os.dup2(fresh, self.fd, inheritable=False)
        os.close(fresh)

    def close(self) -> None:
        """Close the file, if it is one. Children of this log must not be used any more."""
        if self.path is not None:
            os.close(self.fd)

    def debug(self, message: str, *args: object, traceback: str | None = None, **fields: object) -> None:
        self._write(DEBUG, message, args, traceback, fields)

    def info(self, message: str, *args: object, traceback: str | None = None, **fields: object) -> None:
        self._write(INFO, message, args, traceback, fields)

    def warning(self, message: str, *args: object, traceback: str | None = None, **fields: object) -> None:
        self._write(WARNING, message, args, traceback, fields)

    def error(self, message: str, *args: object, traceback: str | None = None, **fields: object) -> None:
        self._write(ERROR, message, args, traceback, fields)

    def critical(self, message: str, *args: object, traceback: str | None = None, **fields: object) -> None:
        self._write(CRITICAL, message, args, traceback, fields)

    def exception(self, message: str, *args: object, **fields: object) -> None:
        """An error with the traceback of the exception being handled."""
        error = sys.exception()
        self._write(ERROR, message, args, None if error is None else format_traceback(error), fields)

    def write(self, level: int, message: str, *args: object, traceback: str | None = None, **fields: object) -> None:
        """As the methods above, of any level."""
        self._write(level, message, args, traceback, fields)

    def _write(
        self,
        level: int,
        message: str,
        args: tuple[object, ...],
        traceback: str | None,
        fields: dict[str, object],
    ) -> None:
        if level < self.level:
            return
        if args:
            message %= args
        fields = {**self._fields, **fields}
        line = self._json(level, message, fields, traceback) if self.format == "json" else None
        if line is None:
            pairs = "".join(f" {key}={quote(value)}" for key, value in fields.items() if value is not None)
            line = f"[{_NAMES.get(level, 'info').upper()}] {_escape(message)}{pairs}\n"
            if traceback:
                line += _below(traceback)
        data = line.encode(errors="backslashreplace")
        # A log that cannot be written must not stop the server; there is nowhere left to say so.
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self.fd, data) :]

    def _json(self, level: int, message: str, fields: dict[str, object], traceback: str | None) -> str:
        import json

        record: dict[str, object] = {"time": round(time.time(), 3), "level": _NAMES.get(level, "info")}
        record |= {"message": message, **fields}
        if traceback:
            record["traceback"] = traceback
        return json.dumps(record, default=str) + "\n"


def _below(traceback: str) -> str:
    """Lines to follow a line of the log. They quote the application, and with it its clients: none of them may look
    like a line of its own, or tell a terminal what to do."""
    lines = traceback.removesuffix("\n").split("\n")
    return "".join(f" {_escape(line)}\n" if line.startswith("[") else f"{_escape(line)}\n" for line in lines)


def _escape(text: str) -> str:
    """`text` with what is not printable as escape sequences."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def open_log(settings: Settings) -> Log:
    """The log that the settings ask for. Raises `ConfigError`."""
    try:
        return Log(settings.log_level, path=settings.log_file, format=settings.log_format)
    except OSError as error:
        raise ConfigError(f"log-file: cannot open {settings.log_file}: {error.strerror}") from None


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
