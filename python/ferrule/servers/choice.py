"""From `--server` to an adapter: the built-in ones, and those of other packages (entry points `ferrule.servers`).

`auto` takes the first of the built-in ones that can really be imported.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping

from ..config import Loaded, Settings
from ..errors import ConfigError, FerruleError, reason
from ..logs import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .ports import ApplicationServerPort

GROUP = "ferrule.servers"
MEMBERS = ("serve", "serve_async", "shutdown", "server_info")

_BUILT_IN = {  # in the order of preference
    "native": (".native", "NativeServer"),
    "granian": (".granian", "GranianServer"),
    "uvicorn": (".uvicorn", "UvicornServer"),
    "hypercorn": (".hypercorn", "HypercornServer"),
}
BUILT_IN = tuple(_BUILT_IN)


def choose_server(settings: Settings, origins: Mapping[str, str], log: Log) -> ApplicationServerPort:
    """The server that `--server` names. Raises `ConfigError` for one that is not known or cannot be imported."""
    if settings.loop != "auto":
        from ..loops import check_event_loop

        check_event_loop(settings.loop, origins["loop"])
    name = settings.server
    if name == "auto":
        return _first_that_works(log)
    if name not in _BUILT_IN:
        from ..plugins import check_known, load_plugin

        check_known(GROUP, name, origins["server"], ("auto", *_BUILT_IN))
        server: ApplicationServerPort = load_plugin(GROUP, name, MEMBERS)
        return server
    try:
        return _built_in(name)
    except Exception as error:
        hint = f"; pip install 'ferrule[{name}]'" if isinstance(error, ModuleNotFoundError) else ""
        raise ConfigError(f"{origins['server']}: {name} cannot be imported: {reason(error)}{hint}") from None


def check_server(server: ApplicationServerPort, loaded: Loaded, log: Log) -> None:
    """Have an adapter say what it would make of the settings, without serving. Raises `ConfigError`.

    Adapters of other packages need not have a `check`: then they speak up when they serve.
    """
    check = getattr(server, "check", None)
    if check is not None:
        from .facts import ServerConfig

        check(ServerConfig(loaded, lambda: loaded, os.getcwd(), log))


def _first_that_works(log: Log) -> ApplicationServerPort:
    missing = []
    try:
        return _native_if_its_core_works()
    except Exception as error:
        missing.append(f"native core cannot be imported: {reason(error)}")
    for name in BUILT_IN[1:]:
        try:
            server = _built_in(name)
        except Exception as error:
            missing.append(f"{name}: {reason(error)}")
        else:
            log.warning(f"{'; '.join(missing)}; using {name}")
            return server
    raise ConfigError(f"no server can be imported: {'; '.join(missing)}")


def _native_if_its_core_works() -> ApplicationServerPort:
    """A child tries the core: the arbiter never loads it, and the child's pages are warm for the workers."""
    if not hasattr(os, "fork"):
        raise FerruleError("this platform has no fork")
    from .children import Child

    trial = Child(_import_core)
    native = _built_in("native")  # takes about as long as the trial beside it
    trial.result()
    return native


def _import_core() -> None:
    importlib.import_module("ferrule._core")


def _built_in(name: str) -> ApplicationServerPort:
    module, attribute = _BUILT_IN[name]
    adapter: Any = getattr(importlib.import_module(module, __package__), attribute)
    server: ApplicationServerPort = adapter()
    return server
