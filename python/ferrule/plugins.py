"""Adapters that other packages bring, found through entry points and checked before anybody relies on them.

A leaf; knows nothing of what adapters do. `importlib.metadata` costs milliseconds: it is imported when a name is looked
up that is not built in, never on the way of a usual start.
"""

from __future__ import annotations

from collections.abc import Iterable

from .config.names import nearest
from .errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from typing import Any


def plugin_names(group: str) -> list[str]:
    """The names that installed packages offer in a group of entry points."""
    return sorted({point.name for point in _points(group)})


def check_known(group: str, name: str, where: str, built_in: Iterable[str]) -> None:
    """Raise `ConfigError` unless `name` is offered by some package. Imports nothing of it."""
    offered = plugin_names(group)
    if name not in offered:
        known = [*built_in, *offered]
        suggestion = nearest(name, known)
        hint = f"; did you mean {suggestion}?" if suggestion else ""
        raise ConfigError(f"{where}: {name} is not known{hint} (known: {', '.join(known)})")


def load_plugin(group: str, name: str, members: Iterable[str]) -> Any:
    """The adapter that a package offers under `name`, made and checked: it must have all of `members`.

    Raises `ConfigError` with one line that names package and entry point.
    """
    point = next(point for point in _points(group) if point.name == name)
    package = point.dist.name if point.dist is not None else "an unknown package"
    what = f"{name} ({group} of {package}: {point.value})"
    try:
        target = point.load()
        adapter = target() if isinstance(target, type) or not _has(target, members) else target
    except Exception as error:
        raise ConfigError(f"{what} cannot be loaded: {type(error).__name__}: {error}") from None
    missing = [member for member in members if not hasattr(adapter, member)]
    if missing:
        raise ConfigError(f"{what} is no such adapter: it has no {' and no '.join(missing)}")
    return adapter


def _has(target: object, members: Iterable[str]) -> bool:
    return all(hasattr(target, member) for member in members)


def _points(group: str) -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points

    return entry_points(group=group)
