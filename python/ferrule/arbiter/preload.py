"""Importing the application before the fork (`--preload`), and what to say about what it left behind.

The only room of the arbiter where the application's code runs.
"""

from __future__ import annotations

import gc
import os
import sys

from ..config import Settings
from ..importer import Application, enter_app_dir, load_app
from ..logs import Log


def preload(settings: Settings, log: Log) -> Application:
    """Import the application, and set everything that it made aside from garbage collection, which would otherwise
    write to every shared page. Raises `AppError`."""
    enter_app_dir(settings)
    application = load_app(settings)
    for warning in leftovers():
        log.warning(warning)
    gc.collect()
    gc.freeze()
    return application


def leftovers() -> list[str]:
    """What an import started that no fork will have: threads, and event loops that several processes would share."""
    warnings = []
    names = _thread_names()
    count = _thread_count()
    if count > 1:
        shown = ", ".join(names) if names else "not started by Python"
        warnings.append(f"--preload: the application started {count - 1} thread(s) that workers will lack: {shown}")
    loops = _open_loops()
    if loops:
        warnings.append(f"--preload: the application left {loops} open event loop(s) that workers would share")
    return warnings


def _thread_names() -> list[str]:
    threading = sys.modules.get("threading")
    if threading is None:
        return []
    return [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]


def _thread_count() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return len(_thread_names()) + 1


def _open_loops() -> int:
    events = sys.modules.get("asyncio.events")
    if events is None:
        return 0
    loops = [each for each in gc.get_objects() if isinstance(each, events.AbstractEventLoop)]
    return sum(not loop.is_closed() for loop in loops)
