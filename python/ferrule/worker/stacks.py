"""Where an application is: the stack of a suspended asyncio task or of a busy thread, as text for the log."""

from __future__ import annotations

import itertools
import sys
import threading
import traceback
from types import FrameType

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio  # which a WSGI worker does without
    from typing import Any


def thread_stack(ident: int) -> str:
    """The frames of the thread with this `threading.get_ident()`, outermost first, without those that every thread
    begins with; empty when it has ended."""
    frame = sys._current_frames().get(ident)
    if frame is None:
        return ""
    frames = itertools.dropwhile(lambda each: each.filename == threading.__file__, traceback.extract_stack(frame))
    return "".join(traceback.format_list(list(frames))).rstrip()


def task_stack(task: asyncio.Task[Any]) -> str:
    """The frames of `task`, outermost first, down to what it waits for.

    `Task.get_stack` shows only the outermost coroutine of a suspended task, so the chain of awaits is followed here.
    """
    frames: list[FrameType] = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = next(
            (found for name in ("cr_frame", "gi_frame", "ag_frame") if (found := getattr(awaited, name, None))), None
        )
        if frame is None:
            break
        frames.append(frame)
        awaited = next(
            (found for name in ("cr_await", "gi_yieldfrom", "ag_await") if (found := getattr(awaited, name, None))),
            None,
        )
    lines = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames).format()
    return "".join(lines).rstrip() or repr(task)
