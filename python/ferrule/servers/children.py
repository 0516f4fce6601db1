"""Work done in a short-lived child process, so that what it imports never comes into this one.

That is how the arbiter learns whether the native core can be imported, and how an application's interface is found out
for servers that import it in workers only.
"""

from __future__ import annotations

import marshal
import os
import signal
from collections.abc import Callable

from ..errors import FerruleError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ChildFailedError(FerruleError):
    """The child raised, or died. `kind` is the name of the exception's type."""

    def __init__(self, kind: str, message: str, traceback: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.traceback = traceback


class Child:
    """Runs `work` in a fork at once. `result` waits for what it returns, which has to be plain data."""

    def __init__(self, work: Callable[[], Any]) -> None:
        reader, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(reader)
            _run(work, writer)
        os.close(writer)
        self._reader = reader

    def result(self) -> Any:
        """Raises `ChildFailedError`."""
        data = b""
        while chunk := os.read(self._reader, 65536):
            data += chunk
        os.close(self._reader)
        _, status = os.waitpid(self._pid, 0)
        if not data:
            code = os.waitstatus_to_exitcode(status)
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise ChildFailedError("", f"the process died ({how})")
        succeeded, outcome = marshal.loads(data)  # written by our own fork
        if succeeded:
            return outcome
        raise ChildFailedError(*outcome)


def _run(work: Callable[[], Any], writer: int) -> None:
    """In the child. Nothing may escape into the code that forked."""
    try:
        outcome = (True, work())
    except BaseException as error:
        outcome = (False, (type(error).__name__, str(error), getattr(error, "traceback", None)))
    try:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(marshal.dumps(outcome))
    finally:
        os._exit(0)
