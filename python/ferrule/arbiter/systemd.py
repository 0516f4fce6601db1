"""What systemd and its service managers say in the environment, and what they are told: sd_listen_fds(3), sd_notify(3).

Knows the protocol only; the arbiter decides when something is worth telling.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import MutableMapping

FIRST_FD = 3


def inherited_descriptors(environ: MutableMapping[str, str], pid: int) -> list[int]:
    """Descriptors handed over by socket activation; the variables are taken out of `environ`."""
    owner, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if owner != str(pid) or not count.isdigit():
        return []
    return list(range(FIRST_FD, FIRST_FD + int(count)))


class Notifier:
    """Tells the service manager how the server is doing; without one, does nothing.

    The variables are taken out of `environ`, so that the application's own children do not speak for the server.
    """

    def __init__(self, environ: MutableMapping[str, str], pid: int) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        interval, owner = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        wanted = interval.isdecimal() and int(interval) > 0 and owner in ("", str(pid))
        self.watchdog_interval = int(interval) / 2e6 if wanted else None  # s; half of what is tolerated
        self._watchdog_usec = interval
        self._next_watchdog = 0.0

    def variables(self) -> dict[str, str]:
        """What a new generation of the server has to find in its environment."""
        variables = {"NOTIFY_SOCKET": self._address} if self._address else {}
        if self.watchdog_interval is not None:
            variables["WATCHDOG_USEC"] = self._watchdog_usec
        return variables

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def main_pid(self, pid: int) -> None:
        """From now on another process is the service."""
        self._send(f"MAINPID={pid}")

    def watchdog(self, now: float) -> None:
        """Say that the arbiter is alive, as often as was asked for."""
        if self.watchdog_interval is not None and now >= self._next_watchdog:
            self._next_watchdog = now + self.watchdog_interval
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # A service manager that does not listen is no reason to fail.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto(message.encode(), address)
