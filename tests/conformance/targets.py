"""Servers to be judged: Ferrule with the application of this package, for every carrier and interface.

Knows how Ferrule is started, and nothing of the programs that talk to it.
"""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.server import ServerProcess
from tests.support.tls import Authority

Carrier = Literal["clear", "tls"]
Interface = Literal["asgi", "wsgi"]
CARRIERS: tuple[Carrier, ...] = get_args(Carrier)
INTERFACES: tuple[Interface, ...] = get_args(Interface)


@dataclass(frozen=True, slots=True)
class Target:
    """A running server. Its name is 127.0.0.1, in its certificate too."""

    carrier: Carrier
    interface: Interface
    port: int
    authority: Path
    """The certificate that clients have to trust."""
    key_hash: str
    """Of the server's public key, as browsers pin it."""

    @property
    def url(self) -> str:
        return f"{'https' if self.carrier == 'tls' else 'http'}://127.0.0.1:{self.port}"


@contextmanager
def served(carrier: Carrier, interface: Interface, authority: Authority, *, http: str = "auto") -> Iterator[Target]:
    """One worker of Ferrule on a port that the kernel picks. Recycling is off: it would close connections on time."""
    options = ["--workers", "1", "--max-requests", "0", "--no-access-log", "--http", http]
    # With RSA, so that the oldest cipher suites could be agreed on.
    identity = authority.issue(rsa=True)
    if carrier == "tls":
        options += identity.flags
    with ServerProcess(*options, f"tests.conformance.application:{interface}") as server:
        yield Target(carrier, interface, server.port, authority.ca_certs, _key_hash(identity.certfile))


def _key_hash(certificate: Path) -> str:
    leaf = x509.load_pem_x509_certificate(certificate.read_bytes())
    key = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()
