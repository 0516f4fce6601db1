"""What `server --help` prints, from the table of settings."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator

from .config.names import BIND_PARTS
from .config.settings import GROUPS, LATER, Row, defaults, flag_of, rows, show

_DESCRIPTION = """\
usage: server [run|check] [OPTIONS] [MODULE:ATTR]

Serve a Python web application (ASGI or WSGI).

  server [OPTIONS] MODULE:ATTR     run an application (also: server run ...)
  server check [OPTIONS] [APP]     load settings and application, show each setting and its origin
  server status [--pid N] [--watch]
                                   live table of a running server
  server bench run|compare|list    CPU time per request beside other servers (in a checkout)

Every option is also an environment variable (--max-requests is FERRULE_MAX_REQUESTS) and a key of
the configuration file. An option outranks the environment, the environment outranks the file.
"""

_GENERAL = (
    ("-c, --config FILE", "settings: a .toml, .yaml or .py file"),
    ("-h, --help", "show this help"),
    ("    --version", "show the version"),
)

_BIND_PARTS = {
    "host": ("HOST", "host name or address of one listener, instead of --bind"),
    "port": ("PORT", "its port"),
    "uds": ("PATH", "unix socket, instead of --bind"),
    "fd": ("N", "inherited listening socket, instead of --bind"),
}

_INDENT = 34  # columns before the explanations
_WIDEST = 100


def render() -> str:
    """The whole text, as wide as the terminal."""
    width = min(_columns(), _WIDEST)
    sections = {"options": list(_GENERAL), **{group: list(_group(group)) for group in GROUPS}}
    parts = [_DESCRIPTION]
    for title, options in sections.items():
        if options:
            parts.append(f"\n{title}:\n")
            parts += [_option(spelling, explanation, width) for spelling, explanation in options]
    return "".join(parts)


def _group(group: str) -> Iterator[tuple[str, str]]:
    for name, row in rows().items():
        if row.group == group and not row.file_only and name != "app" and not _is_for_later(row):
            default = defaults()[name]
            shown = "" if default in (None, (), "") else f" [{show(name, default)}]"
            yield _spelling(name, row), row.help + shown
        if name == "bind" and row.group == group:
            for part in BIND_PARTS:
                metavar, explanation = _BIND_PARTS[part]
                yield f"    {flag_of(part)} {metavar}", explanation


def _spelling(name: str, row: Row) -> str:
    """Short flag and first long flag; other spellings are for those who know them already."""
    long = flag_of(name)
    if row.kind.boolean:
        if defaults()[name]:
            long = long.replace("--", "--[no-]", 1)
    else:
        long += f" {_metavar(row)}"
    return f"{row.short}, {long}" if row.short else f"    {long}"


def _metavar(row: Row) -> str:
    return "|".join(value for value in row.kind.metavar.split("|") if value not in row.later)


def _is_for_later(row: Row) -> bool:
    """Nothing to choose in this version."""
    return LATER in row.later or (bool(row.later) and "|" not in _metavar(row))


def _option(spelling: str, explanation: str, width: int) -> str:
    lines = textwrap.wrap(explanation, max(11, width - _INDENT))
    first = f"  {spelling:{_INDENT - 4}}  "
    if len(spelling) > _INDENT - 4:
        first = f"  {spelling}\n{'':{_INDENT}}"
    return first + f"\n{'':{_INDENT}}".join(lines) + "\n"


def _columns() -> int:
    """Of the terminal."""
    try:
        return int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        pass
    try:
        return os.get_terminal_size(1).columns or _WIDEST
    except OSError:
        return _WIDEST
