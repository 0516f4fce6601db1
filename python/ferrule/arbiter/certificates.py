"""The certificates of a generation, on the arbiter's side: read, checked in a child, watched, handed to the workers.

The arbiter stays as privileged as it was started, so files that only root may read are read again when they change.
What a certificate looks like inside is for the core to say, which the arbiter never loads: a short-lived child does.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import signal
import time
from collections.abc import Callable, Mapping

from ..config import Settings
from ..errors import EXIT_OK, ConfigError, FerruleError
from ..logs import Log
from ..tls import Files, Material, check, moment
from ..worker.tls import Feed
from .process import fork_with_pipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

LOOK_INTERVAL = 1.0  # s between looks at the files
SETTLE = 0.25  # s for which files must stay as they are: a certificate and its key do not change in one step
CHECK_LIMIT = 10.0  # s that the child may take, most of which a key with a password takes
REMINDER_INTERVAL = 86400.0  # s between warnings of the same thing

Stamps = tuple[tuple[int, ...] | None, ...]


class Certificates:
    """`feed` is what workers inherit; `wake` the monotonic time of the next look."""

    def __init__(
        self,
        settings: Settings,
        origins: Mapping[str, str],
        directory: str,
        leave_in_child: Callable[[], None],
        log: Log,
    ) -> None:
        """Read and check. Raises `ConfigError`."""
        self._settings = settings
        self._leave_in_child = leave_in_child
        self._files = Files(settings, origins, directory)
        self._stamps: Stamps = self._files.stamps()
        self._settling: Stamps | None = None
        material = self._files.read()
        self._ends = self._check(material)
        self.feed = Feed(material)
        self.wake = time.monotonic() + LOOK_INTERVAL
        self._warn(log)

    def facts(self) -> list[dict[str, object]]:
        """What `server status` shows."""
        files = (each.certificate.path for each in self._files.identities)
        return [{"certfile": path, "expires": end} for path, end in zip(files, self._ends, strict=True)]

    def look(self, log: Log) -> bool:
        """Hand on what has changed; True when something has. A broken replacement changes nothing."""
        now = time.monotonic()
        if now < self.wake:
            return False
        self.wake = now + LOOK_INTERVAL
        if now >= self._warn_again:
            self._warn(log)
        stamps = self._files.stamps()
        if stamps == self._stamps:
            self._settling = None
            return False
        if stamps != self._settling:
            self._settling, self.wake = stamps, now + SETTLE
            return False
        self._stamps = stamps
        try:
            return self._replace(log)
        except (FerruleError, OSError, ValueError) as error:
            log.error("Certificates not replaced, the old ones go on", reason=error)
            return False

    def _replace(self, log: Log) -> bool:
        material = self._files.read()
        if material == self.feed.material:
            return False  # touched, or exchanged for a copy
        ends = self._check(material)
        self.feed.publish(material)
        self._ends = ends
        log.info("Certificates replaced", expires=",".join(moment(end) for end in ends))
        self._warn(log)
        return True

    def _warn(self, log: Log) -> None:
        self._warn_again = time.monotonic() + REMINDER_INTERVAL
        for message, fields in self._files.warnings(self._ends):
            log.warning(message, **fields)

    def _check(self, material: Material) -> list[float]:
        """Have a child build what the workers would build. Raises `ConfigError`, or `OSError` without a child."""
        pid, pipe, mask = fork_with_pipe()
        if pid == 0:
            self._check_in_child(material, pipe, mask)
        try:
            answer = _read_all(pipe, time.monotonic() + CHECK_LIMIT)
        finally:
            os.close(pipe)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        try:
            problem, ends = marshal.loads(answer)
        except (EOFError, ValueError, TypeError):
            raise ConfigError(f"TLS: the check of {self._files.identities[0].certificate.path} did not end") from None
        if problem is not None:
            raise ConfigError(problem)
        return list(ends)

    def _check_in_child(self, material: Material, writer: int, mask: set[int]) -> NoReturn:
        """Nothing may escape into the arbiter's code, which would go on as a second arbiter."""
        try:
            self._leave_in_child()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            try:
                answer: tuple[str | None, list[float]] = None, check(self._settings, self._files, material)
            except ConfigError as error:
                answer = str(error), []
            except BaseException as error:
                answer = f"TLS: {type(error).__name__}: {error}", []
            os.write(writer, marshal.dumps(answer))  # a sentence, or a number per certificate
        finally:
            os._exit(EXIT_OK)


def _read_all(fd: int, deadline: float) -> bytes:
    """What is written until the other end closes, or the deadline passes."""
    data = b""
    while select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
        chunk = os.read(fd, 65536)
        if not chunk:
            break
        data += chunk
    return data
