"""Servers that can run an application, Ferrule's own and others, behind one port.

`--server` chooses one. A package brings its own through the entry points `ferrule.servers` and `ferrule.event_loops`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .ports import ApplicationServerPort, ServerConfig, ServerInfo, ServerStats

__all__ = ["ApplicationServerPort", "ServerConfig", "ServerInfo", "ServerStats"]


def __getattr__(name: str) -> Any:
    # The usual start needs none of them.
    if name in __all__:
        from . import ports

        return getattr(ports, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
