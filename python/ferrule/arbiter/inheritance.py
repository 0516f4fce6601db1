"""What replacements inherit from the arbiter: modules that every ASGI worker has to import before it serves.

They are the event loop's and the standard library's; never the application's, nor the native core.
"""

from __future__ import annotations

import gc
import importlib

_OF_LOOPS = {"uvloop": "uvloop"}
"""Name of an event loop -> module that takes long to import."""


def load_for_workers(loop: str | None) -> None:
    """Import what an event loop takes (None: workers have none), so that later workers start without it, and beside the
    requests that are being served.

    Called once a worker has shown that it can be imported here. Where it cannot in this process, they do it themselves,
    as the first one did.
    """
    names = [] if loop is None else ["asyncio", *([_OF_LOOPS[loop]] if loop in _OF_LOOPS else [])]
    try:
        for name in names:
            importlib.import_module(name)
    except Exception:
        return
    gc.freeze()  # a collection in a worker would write to every page that it shares
