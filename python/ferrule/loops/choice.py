"""From `--loop` to event loops: the built-in ones, and those of other packages (entry points `ferrule.event_loops`)."""

from __future__ import annotations

import importlib
import sys

from ..errors import AppError, ConfigError, reason
from ..records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from typing import Any

    from .ports import EventLoopPort

GROUP = "ferrule.event_loops"
MEMBERS = ("name", "new_event_loop")

_BUILT_IN = {
    "uvloop": (".uvloop", "UvloopLoops"),
    "asyncio": (".standard", "AsyncioLoops"),
    "winloop": (".winloop", "WinloopLoops"),
}
_FASTEST = "winloop" if sys.platform == "win32" else "uvloop"


class LoopChoice(Record):
    """The loops to use, and why better ones were passed over: "uvloop cannot be imported: ..."."""

    port: EventLoopPort
    passed_over: str | None = None


def choose_event_loop(choice: str) -> LoopChoice:
    """The loops that `--loop` names; "auto" is the fastest kind that can really be imported. Raises `AppError`."""
    if choice == "auto":
        try:
            return LoopChoice(_built_in(_FASTEST))
        except Exception as error:
            return LoopChoice(_built_in("asyncio"), f"{_FASTEST} cannot be imported: {reason(error)}")
    if choice not in _BUILT_IN:
        from ..plugins import load_plugin

        try:
            check_event_loop(choice, "--loop")
            return LoopChoice(load_plugin(GROUP, choice, MEMBERS))
        except ConfigError as error:
            raise AppError(str(error)) from None
    try:
        return LoopChoice(_built_in(choice))
    except Exception as error:
        hint = "" if choice == "winloop" else f"; pip install 'ferrule[{choice}]'"
        raise AppError(f"--loop {choice}: cannot be imported: {reason(error)}{hint}") from None


def check_event_loop(choice: str, where: str) -> None:
    """Raise `ConfigError` for a name that neither Ferrule nor an installed package knows. Imports no loop."""
    if choice != "auto" and choice not in _BUILT_IN:
        from ..plugins import check_known

        check_known(GROUP, choice, where, ("auto", *_BUILT_IN))


def new_event_loop(choice: str) -> AbstractEventLoop:
    """A fresh loop of the kind that `--loop` names. Raises `AppError`."""
    return choose_event_loop(choice).port.new_event_loop()


def _built_in(name: str) -> EventLoopPort:
    module, attribute = _BUILT_IN[name]
    adapter: Any = getattr(importlib.import_module(module, __package__), attribute)
    port: EventLoopPort = adapter()
    return port
