"""Settings: one table (`settings.py`) and the ways values get into it. A leaf: it starts nothing and imports no app."""

from .binds import Bind, parse_bind
from .hooks import Hooks
from .load import Loaded, load
from .settings import Settings

__all__ = ["Bind", "Hooks", "Loaded", "Settings", "load", "parse_bind"]
