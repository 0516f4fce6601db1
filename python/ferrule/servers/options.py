"""Tables of the configuration file that go to another server as they are: `[granian]`, `[uvicorn]`, `[hypercorn]`.

The server's own signature says which keys there are and, where it is annotated simply, what they hold.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from ..config.names import unknown
from ..errors import ConfigError

_PLAIN: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "str": str, "bool": bool}


def parameters(target: Callable[..., Any]) -> dict[str, str]:
    """Keyword -> annotation as text, of everything that a function takes."""
    found = inspect.signature(target).parameters.values()
    return {each.name: _text(each.annotation) for each in found if each.name != "self"}


def checked(
    server: str,
    table: Mapping[str, Any],
    known: Mapping[str, str],
    *,
    where: str,
    owned: Iterable[str] = (),
    enums: Mapping[str, type[Enum]] | None = None,
) -> dict[str, Any]:
    """The table with snake_case keys and values of the annotated types. `owned` are keys that settings of Ferrule set.

    Raises `ConfigError` with one line that names the key.
    """
    result: dict[str, Any] = {}
    for key, value in table.items():
        name = str(key).replace("-", "_")
        if name in owned:
            raise ConfigError(f"{where}: {key}: cannot be set here, Ferrule's own settings decide it")
        if name not in known:
            spellings = [each.replace("_", "-") if "-" in str(key) else each for each in known if each not in owned]
            raise ConfigError(unknown(f"{where}: {server} has no such option: {key}", str(key), spellings))
        if name in result:
            raise ConfigError(f"{where}: {key}: given twice")
        result[name] = _typed(value, known[name], f"{where}: {key}", enums or {})
    return result


def _typed(value: Any, annotation: str, where: str, enums: Mapping[str, type[Enum]]) -> Any:
    kind = annotation.removesuffix(" | None").removeprefix("Optional[").removesuffix("]")
    if kind in enums:
        try:
            return enums[kind](value)
        except ValueError:
            expected = ", ".join(str(each.value) for each in enums[kind])
            raise ConfigError(f"{where}: expected one of {expected}, got {value!r}") from None
    if kind == "Path" and isinstance(value, str):
        return Path(value)
    plain = _PLAIN.get(kind)
    if plain is not None and (not isinstance(value, plain) or (isinstance(value, bool) and kind != "bool")):
        raise ConfigError(f"{where}: expected {kind}, got {value!r}")
    return value


def _text(annotation: object) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
