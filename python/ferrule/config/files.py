"""Configuration files: TOML, YAML and Python, each read into one flat mapping of snake_case keys.

Checks keys, not values: what a value must look like is the business of `load.py` and the table.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType

from ..errors import ConfigError
from ..records import Record
from . import hooks
from .names import file_keys, nearest, unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

AUTOMATIC = ("server.toml", "pyproject.toml")


class ConfigFile(Record):
    """What one file says. `keys` remembers how a key was spelt."""

    values: dict[str, object]
    keys: dict[str, str]
    hooks: dict[str, Callable[..., Any]]
    warnings: tuple[str, ...] = ()


def find(directory: str) -> str | None:
    """The file that is used when none is named: `server.toml`, or a `pyproject.toml` with a `[tool.ferrule]` table."""
    for name in AUTOMATIC:
        path = os.path.join(directory, name)
        if os.path.isfile(path) and (name != "pyproject.toml" or "ferrule" in _tools(_toml(path))):
            return path
    return None


def read(path: str, shown: str) -> ConfigFile:
    """Read a file by its suffix. `shown` is how errors name it. Raises `ConfigError`."""
    match os.path.splitext(path)[1]:
        case ".toml":
            return _flat(shown, _toml_settings(path, shown))
        case ".yaml" | ".yml":
            return _flat(shown, _yaml_settings(path, shown))
        case ".py":
            return _python(path, shown)
    raise ConfigError(f"{shown}: expected a .toml, .yaml, .yml or .py file")


def _flat(shown: str, table: dict[Any, Any]) -> ConfigFile:
    values: dict[str, object] = {}
    keys: dict[str, str] = {}
    known = file_keys()
    for key, value in table.items():
        name = known.get(str(key).replace("-", "_"))
        if name is None:
            spellings = [each.replace("_", "-") if "-" in str(key) else each for each in known]
            raise ConfigError(unknown(f"{shown}: no such setting: {key}", str(key), spellings))
        if name in values:
            raise ConfigError(f"{shown}: {key}: the same setting as {keys[name]}, given twice")
        values[name] = value
        keys[name] = str(key)
    return ConfigFile(values, keys, {})


def _text(path: str, shown: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"{shown}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown}: is not UTF-8 (byte {error.start})") from None


def _toml(path: str, shown: str | None = None) -> dict[str, Any]:
    import tomllib

    shown = shown or os.path.basename(path)
    try:
        return tomllib.loads(_text(path, shown))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{shown}: is not TOML: {error}") from None


def _toml_settings(path: str, shown: str) -> dict[Any, Any]:
    document = _toml(path, shown)
    if os.path.basename(path) != "pyproject.toml":
        if isinstance(document.get("server"), dict):
            raise ConfigError(f"{shown}: expected settings at the top of the file, not in a table named server")
        return document
    table = _tools(document).get("ferrule", {})
    if not isinstance(table, dict):
        raise ConfigError(f"{shown}: expected tool.ferrule to be a table")
    return table


def _tools(document: dict[str, Any]) -> dict[str, Any]:
    """The table [tool] of a pyproject.toml, which other programs own as well."""
    tools = document.get("tool")
    return tools if isinstance(tools, dict) else {}


def _yaml_settings(path: str, shown: str) -> dict[Any, Any]:
    text = _text(path, shown)
    try:
        import yaml
    except ImportError:
        raise ConfigError(f"{shown}: YAML needs PyYAML: pip install 'ferrule[yaml]'") from None
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # the latter for dates and numbers that do not exist
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1})" if mark is not None else ""
        raise ConfigError(f"{shown}: is not YAML{place}") from None
    if document is None:
        return {}
    if not isinstance(document, dict) or set(document) != {"server"}:
        raise ConfigError(f"{shown}: expected one top-level map named server")
    settings = document["server"]
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise ConfigError(f"{shown}: expected server to be a map")
    return settings


def _python(path: str, shown: str) -> ConfigFile:
    source = _text(path, shown)
    namespace: dict[str, Any] = {"__file__": path, "__name__": "__config__"}
    try:
        exec(compile(source, path, "exec"), namespace)
    except SyntaxError as error:
        raise ConfigError(f"{shown}: line {error.lineno or 1}: {error.msg}") from None
    except (Exception, SystemExit) as error:
        line = _last_line_in(error, path)
        raise ConfigError(f"{shown}: line {line}: {type(error).__name__}: {error}") from None

    values: dict[str, object] = {}
    keys: dict[str, str] = {}
    functions: dict[str, Callable[..., Any]] = {}
    warnings: list[str] = []
    known = file_keys()
    for key, value in namespace.items():
        if key.startswith("_") or isinstance(value, ModuleType | type):
            continue
        if callable(value):
            if key in hooks.NAMES:
                functions[key] = value
            elif key in hooks.NOT_OFFERED:
                warnings.append(f"{shown}: {key} is never called: {hooks.NOT_OFFERED[key]}")
            continue
        name = known.get(key)
        if name is None:
            # The file is free to have variables of its own; only a slip of the pen is taken for a mistake.
            slip = nearest(key, known)
            if slip is not None and slip not in key and _is_slip(key, slip):
                raise ConfigError(f"{shown}: no such setting: {key}; did you mean {slip}?")
            continue
        values[name] = value
        keys[name] = key
    if "bind" in values:
        for part in ("host", "port"):  # variables from which such files commonly build `bind`
            values.pop(part, None)
    return ConfigFile(values, keys, functions, tuple(warnings))


def _is_slip(word: str, known: str) -> bool:
    """Whether two words have the same letters but for one, or but for two in a long word."""
    import difflib

    return abs(len(word) - len(known)) <= 2 and difflib.SequenceMatcher(None, word, known).ratio() >= 0.85


def _last_line_in(error: BaseException, filename: str) -> int:
    line, frame = 0, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == filename:
            line = frame.tb_lineno
        frame = frame.tb_next
    return line
