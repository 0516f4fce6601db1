"""Writes docs/settings.md from the table: `python -m ferrule.config.docs [--check] FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

from .names import MIGRATION
from .settings import GROUPS, LATER, Row, defaults, flag_of, rows, show

_INTRODUCTION = """\
# Settings

<!-- Made from the table in python/ferrule/config/settings.py by `python -m ferrule.config.docs docs/settings.md`. -->

Every setting is a flag, an environment variable and a key of the configuration file. A flag outranks the environment,
the environment outranks the file, the file outranks the default. `server check` shows every effective setting and
where it came from.

- **Environment**: `FERRULE_` and the name in capitals: `--max-requests` is `FERRULE_MAX_REQUESTS`. `WEB_CONCURRENCY`
  (workers) and `PORT` (the host is then `0.0.0.0`) are understood too. `FERRULE_...` lines of `--env-file` count as
  well: below the environment, above the configuration file.
- **File**: `-c FILE`, or `FERRULE_CONFIG`; without either, `server.toml` or the `[tool.ferrule]` table of
  `pyproject.toml` in the working directory. TOML keys are at the top level; a YAML file has one top-level map named
  `server`; keys are written `max-requests` or `max_requests`. A Python file sets module-level names and may define the
  hooks `on_starting`, `when_ready`, `pre_fork`, `post_fork`, `post_worker_init`, `worker_int`, `worker_abort`,
  `child_exit`, `worker_exit`, `nworkers_changed` and `on_exit`.
- **Values**: times are seconds, or have a unit (`500ms`, `5m`); sizes are bytes, or have a unit (`64KiB`, `2.5MiB`).
  For limits and time-outs 0 means off; `--connections` and `--h2-*` cannot be switched off, and `--body-memory 0`
  buffers nothing. Switches take no value as flags (`--access-log`, `--no-access-log`), elsewhere `on` or `off`, `true`
  or `false`, `1` or `0`. What may be repeated has its parts separated by commas in a variable (`FERRULE_HEADER`: by
  line ends), and is a list in a file.
- What is *not available in this version* is an error wherever it is given, unless the value only switches it off. That
  goes for the variable `FORWARDED_ALLOW_IPS` too, which some platforms set.
- `--host`, `--port`, `--uds` and `--fd` are other ways to write `--bind`.
"""


def render() -> str:
    """The page."""
    parts = [_INTRODUCTION]
    for group in GROUPS:
        members = {name: row for name, row in rows().items() if row.group == group}
        parts.append(f"\n## {group}\n\n| setting | default | |\n|---|---|---|\n")
        parts += [_line(name, row) for name, row in members.items()]
    parts.append("\n## Accepted for migration\n\nThese are accepted with a warning and change nothing.\n\n")
    parts += [f"- `{flag_of(name)}`: {advice}\n" for name, advice in MIGRATION.items()]
    return "".join(parts)


def _line(name: str, row: Row) -> str:
    spellings = [f"`{row.short}`"] * bool(row.short)
    if row.file_only:
        spellings.append(f"`{name}` (file only)")
    elif name == "app":
        spellings.append("`MODULE:ATTR` (argument), `app`")
    else:
        spellings += [f"`{flag}`" for flag in (flag_of(name), *row.flags)]
    notes = row.help[0].upper() + row.help[1:]
    if "|" in row.kind.metavar:
        notes += f": {row.kind.expects}"
    elif row.kind.metavar == "NAME,...":
        notes += f". Any of {row.kind.expects}"
    if row.env:
        notes += f". Also {', '.join(f'`{variable}`' for variable in row.env)}"
    if LATER in row.later:
        notes += ". *Not available in this version*"
    elif row.later:
        notes += f". *Not available in this version: {', '.join(row.later)}*"
    default = defaults()[name]
    shown = "" if default in (None, (), "") else f"`{show(name, default)}`"
    return f"| {', '.join(spellings)} | {shown} | {notes} |\n".replace("<", "&lt;")


def write_or_check(arguments: list[str], text: str, source: str) -> int:
    """Write a page to the file that the arguments name; with `--check`, say whether it holds that text already.
    `source` is what the page is made from."""
    check = "--check" in arguments
    target = Path(next(each for each in arguments if not each.startswith("-")))
    if not check:
        target.write_text(text, encoding="utf-8")
        return 0
    if target.is_file() and target.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"{target} does not match {source}; make it again without --check\n")
    return 1


def main(arguments: list[str]) -> int:
    return write_or_check(arguments, render(), "the table of settings")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
