"""What a worker gets from the arbiter at the fork; plain data, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping

from ..config import Bind, Hooks, Settings
from ..config.hooks import ServerFacts, WorkerFacts
from ..logs import Log
from ..records import Record
from .report import ReportWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..arbiter.process import Identity
    from ..arbiter.scoreboard import Slot
    from ..importer import Application
    from .tls import Feed


class WorkerContext(Record):
    """`listeners` are descriptors of listening sockets; `lifeline` is readable once the arbiter has died."""

    settings: Settings
    variables: Mapping[str, str]  # of --env-file
    hooks: Hooks
    server: ServerFacts
    worker_id: int
    generation: int
    workers: int
    slot: Slot
    listeners: tuple[int, ...]
    binds: tuple[Bind, ...]  # how each listener is used
    certificates: Feed | None
    report: ReportWriter
    lifeline: int
    access_fd: int
    log: Log
    identity: Identity
    application: Application | None = None  # imported already, before the fork

    def facts(self, pid: int) -> WorkerFacts:
        return WorkerFacts(pid, self.worker_id, self.settings, self.log)
