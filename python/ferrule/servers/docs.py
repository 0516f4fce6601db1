"""Writes docs/servers.md from the adapters' tables: `python -m ferrule.servers.docs [--check] FILE`."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from ..config.docs import write_or_check
from ..config.settings import GROUPS, flag_of, rows
from .granian import GranianServer
from .honours import AROUND, UNLISTED, Outcome, Rule
from .hypercorn import HypercornServer
from .peer import PeerServer
from .uvicorn import UvicornServer

PEERS: tuple[type[PeerServer], ...] = (GranianServer, UvicornServer, HypercornServer)

_INTRODUCTION = """\
# Other servers

<!-- Made from the tables of the adapters by `python -m ferrule.servers.docs docs/servers.md`. -->

`server --server granian app:app` runs the application on Granian instead of Ferrule's own server, with the same command
line; `uvicorn` and `hypercorn` likewise. `pip install '.[granian]'` in a clone of Ferrule installs one.

- **`--server auto`**, the default, is Ferrule's own server (`native`). Only where its core cannot be imported is it the
  first of Granian, uvicorn and Hypercorn that can, and the log says so.
- **Their own processes**: the other server runs in the foreground with its own process model, log lines and signals.
  Recycling without a gap, upgrades, `server status`, health paths and metrics belong to the native server.
- **Settings**: what makes up the command (application, addresses, workers, logs) always holds. Of the rest only what
  was *given* is passed on; what was not stays at the other server's default. The log names in one warning what was
  given and cannot be honoured. Where safety is at stake (client certificates, ciphers, trusted proxies,
  `--limit-concurrency`, `--limit-request-body`) that is an error instead, and nothing is served; other limits and
  time-outs that are named in the warning do not hold.
- **Options of its own** go into a table of the configuration file with its name. Ferrule's settings come first, the
  table after them; it cannot change what is served and where.

      # server.toml
      [granian]
      runtime-threads = 2
      runtime-mode = "mt"
      respawn-failed-workers = true
      http1-pipeline-flush = true

- **`--loop`** takes the same names everywhere: `auto` is uvloop (on Windows winloop) where it can be imported, else
  asyncio.

## Adapters of your own

A package offers a server or an event loop by an entry point, and its name becomes a value of `--server` or `--loop`:

    [project.entry-points."ferrule.servers"]
    mine = "my_package.adapter:MyServer"

    [project.entry-points."ferrule.event_loops"]
    mine = "my_package.loops:MyLoops"

Both are classes that are made without arguments. A server has `serve`, `serve_async`, `shutdown` and `server_info`
(`ferrule.servers.ApplicationServerPort` says what they do), a kind of loop has `name` and `new_event_loop`
(`ferrule.loops.EventLoopPort`).

## What becomes of the settings

**yes**: honoured. **near**: mapped to something near it, as the note says. **no**: not honoured, with a warning when it
is given. **refused**: an error when it is given. A value that switches off what a server does not have anyway is
honoured. What [settings.md](settings.md) calls not available in this version is refused with every server, whatever
stands here.
"""

_WORDS = {
    Outcome.HONOURED: "yes",
    Outcome.MAPPED: "near",
    Outcome.NOT_HONOURED: "no",
    Outcome.REFUSED: "**refused**",
}


def render() -> str:
    """The page."""
    heads = [f"{peer.name.capitalize() if peer.name != 'uvicorn' else peer.name}" for peer in PEERS]
    parts = [_INTRODUCTION]
    for group in GROUPS:
        names = [
            name for name, row in rows().items() if row.group == group and name not in {peer.name for peer in PEERS}
        ]
        parts.append(f"\n### {group}\n\n| setting | {' | '.join(heads)} |\n|---|{'---|' * len(PEERS)}\n")
        for name in names:
            cells = [_cell({**AROUND, **peer.rules}, name) for peer in PEERS]
            shown = f"`{name}`" if rows()[name].file_only or name == "app" else f"`{flag_of(name)}`"
            parts.append(f"| {shown} | {' | '.join(cells)} |\n")
    return "".join(parts)


def _cell(rules: Mapping[str, Rule], name: str) -> str:
    rule = rules.get(name, UNLISTED)
    cell = _one(rule)
    return cell if rule.wsgi is None else f"{cell}; WSGI: {_one(rule.wsgi)}"


def _one(rule: Rule) -> str:
    word = _WORDS[rule.outcome]
    if rule.values:
        listed = ", ".join(f"`{value}`" for value in rule.values)
        word = f"{word} for {listed}, else {_WORDS[rule.otherwise]}"
    return f"{word} ({rule.note})" if rule.note else word


def main(arguments: list[str]) -> int:
    return write_or_check(arguments, render(), "the tables of the adapters")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
