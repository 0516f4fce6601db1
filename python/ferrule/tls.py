"""Certificates and keys: files read into memory, built into what the core serves with, and what an operator has to be
told of them.

The arbiter reads, because workers may have lost the right to; workers build. Only `build` needs the core, which the
arbiter must never load.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping, Sequence

from .config import Settings
from .config.tls import cipher_suites
from .errors import ConfigError
from .records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import _core

EXPIRES_SOON = 14 * 86400.0  # s; half of what is usual between a renewal and the end of a certificate's life
ALPN = {"auto": ("h2", "http/1.1"), "1": ("http/1.1",), "2": ("h2",)}


class Identity(Record):
    """What is presented to clients that ask for one of `names`; those of the default may be empty."""

    names: tuple[str, ...]
    chain: bytes
    key: bytes
    password: str | None


class Material(Record):
    """The contents of all files. The first identity is the default."""

    identities: tuple[Identity, ...]
    client_ca: bytes | None


class File(Record):
    """A file and the setting that names it."""

    where: str
    path: str

    def __str__(self) -> str:
        return f"{self.where}: {self.path}"

    def read(self, directory: str) -> bytes:
        """Raises `ConfigError`."""
        try:
            with open(os.path.join(directory, self.path), "rb") as file:
                return file.read()
        except OSError as error:
            raise ConfigError(f"{self.where}: cannot read {self.path}: {error.strerror}") from None


class IdentityFiles(Record):
    """Where one identity comes from; `password` is the setting that holds, or could hold, the key's password."""

    names: tuple[str, ...]
    certificate: File
    key: File
    password: str | None
    password_where: str


class Files:
    """The files that the settings name. Relative paths count from `directory`."""

    def __init__(self, settings: Settings, origins: Mapping[str, str], directory: str) -> None:
        self._directory = directory
        self.identities = tuple(_identities(settings, origins))
        asked = settings.client_cert != "none" and settings.ca_certs is not None
        self.client_ca = File(origins["ca_certs"], settings.ca_certs or "") if asked else None

    def read(self) -> Material:
        """Raises `ConfigError` with a line that names setting and file."""
        identities = (
            Identity(each.names, each.certificate.read(self._directory), each.key.read(self._directory), each.password)
            for each in self.identities
        )
        return Material(tuple(identities), self.client_ca.read(self._directory) if self.client_ca else None)

    def stamps(self) -> tuple[tuple[int, ...] | None, ...]:
        """What tells a changed or exchanged file, behind whatever symbolic links; None for one that is not there."""
        return tuple(_stamp(os.path.join(self._directory, path)) for path in self._paths())

    def warnings(self, ends: Sequence[float]) -> Iterator[tuple[str, dict[str, str]]]:
        """What an operator should know, as messages and fields of log lines: keys that every user of the machine can
        read, and certificates whose life is over or nearly so. `ends` are as `check` returns them."""
        for path in dict.fromkeys(each.key.path for each in self.identities):
            with contextlib.suppress(OSError):  # gone since it was read
                if os.stat(os.path.join(self._directory, path)).st_mode & stat.S_IROTH:
                    yield "Private key can be read by every user", {"keyfile": path}
        now = time.time()
        for each, end in zip(self.identities, ends, strict=True):
            if end < now + EXPIRES_SOON:
                message = "Certificate has expired" if end < now else "Certificate expires soon"
                yield message, {"certfile": each.certificate.path, "expires": moment(end)}

    def _paths(self) -> Iterator[str]:
        for each in self.identities:
            yield each.certificate.path
            yield each.key.path
        if self.client_ca is not None:
            yield self.client_ca.path


def _identities(settings: Settings, origins: Mapping[str, str]) -> Iterator[IdentityFiles]:
    if settings.certfile is not None:
        certificate = File(origins["certfile"], settings.certfile)
        key = certificate if settings.keyfile is None else File(origins["keyfile"], settings.keyfile)
        yield IdentityFiles((), certificate, key, settings.keyfile_password, "--keyfile-password")
    for number, table in enumerate(settings.tls, 1):
        where = f"{origins['tls']} number {number}"
        certificate = File(f"{where}: certfile", table.certfile)
        key = certificate if table.keyfile is None else File(f"{where}: keyfile", table.keyfile)
        yield IdentityFiles(table.names, certificate, key, table.keyfile_password, "keyfile-password in its table")


def _stamp(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def build(settings: Settings, material: Material, protocol: str, ticket_key: bytes | None = None) -> _core.TlsConfig:
    """What a listener of `protocol` ("auto", "1" or "2") serves with. Workers that have `ticket_key` in common resume
    each other's sessions. Raises `ValueError` with the core's own words."""
    from . import _core

    return _core.TlsConfig(
        identities=material.identities,
        client_ca=material.client_ca,
        client_cert=settings.client_cert,
        ciphers=cipher_suites(settings),
        min_version=settings.tls_min_version,
        alpn=ALPN[protocol],
        handshake_timeout=settings.tls_handshake_timeout,
        ticket_key=ticket_key,
    )


def check(settings: Settings, files: Files, material: Material) -> list[float]:
    """Whether the core can serve with what was read: the ends of the certificates' lives (unix time), in order of the
    identities. Raises `ConfigError`. Loads the core: the arbiter has a child do it."""
    try:
        ends: list[float] = build(settings, material, "auto").not_after
    except ValueError as error:
        raise ConfigError(explain(str(error), files)) from None
    return ends


def explain(problem: str, files: Files) -> str:
    """The core's complaint in terms of settings and files, and what to do about it."""
    if match := re.match(r"identities\[(\d+)\]: ", problem):
        return _explain_identity(problem[match.end() :], files.identities[int(match[1])])
    if problem.startswith("client_ca: ") and files.client_ca is not None:
        return f"{files.client_ca}: {problem.removeprefix('client_ca: ')}"
    return f"TLS: {problem}"


def _explain_identity(problem: str, files: IdentityFiles) -> str:
    if not problem.startswith(("the private key", "no private key", "the key file", "the password")):
        return f"{files.certificate}: {problem}"
    advice = ""
    if "does not match" in problem:
        advice = f" {files.certificate.path}"
    elif "no password" in problem:
        advice = f": give {files.password_where}"
    elif problem.startswith("no private key") and files.key is files.certificate:
        advice = ": name the file that it is in with keyfile"
    return f"{files.key}: {problem}{advice}"


def moment(unix: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix))
