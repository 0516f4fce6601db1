"""Watching files for `--reload`, in a child process of its own: the arbiter stays single-threaded.

The child writes the path of what changed to a pipe, one per line, and ends when the arbiter does.
"""

from __future__ import annotations

import fnmatch
import os
import select
import signal
from collections.abc import Iterator, Sequence

from ..logs import Log

POLL_INTERVAL = 0.4  # s between looks where watchfiles is not installed
SETTLE = 0.05  # s in which changes that belong together arrive


class Filter:
    """Which files matter: those that match an include pattern and of whose path no part matches an exclude pattern."""

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        self._include = tuple(include)
        self._exclude = tuple(exclude)

    def takes(self, path: str, root: str) -> bool:
        relative = os.path.relpath(path, root)
        parts = relative.split(os.sep)
        if any(self.excludes(part) for part in parts) or self._matches(relative, self._exclude):
            return False
        return self._matches(parts[-1], self._include) or self._matches(relative, self._include)

    def excludes(self, part: str) -> bool:
        """Whether a file or directory of this name is left out with everything below it."""
        return self._matches(part, self._exclude)

    @staticmethod
    def _matches(text: str, patterns: tuple[str, ...]) -> bool:
        return any(fnmatch.fnmatch(text, pattern) for pattern in patterns)


Snapshot = dict[str, tuple[int, int]]


def snapshot(roots: Sequence[str], chosen: Filter) -> Snapshot:
    """Every file that matters, with its modification time (ns) and size."""
    found: Snapshot = {}
    for root in roots:
        for directory, directories, names in os.walk(root):
            directories[:] = [name for name in directories if not chosen.excludes(name)]
            for name in names:
                path = os.path.join(directory, name)
                if chosen.takes(path, root):
                    try:
                        status = os.stat(path)
                    except OSError:
                        continue  # gone between listing and looking
                    found[path] = (status.st_mtime_ns, status.st_size)
    return found


def first_difference(before: Snapshot, after: Snapshot) -> str | None:
    """The first path that was changed, added or removed between two looks; None when nothing was."""
    changed = (path for path in after.keys() | before.keys() if after.get(path) != before.get(path))
    return min(changed, default=None)


def changes(roots: Sequence[str], chosen: Filter, lifeline: int, before: Snapshot) -> Iterator[str]:
    """Yield a path for every batch of changes since `before`, until `lifeline` is readable: the arbiter has gone."""
    while not select.select([lifeline], [], [], POLL_INTERVAL)[0]:
        after = snapshot(roots, chosen)
        if after != before:
            select.select([lifeline], [], [], SETTLE)
            after = snapshot(roots, chosen)
            changed = first_difference(before, after)
            before = after
            if changed is not None:
                yield changed


def native_changes(roots: Sequence[str], chosen: Filter, lifeline: int, before: Snapshot) -> Iterator[str]:
    """As `changes`, by the file-system events that the watchfiles package offers. Raises `ImportError` without it."""
    from watchfiles import watch

    def wanted(_: object, path: str) -> bool:
        return any(chosen.takes(path, root) for root in roots if path.startswith(root.rstrip(os.sep) + os.sep))

    batches = watch(
        *roots,
        watch_filter=wanted,
        step=int(SETTLE * 1000),
        rust_timeout=500,
        yield_on_timeout=True,
        raise_interrupt=False,
    )
    watching = False
    for batch in batches:
        if select.select([lifeline], [], [], 0)[0]:
            return
        if batch:
            yield min(path for _, path in batch)
        elif not watching and (missed := first_difference(before, snapshot(roots, chosen))) is not None:
            yield missed  # it changed before the events began
        watching = True


def run(roots: Sequence[str], chosen: Filter, pipe: int, lifeline: int, before: Snapshot, log: Log) -> None:
    """The child's whole life. `roots` are real paths, `before` is how they looked before the application was loaded."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the arbiter's business, even when sent to the whole group
    for path in _found(roots, chosen, lifeline, before, log):
        os.write(pipe, path.encode(errors="surrogateescape") + b"\n")


def _found(roots: Sequence[str], chosen: Filter, lifeline: int, before: Snapshot, log: Log) -> Iterator[str]:
    try:
        yield from native_changes(roots, chosen, lifeline, before)
    except ImportError:
        pass
    except (OSError, RuntimeError) as error:
        # Most often the kernel's limit of watched files.
        log.warning("Files are looked at instead of watched", reason=error)
    else:
        return
    yield from changes(roots, chosen, lifeline, before)
