"""Event loops that ASGI applications run on, behind one small port. No global policy is ever set."""

from __future__ import annotations

from .choice import LoopChoice, check_event_loop, choose_event_loop, new_event_loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .ports import EventLoopPort

__all__ = ["EventLoopPort", "LoopChoice", "check_event_loop", "choose_event_loop", "new_event_loop"]


def __getattr__(name: str) -> Any:
    # A protocol is for those who write an adapter; `typing` costs each start some milliseconds.
    if name == "EventLoopPort":
        from .ports import EventLoopPort

        return EventLoopPort
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
