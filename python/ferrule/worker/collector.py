"""Python's garbage collection in a worker, set up once its application is there."""

from __future__ import annotations

import gc

YOUNG = 5_000
"""Containers that are made, less those that are gone, until the youngest are searched for garbage."""

_AS_STARTED = (700, 2_000)  # what interpreters begin with: up to 3.12, and since


def settle() -> None:
    """Suit the collector to many requests at a time. An application that has set it up itself is not overruled.

    What imports have made lasts as long as the worker, and is searched no more. A request that waits has about 15
    containers: with a few hundred of them the interpreter's own threshold is passed all the time, and all of them are
    searched, for nothing, while nobody is served.
    """
    if not gc.isenabled():
        return
    young, *older = gc.get_threshold()
    if young in _AS_STARTED:
        gc.set_threshold(YOUNG, *older)
    gc.freeze()
