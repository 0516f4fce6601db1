"""From flags, environment and file to `Settings`, each value with its origin.

Precedence: flag > environment > file > default. Reads nothing but the named sources, so that a reload with the same
arguments sees what a fresh start would see.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ..errors import ConfigError
from ..records import Record
from . import files
from .binds import TCP, Bind, format_tcp, parse_bind
from .environment import read_env_file
from .hooks import NO_HOOKS, Hooks
from .kinds import ItemError
from .names import BIND_PARTS, MIGRATION, MIGRATION_VALUE_ADVICE, MIGRATION_VALUES, nearest
from .settings import LATER, Row, Settings, flag_of, rows
from .tls import check_tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PREFIX = "FERRULE_"
_NOT_SETTINGS = frozenset(("CONFIG", "VECTORS", "LISTENERS", "PREDECESSOR", "HOSTED"))
"""Variables of the prefix that mean something else: the file to read, and what processes of one server tell others."""
_LOG_FILES = ("access_log_file", "log_file")
"""Opened again after rotation by processes that have gone to --app-dir meanwhile."""


class Given(Record):
    """One value as it was written, and where."""

    where: str
    raw: object


Source = dict[str, Given]
"""What one source says: setting, bind part or migration name -> value."""


class Loaded(Record):
    """Settings, and everything an operator may want to know of how they came about."""

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    hooks: Hooks = NO_HOOKS
    config_file: str | None = None
    variables: Mapping[str, str] = MappingProxyType({})  # of --env-file, for the application


def load(flags: Source, environ: Mapping[str, str], directory: str, config: str | None = None) -> Loaded:
    """Read every source. `config` is the file named by a flag; `directory` is where files are looked for.

    Raises `ConfigError` with one line that names source, value and expectation.
    """
    warnings: list[str] = []
    config = config or environ.get(PREFIX + "CONFIG") or None
    path = os.path.join(directory, config) if config else files.find(directory)
    shown = config or os.path.basename(path or "")
    document = files.read(path, shown) if path else None
    from_file: Source = {}
    if document is not None:
        warnings += document.warnings
        from_file = {name: Given(f"{shown}: {document.keys[name]}", raw) for name, raw in document.values.items()}

    from_environment = _environment(environ, warnings)
    env_file = next((each["env_file"] for each in (flags, from_environment, from_file) if "env_file" in each), None)
    sources = [flags, from_environment, from_file]
    variables: dict[str, str] = {}
    if env_file is not None and env_file.raw:
        variables = read_env_file(os.path.join(directory, str(env_file.raw)), env_file.where)
        sources.insert(2, _environment(variables, warnings, f"{env_file.raw}: "))

    settings, origins = _resolve(sources, warnings, directory)
    hooks = Hooks(document.hooks) if document else Hooks()
    return Loaded(settings, origins, tuple(warnings), hooks, path, variables)


def from_keywords(keywords: Mapping[str, object]) -> Source:
    """Keyword arguments of `ferrule.run` as a source. Raises `TypeError` for a name that is no setting."""
    source: Source = {}
    for name, raw in keywords.items():
        if name not in rows() and name not in BIND_PARTS:
            suggestion = nearest(name, rows())
            raise TypeError(f"no such setting: {name}" + (f"; did you mean {suggestion}?" if suggestion else ""))
        source[name] = Given(name, raw)
    return source


def _environment(environ: Mapping[str, str], warnings: list[str], shown: str = "") -> Source:
    source: Source = {}
    known = rows()
    for variable, raw in environ.items():
        if not variable.startswith(PREFIX):
            continue
        suffix = variable.removeprefix(PREFIX)
        name = suffix.lower()
        if suffix in _NOT_SETTINGS:
            continue
        if name in BIND_PARTS or (name in known and not known[name].file_only):
            source[name] = Given(shown + variable, raw)
        elif suggestion := nearest(name, known):
            warnings.append(f"{shown}{variable} is no setting; did you mean {PREFIX}{suggestion.upper()}?")
    for name, row in known.items():
        for variable in row.env:
            if name not in source and environ.get(variable):
                source[name] = Given(shown + variable, environ[variable])
    if environ.get("PORT") and not source.keys() & {"bind", *BIND_PARTS}:
        # Platforms that set PORT route to the machine's address, not to its loopback.
        source["port"] = Given(shown + "PORT", environ["PORT"])
        source["host"] = Given(shown + "PORT", "0.0.0.0")
    return source


def _resolve(sources: Sequence[Source], warnings: list[str], directory: str) -> tuple[Settings, dict[str, str]]:
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    _warn_of_migration(sources, warnings)
    binds = _binds(sources)
    if binds is not None:
        values["bind"], origins["bind"] = binds
    for name, row in rows().items():
        given = next((source[name] for source in sources if name in source), None)
        if given is None or name == "bind":
            origins.setdefault(name, "default")
            continue
        values[name] = _checked(name, row, given)
        origins[name] = given.where
    for name in _LOG_FILES:
        if values.get(name) is not None:
            values[name] = os.path.join(directory, values[name])
    settings = Settings(**values)
    _check_together(settings, origins)
    check_tls(settings, origins, warnings)
    return settings, origins


def _checked(name: str, row: Row, given: Given) -> Any:
    secret = row.secret or name == "tls"  # whose tables have passwords
    value = _parse(row.kind.parse, row.kind.expects, given, quote=not secret)
    # A value that only switches the thing off is what this version does anyway.
    if (LATER in row.later and value) or value in row.later:
        what = given.where if LATER in row.later else f"{given.where}: {value}"
        raise ConfigError(f"{what}: not available in this version")
    if isinstance(value, str) and row.kind.metavar == "PATH" and value == "-" and name.endswith("_file"):
        return None
    return value


def _parse(parse: Any, expects: str, given: Given, *, quote: bool = True) -> Any:
    """`quote` is False for values that may hold a secret."""
    try:
        return parse(given.raw)
    except ValueError as error:
        # Only errors of our own kinds carry a sentence; int() and friends speak of Python.
        expects = str(error) or expects
        raw = error.item if isinstance(error, ItemError) else given.raw
        got = f", got {_quoted(raw)}" if quote else ""
        raise ConfigError(f"{given.where}: expected {expects}{got}") from None


def _quoted(raw: object) -> str:
    shown = repr(raw)
    return shown if len(shown) <= 80 else shown[:77] + "..."


def _binds(sources: Sequence[Source]) -> tuple[tuple[Bind, ...], str] | None:
    """What to listen on: the first source that says so decides, but a host and a port may come from two sources."""
    for source in sources:
        said = [part for part in ("bind", "uds", "fd") if part in source]
        tcp = [part for part in ("host", "port") if part in source]
        if len(said) + bool(tcp) > 1:
            first, second = (source[part].where for part in [*said, *tcp][:2])
            raise ConfigError(f"{first} and {second} cannot be given together")
        if said:
            given = source[said[0]]
            return _said_bind(said[0], given), given.where
        if tcp:
            host = next((each["host"] for each in sources if "host" in each), None)
            port = next((each["port"] for each in sources if "port" in each), None)
            return (_tcp_bind(host, port),), source[tcp[0]].where
    return None


def _said_bind(part: str, given: Given) -> tuple[Bind, ...]:
    row = rows()["bind"]
    if part == "bind":
        binds: tuple[Bind, ...] = _parse(row.kind.parse, row.kind.expects, given)
        if not binds:
            raise ConfigError(f"{given.where}: expected {row.kind.expects}, got nothing")
        return binds
    prefix = "unix:" if part == "uds" else "fd://"
    expects = "a path" if part == "uds" else "the number of a descriptor"
    return (_parse(lambda raw: parse_bind(f"{prefix}{raw}"), expects, given),)


def _tcp_bind(host: Given | None, port: Given | None) -> Bind:
    number = 8000
    if port is not None:
        row_kind = rows()["backlog"].kind  # any integer; the range is checked with the address
        number = _parse(
            row_kind.parse if str(port.raw).strip() != "0" else lambda raw: 0, "a port from 0 to 65535", port
        )
    given = host or port
    assert given is not None  # the caller found one of the two
    name = str(host.raw) if host is not None else "127.0.0.1"
    return _parse(lambda _: parse_bind(format_tcp(name, number)), "a host name or address", given)  # type: ignore[no-any-return]


def _warn_of_migration(sources: Sequence[Source], warnings: list[str]) -> None:
    for source in sources:
        for name, given in source.items():
            if name in MIGRATION:
                warnings.append(f"{given.where} is not used: {MIGRATION[name]}")
            elif isinstance(given.raw, str) and (name, given.raw.lower()) in MIGRATION_VALUES:
                warnings.append(f"{given.where} {given.raw} is not used: {MIGRATION_VALUE_ADVICE}")


def _check_together(settings: Settings, origins: Mapping[str, str]) -> None:
    if settings.reload and settings.preload:
        raise ConfigError(
            f"{origins['reload']} and {origins['preload']} cannot be used together: preloaded code does not change"
        )
    seen: set[str] = set()
    for bind in settings.bind:
        if bind.address in seen and (bind.port or bind.family != TCP):
            raise ConfigError(f"{origins['bind']}: {bind.address} is given twice")
        seen.add(bind.address)


def flag_source(pairs: Sequence[tuple[str, str, object]]) -> Source:
    """Flags as parsed, in order: (spelling, name, raw value). Repeated list flags add up, of others the last counts."""
    source: Source = {}
    known = rows()
    for spelling, name, raw in pairs:
        if name in known and known[name].kind.many:
            # A flag holds one item, whatever it contains, except where a comma is how people write lists of words.
            items = [raw] if known[name].kind.separator == "\n" or name == "bind" else str(raw).split(",")
            earlier = source[name].raw if name in source else []
            assert isinstance(earlier, list)
            source[name] = Given(spelling, [*earlier, *items])
        else:
            source[name] = Given(spelling, raw)
    return source


__all__ = ["Given", "Loaded", "Source", "flag_of", "flag_source", "from_keywords", "load"]
