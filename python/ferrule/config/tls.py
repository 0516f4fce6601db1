"""TLS in the settings: `[[tls]]` tables, cipher lists, which listener speaks what. Parses and compares; never opens a
file and never sees a certificate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..errors import ConfigError
from ..records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .binds import Bind
    from .settings import Settings

_TABLE_KEYS = ("names", "certfile", "keyfile", "keyfile_password")
_HOST_NAME = r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?"

_TLS12_SUITES = {
    f"TLS_ECDHE_{key}_WITH_{iana}": f"ECDHE-{key}-{openssl}"
    for key in ("ECDSA", "RSA")
    for iana, openssl in (
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
    )
}
"""IANA name -> OpenSSL's name: suites of TLS 1.2 with forward secrecy and authenticated encryption (RFC 9325, 4.2)."""

_TLS13_SUITES = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")

CIPHERS_EXPECT = "names of cipher suites parted by colons, such as " + ":".join(list(_TLS12_SUITES.values())[:2])


class TlsTable(Record):
    """One `[[tls]]` table: what is presented to clients that ask for one of `names`."""

    names: tuple[str, ...]
    certfile: str
    keyfile: str | None = None
    keyfile_password: str | None = None

    def __str__(self) -> str:
        """As `server check` shows it: never the password."""
        return f"{' '.join(self.names)} ({self.certfile})"


def parse_tables(raw: object) -> tuple[TlsTable, ...]:
    """`[[tls]]` of a configuration file. The message of a `ValueError` never quotes more than a name: there may be a
    password in the table."""
    tables = [raw] if isinstance(raw, dict) else raw
    if not isinstance(tables, list | tuple):
        raise ValueError
    parsed = tuple(_parse_table(table, number) for number, table in enumerate(tables, 1))
    seen: set[str] = set()
    for name in (name for table in parsed for name in table.names):
        if name in seen:
            raise ValueError(f"each name in one [[tls]] table, {name} is in two places")
        seen.add(name)
    return parsed


def _parse_table(raw: object, number: int) -> TlsTable:
    where = f"in [[tls]] number {number}"
    if not isinstance(raw, dict):
        raise ValueError(f"a table {where}")
    values: dict[str, Any] = {}
    for key, value in raw.items():
        name = str(key).replace("-", "_").removeprefix("ssl_")
        if name not in _TABLE_KEYS:
            raise ValueError(
                f"the keys {', '.join(each.replace('_', '-') for each in _TABLE_KEYS)} {where}, not {key!r}"
            )
        if name != "names" and not (isinstance(value, str) and value and value.isprintable()):
            raise ValueError(f"text as {key} {where}")
        values[name] = value
    if "certfile" not in values:
        raise ValueError(f"a certfile {where}")
    values["names"] = tuple(_parse_names(values.get("names", ()), where))
    return TlsTable(**values)


def _parse_names(raw: object, where: str) -> Iterator[str]:
    items = raw.replace(",", " ").split() if isinstance(raw, str) else raw
    if not isinstance(items, list | tuple) or not items:
        raise ValueError(f"names, a list of host names, {where}")
    for item in items:
        name = item.lower().rstrip(".") if isinstance(item, str) else ""
        if len(name) > 253 or not re.fullmatch(_HOST_NAME, name):
            raise ValueError(f"host names such as example.org or *.example.org as names {where}, not {item!r}")
        yield name


def parse_ciphers(raw: object) -> tuple[str, ...]:
    """Names of suites, as OpenSSL or IANA spell them. Its keywords (`HIGH`, `!MD5`, `ECDHE+AESGCM`) are refused: what
    they mean differs from one release of OpenSSL to the next."""
    names = re.split(r"[:,\s]+", raw.strip()) if isinstance(raw, str) else raw
    if not isinstance(names, list | tuple):
        raise ValueError
    suites: list[str] = []
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Z0-9]+([-_][A-Z0-9]+)+", name):
            raise ValueError
        suites.append(_TLS12_SUITES.get(name, name))
    return tuple(suites)


def cipher_suites(settings: Settings) -> tuple[str, ...]:
    """The suites to offer, for the core; () for its defaults. A list that names none of TLS 1.3 leaves those alone, as
    it does elsewhere."""
    chosen = tuple(name for name in settings.ciphers if name in _known_suites())
    if chosen and not set(chosen) & set(_TLS13_SUITES):
        chosen += _TLS13_SUITES
    return chosen


def _known_suites() -> set[str]:
    return {*_TLS12_SUITES.values(), *_TLS13_SUITES}


def has_certificate(settings: Settings) -> bool:
    return settings.certfile is not None or bool(settings.tls)


def speaks_tls(settings: Settings, bind: Bind) -> bool:
    """Whether a listener does: as its `?tls=` says, else when there is a certificate."""
    said = dict(bind.options).get("tls")
    return has_certificate(settings) if said is None else said == "on"


def protocol_of(settings: Settings, bind: Bind) -> str:
    """ "auto", "1" or "2": as the listener's `?http=` says, else as `--http` does."""
    return dict(bind.options).get("http", settings.http)


def check_tls(settings: Settings, origins: Mapping[str, str], warnings: list[str]) -> None:
    """What TLS settings say together. Raises `ConfigError`."""
    if settings.certfile is None:
        for name in ("keyfile", "keyfile_password"):
            if getattr(settings, name) is not None:
                raise ConfigError(f"{origins[name]} needs a certificate: give --certfile as well")
    if not has_certificate(settings):
        for bind in settings.bind:
            if speaks_tls(settings, bind):
                raise ConfigError(f"{origins['bind']}: {bind} needs a certificate: give --certfile and --keyfile")
        if settings.client_cert != "none":
            raise ConfigError(
                f"{origins['client_cert']} {settings.client_cert} needs TLS: give --certfile and --keyfile"
            )
    if settings.client_cert != "none" and settings.ca_certs is None:
        asked = f"{origins['client_cert']} {settings.client_cert}"
        raise ConfigError(f"{asked} needs --ca-certs: the authorities that issue the certificates")
    if settings.ca_certs is not None and settings.client_cert == "none":
        warnings.append(f"{origins['ca_certs']} is not used: clients are asked for certificates with --client-cert")
    unknown = [name for name in settings.ciphers if name not in _known_suites()]
    if unknown and len(unknown) == len(settings.ciphers):
        raise ConfigError(
            f"{origins['ciphers']}: none of these suites is offered; there are {' '.join(sorted(_known_suites()))}"
        )
    if unknown:
        warnings.append(f"{origins['ciphers']}: not offered: {' '.join(unknown)}")
