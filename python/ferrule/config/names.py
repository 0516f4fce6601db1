"""Every spelling under which something can be set: flags, file keys and variables, and what to say to a wrong one."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from .settings import flag_of, rows

BIND_PARTS = ("host", "port", "uds", "fd")
"""Other ways to say `bind`, in every source: a host, a port, a unix socket, a descriptor."""

# What gunicorn and uvicorn users have in their command lines and files, and what takes its place here.
MIGRATION = {
    "worker_class": "the application's interface is detected (see --interface), threads are set with --threads",
    "worker_tmp_dir": "heartbeats are in shared memory, no directory is needed",
    "ws": "this version does not serve WebSocket",
    "ssl_version": "TLS 1.2 and 1.3 are spoken; --tls-min-version 1.3 leaves 1.2 out",
}
MIGRATION_SHORT = {"worker_class": "-k"}
MIGRATION_VALUES = {("http", "h11"), ("http", "httptools")}
MIGRATION_VALUE_ADVICE = "the server has its own parser; say --http 1 for HTTP/1.1 only"


@cache
def file_keys() -> dict[str, str]:
    """Key of a configuration file, in snake_case -> setting, bind part or migration name."""
    keys = {name: name for name in rows()}
    for name, row in rows().items():
        keys |= dict.fromkeys(row.keys, name)
        keys |= {flag.lstrip("-").replace("-", "_"): name for flag in row.flags}
    keys |= {part: part for part in BIND_PARTS}
    keys |= {name: name for name in MIGRATION}
    return keys


@cache
def flag_names() -> dict[str, str]:
    """Long flag -> setting, bind part or migration name."""
    flags: dict[str, str] = {}
    for name, row in rows().items():
        if row.file_only or name == "app":
            continue
        for flag in (flag_of(name), *row.flags):
            flags[flag] = name
            if row.kind.boolean:
                flags["--no-" + flag.removeprefix("--")] = name
    flags |= {flag_of(part): part for part in BIND_PARTS}
    flags |= {flag_of(name): name for name in MIGRATION}
    return flags


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known spelling that `word` was probably meant to be."""
    import difflib

    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    return matches[0] if matches else None


def unknown(what: str, word: str, known: Iterable[str]) -> str:
    """One line for a spelling that does not exist."""
    suggestion = nearest(word, known)
    hint = f"; did you mean {suggestion}?" if suggestion else ""
    return f"{what}{hint}"
