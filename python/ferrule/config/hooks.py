"""Hooks: functions that a Python configuration file defines and the process manager calls.

Knows their names and who fails with them; what happens around them is the arbiter's and the worker's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..logs import Log
from ..records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .settings import Settings

NAMES = frozenset(
    (
        "on_starting",
        "when_ready",
        "pre_fork",
        "post_fork",
        "post_worker_init",
        "worker_int",
        "worker_abort",
        "child_exit",
        "worker_exit",
        "nworkers_changed",
        "on_exit",
    )
)

NOT_OFFERED = {
    "pre_request": "it would cost every request; use a middleware",
    "post_request": "it would cost every request; use a middleware",
    "on_reload": "use when_ready",
    "pre_exec": "a new generation starts through on_starting",
    "ssl_context": "set certfile and keyfile",
}


class ServerFacts(Record):
    """What hooks get as `server`."""

    pid: int
    cfg: Settings
    log: Log
    address: tuple[str, ...]
    num_workers: int


class WorkerFacts(Record):
    """What hooks get as `worker`. `pid` is 0 before the fork; `age` counts workers since the server's start."""

    pid: int
    age: int
    cfg: Settings
    log: Log


class Hooks:
    """The hooks of one configuration file; a missing one does nothing."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]] | None = None) -> None:
        self._functions = dict(functions or {})

    def __contains__(self, name: str) -> bool:
        return name in self._functions

    def call(self, name: str, *arguments: object) -> None:
        """Call the hook if it is defined. Whatever it raises goes to the caller."""
        function = self._functions.get(name)
        if function is not None:
            function(*arguments)


NO_HOOKS = Hooks()
