"""Ferrule: a production HTTP server for Python."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .api import run

__version__ = "0.1.0"
__all__ = ["__version__", "run"]


def __getattr__(name: str) -> Any:
    # `import ferrule` alone costs nothing; what it offers is imported when asked for.
    if name == "run":
        from .api import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
