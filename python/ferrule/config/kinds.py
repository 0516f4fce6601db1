"""Kinds of setting values: what text or file value each takes, and what it becomes.

Knows nothing of single settings. Patterns are compiled when first used: most starts need few of them.
Every parser takes a string (flags, environment) or what a TOML, YAML or Python file holds, and raises `ValueError` when
that is not what the kind expects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ..records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Kind(Record):
    """`expects` completes the sentence "expected ..."; `metavar` stands for the value in `--help`."""

    expects: str
    metavar: str
    parse: Callable[[object], Any]
    many: bool = False  # a list: its flag may be repeated
    separator: str = ","  # between the items of a list in an environment variable
    boolean: bool = False  # its flag takes no value and has a --no- form


class ItemError(ValueError):
    """One item of a list is not what is expected."""

    def __init__(self, message: str, item: object) -> None:
        super().__init__(message)
        self.item = item


def integer(low: int = 0, high: int | None = None) -> Kind:
    def parse(raw: object) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int | str):
            raise ValueError
        number = int(raw) if isinstance(raw, int) else _decimal(raw)
        if number < low or (high is not None and number > high):
            raise ValueError
        return number

    expects = f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}"
    return Kind(expects, "N", parse)


def _decimal(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()):
        raise ValueError
    return int(text)


_SECONDS = r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(ms|s|m|h|d)?"
_SECONDS_PER = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}


def seconds() -> Kind:
    def parse(raw: object) -> float:
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            raise ValueError
        match = re.fullmatch(_SECONDS, str(raw).strip())
        if match is None:
            raise ValueError
        return float(match[1]) * _SECONDS_PER[match[2]]

    return Kind("seconds, such as 30, 1.5, 500ms or 5m", "S", parse)


_SIZE = r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*(?:([kmg])i?b?|b)?"
_BYTES_PER = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def size(low: int = 0, high: int | None = None, *, default_unit: str = "") -> Kind:
    """Bytes; a bare number counts in `default_unit` ("" for bytes, "m" for MiB)."""

    def parse(raw: object) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            raise ValueError
        text = str(raw).strip().lower()
        match = re.fullmatch(_SIZE, text)
        if match is None:
            raise ValueError
        unit = match[2] or ("" if text.endswith("b") else default_unit)
        number = int(float(match[1]) * _BYTES_PER[unit])
        if number < low or (high is not None and number > high):
            raise ValueError
        return number

    expects = "MiB, such as 512 or 1.5GiB" if default_unit == "m" else "bytes, such as 65536, 64KiB or 2.5MiB"
    if high is not None:
        expects += f", from {low} to {high}"
    elif low:
        expects += f", at least {low}"
    return Kind(expects, "SIZE", parse)


_TRUE = frozenset(("1", "true", "yes", "on"))
_FALSE = frozenset(("0", "false", "no", "off", ""))


def boolean() -> Kind:
    def parse(raw: object) -> bool:
        if isinstance(raw, bool):
            return raw
        if isinstance(raw, str):
            word = raw.strip().lower()
            if word in _TRUE:
                return True
            if word in _FALSE:
                return False
        raise ValueError

    return Kind("true or false", "", parse, boolean=True)


def text(expects: str = "text", metavar: str = "TEXT", pattern: str = r"[^\x00-\x1f\x7f]*") -> Kind:
    def parse(raw: object) -> str | None:
        if raw is None:
            return None
        if not isinstance(raw, str) or not re.fullmatch(pattern, raw):
            raise ValueError
        return raw or None

    return Kind(expects, metavar, parse)


def path(metavar: str = "PATH") -> Kind:
    return text("a path", metavar, r"[^\x00]+")


def url_path() -> Kind:
    return text("a path that begins with /", "PATH", r"/[\x21-\x22\x24-\x3e\x40-\x7e]*")


def name_or_id(what: str) -> Kind:
    def parse(raw: object) -> str | None:
        if isinstance(raw, bool) or not isinstance(raw, int | str) or not str(raw).strip():
            raise ValueError
        return str(raw)

    return Kind(f"the name or number of a {what}", what.upper(), parse)


def choice(*values: str, also: Mapping[str, str] | None = None) -> Kind:
    """One of `values`; `also` maps other accepted spellings to one of them."""
    spellings = {value: value for value in values} | dict(also or {})

    def parse(raw: object) -> str:
        if isinstance(raw, bool) or not isinstance(raw, int | str):
            raise ValueError
        return spellings[str(raw).strip().lower()]

    def parse_or_value_error(raw: object) -> str:
        try:
            return parse(raw)
        except KeyError:
            raise ValueError from None

    listing = ", ".join(values[:-1]) + f" or {values[-1]}"
    return Kind(listing, "|".join(values), parse_or_value_error)


def named(*values: str) -> Kind:
    """One of `values`, or a name that some installed package offers: whether one does is found out by who needs it."""

    def parse(raw: object) -> str:
        if not isinstance(raw, str) or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", raw.strip()):
            raise ValueError
        name = raw.strip()
        return name.lower() if name.lower() in values else name

    return Kind(f"{', '.join(values)} or a name that an installed package offers", "|".join((*values, "NAME")), parse)


def octal() -> Kind:
    def parse(raw: object) -> int:
        if isinstance(raw, int) and not isinstance(raw, bool):
            number = raw  # 0o022 in TOML and Python
        elif isinstance(raw, str) and re.fullmatch(r"(0o)?[0-7]{1,4}", raw.strip()):
            number = int(raw.strip().removeprefix("0o"), 8)
        else:
            raise ValueError
        if not 0 <= number <= 0o777:
            raise ValueError
        return number

    return Kind("an octal mode such as 022", "MODE", parse)


def header() -> Kind:
    """`NAME:VALUE` or a pair, checked as RFC 9110 section 5 says: token name, no control characters in the value."""
    token = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
    text_value = r"[\t\x20-\x7e\x80-\xff]*"

    def parse(raw: object) -> tuple[str, str]:
        match raw:
            case str():
                name, colon, value = raw.partition(":")
                if not colon:
                    raise ValueError
            case [str(name), str(value)]:
                pass
            case _:
                raise ValueError
        value = value.strip(" \t")
        if not re.fullmatch(token, name) or not re.fullmatch(text_value, value):
            raise ValueError
        return name, value

    return Kind("NAME:VALUE", "NAME:VALUE", parse)


def table() -> Kind:
    """A table of a configuration file, handed on as it is."""

    def parse(raw: object) -> Any:
        if not isinstance(raw, dict | list):
            raise ValueError
        return raw

    return Kind("a table", "TABLE", parse)


def mapping() -> Kind:
    """A table of keys and values, for somebody else to look into."""

    def parse(raw: object) -> Any:
        if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
            raise ValueError
        return raw

    return Kind("a table", "TABLE", parse)


def many(kind: Kind, separator: str = ",") -> Kind:
    """A list of `kind`; a string holds several, parted by `separator`."""

    def parse(raw: object) -> tuple[Any, ...]:
        if isinstance(raw, str):
            items: list[object] = [item.strip() for item in raw.split(separator) if item.strip()]
        elif isinstance(raw, list | tuple):
            items = list(raw)
        elif isinstance(raw, dict):
            items = list(raw.items())
        else:
            raise ValueError
        return tuple(parse_item(item) for item in items)

    def parse_item(item: object) -> Any:
        try:
            return kind.parse(item)
        except ValueError as error:
            raise ItemError(str(error), item) from None

    metavar = "NAME,..." if "|" in kind.metavar else kind.metavar
    return kind._replace(parse=parse, metavar=metavar, many=True, separator=separator)
