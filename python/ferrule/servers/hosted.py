"""The application inside another server's processes, imported there exactly as Ferrule's own workers import it.

Servers with worker processes want to be told by a string what to import. They are given this module, and what it is to
load is in an environment variable, which every way of starting a process hands on.
"""

from __future__ import annotations

import json
import os
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any

from ..config import Settings
from ..errors import EXIT_BOOT, AppError
from ..importer import Application, load_app
from ..logs import ERROR, Log

VARIABLE = "FERRULE_HOSTED"
FACTORY = f"{__name__}:from_environment"  # a factory, for servers that take one
LOOP_FACTORY = f"{__name__}:new_event_loop"

_FIELDS = ("app", "factory", "interface", "loop", "log_level", "log_file", "log_format")


def announce(settings: Settings) -> None:
    """Leave in the environment what processes to come are to load; they start in the application's directory."""
    os.environ[VARIABLE] = json.dumps({name: getattr(settings, name) for name in _FIELDS})


def withdraw() -> None:
    os.environ.pop(VARIABLE, None)


def from_environment() -> Any:
    """The application's callable. When it cannot be loaded, the process ends with one line and exit code 3."""
    return loaded(_settings()).call


def new_event_loop() -> AbstractEventLoop:
    """A loop of the kind that was asked for."""
    from ..loops import new_event_loop as make

    return _or_exit(_settings(), lambda settings: make(settings.loop))  # type: ignore[no-any-return]


def loaded(settings: Settings) -> Application:
    """As `importer.load_app`, for a process that has nobody to report a failure to."""
    application: Application = _or_exit(settings, load_app)
    return application


def _settings() -> Settings:
    return Settings(**json.loads(os.environ[VARIABLE]))


def _or_exit(settings: Settings, make: Callable[[Settings], Any]) -> Any:
    try:
        return make(settings)
    except AppError as error:
        log = Log(settings.log_level, path=settings.log_file, format=settings.log_format)
        log.write(ERROR, str(error), traceback=error.traceback)
        raise SystemExit(EXIT_BOOT) from None
