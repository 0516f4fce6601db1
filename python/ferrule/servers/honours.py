"""What another server makes of Ferrule's settings: one table per adapter, and what is said about the rest.

The tables are data: the check at start and docs/servers.md both come from them. Knows no server.

Only settings that somebody gave are passed on, besides what makes up the command itself (application, addresses,
workers, logs). What was not given stays at the other server's own default, so that it runs as its users know it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from ..config import Settings
from ..errors import ConfigError
from ..logs import Log


class Outcome(Enum):
    """What becomes of a setting."""

    HONOURED = "honoured"
    MAPPED = "mapped"  # to something near it; the note says where it differs
    NOT_HONOURED = "not honoured"  # a warning when it is given
    REFUSED = "refused"  # an error when it is given: going on without it would be unsafe


@dataclass(frozen=True, slots=True)
class Rule:
    """What a server makes of one setting.

    `values` limits the rule to some values: others are treated as `otherwise`. `off` says that the server does without
    the feature, so that a value that switches it off is honoured by that alone. `wsgi` holds for WSGI applications.
    """

    outcome: Outcome
    note: str = ""
    values: tuple[str, ...] = ()
    otherwise: Outcome = Outcome.NOT_HONOURED
    off: bool = True
    wsgi: Rule | None = None

    def of(self, value: object, interface: str) -> Outcome:
        """What becomes of `value`."""
        rule = self.wsgi if self.wsgi is not None and interface == "wsgi" else self
        outcome = rule.outcome
        if rule.values and str(value) not in rule.values:
            outcome = rule.otherwise
        lacking = outcome in (Outcome.NOT_HONOURED, Outcome.REFUSED)
        return Outcome.HONOURED if lacking and rule.off and _is_off(value) else outcome


def honoured(note: str = "", **more: object) -> Rule:
    return Rule(Outcome.HONOURED, note, **more)  # type: ignore[arg-type]


def mapped(note: str, **more: object) -> Rule:
    return Rule(Outcome.MAPPED, note, **more)  # type: ignore[arg-type]


def not_honoured(note: str = "", **more: object) -> Rule:
    return Rule(Outcome.NOT_HONOURED, note, **more)  # type: ignore[arg-type]


def refused(note: str, **more: object) -> Rule:
    return Rule(Outcome.REFUSED, note, **more)  # type: ignore[arg-type]


UNLISTED = not_honoured()
"""A setting that a table does not list. A new setting is therefore never dropped in silence."""

AROUND: Mapping[str, Rule] = {
    "app": honoured(),
    "factory": honoured(),
    "interface": honoured(),
    "app_dir": honoured(),
    "env_file": honoured(),
    "server": honoured(),
    "loop": honoured(),
    "pid": honoured(),
    "umask": honoured(),
    "workers": honoured("0 is one per usable CPU, as usual"),
    "proc_name": honoured("of the first process"),
    "daemon": not_honoured("it stays in the foreground"),
    "debug": not_honoured(),
    "log_format": mapped("of Ferrule's own lines only", values=("kv",)),
}
"""What Ferrule itself does around every other server, or cannot do around any."""


def check(server: str, rules: Mapping[str, Rule], settings: Settings, given: Mapping[str, str], log: Log) -> None:
    """Say which of the given settings a server cannot honour: one warning that names them all.

    Raises `ConfigError` where going on without one would be unsafe.
    """
    outcomes = {name: outcome(rules, name, settings, settings.interface) for name in given}
    for name, where in given.items():
        if outcomes[name] is Outcome.REFUSED:
            note = rules[name].note
            raise ConfigError(
                f"{where}: {server} cannot do this, and going on without would be unsafe{note and f': {note}'}"
            )
    left = [where for name, where in given.items() if outcomes[name] is Outcome.NOT_HONOURED]
    if left:
        log.warning(f"{server} cannot honour {', '.join(dict.fromkeys(left))}; see docs/servers.md")


def outcome(rules: Mapping[str, Rule], name: str, settings: Settings, interface: str) -> Outcome:
    """What becomes of the value that a setting has."""
    return rules.get(name, UNLISTED).of(getattr(settings, name), interface)


def _is_off(value: object) -> bool:
    return not value or value == "none"
