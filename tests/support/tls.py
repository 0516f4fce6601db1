"""Certificates for tests: an authority with an intermediate, files as a server reads them, contexts of clients.

Knows no server. Keys are ECDSA P-256, which take no time to make, unless a test needs RSA.
"""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization


class CertificateFiles(NamedTuple):
    """A chain (leaf, then intermediate) and its key, in files that only their owner can read."""

    certfile: Path
    keyfile: Path

    @property
    def flags(self) -> tuple[str, ...]:
        """What makes a server use them."""
        return ("--certfile", str(self.certfile), "--keyfile", str(self.keyfile))

    @property
    def serial(self) -> int:
        """Serial number of the leaf, by which a client tells one certificate from the next."""
        return x509.load_pem_x509_certificate(self.certfile.read_bytes()).serial_number


class Authority:
    """A root, and an intermediate that issues every leaf. Files are written to `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._root = trustme.CA()
        self._issuer = self._root.create_child_ca()
        self.ca_certs = directory / "ca.pem"
        self._root.cert_pem.write_to_path(str(self.ca_certs))

    def issue(
        self,
        *names: str,
        stem: str = "server",
        common_name: str | None = None,
        ends: timedelta = timedelta(days=90),
        password: str | None = None,
        rsa: bool = False,
    ) -> CertificateFiles:
        """A certificate for `names` (host names, addresses, mail addresses of clients), by default for 127.0.0.1 and
        localhost, in `stem`.pem and `stem`.key. `ends` counts from now; `password` encrypts the key (PBES2)."""
        leaf = self._issuer.issue_cert(
            *(names or ("127.0.0.1", "localhost")),
            common_name=common_name,
            not_before=datetime.now(UTC) - timedelta(days=365),
            not_after=datetime.now(UTC) + ends,
            key_type=trustme.KeyType.RSA if rsa else trustme.KeyType.ECDSA,
        )
        files = CertificateFiles(self.directory / f"{stem}.pem", self.directory / f"{stem}.key")
        files.certfile.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        files.keyfile.touch(mode=0o600)
        files.keyfile.write_bytes(encoded(leaf.private_key_pem.bytes(), password))
        return files

    def client(self, identity: CertificateFiles | None = None, *, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        """The context of a client that trusts this authority, and shows `identity` when asked for a certificate."""
        context = ssl.create_default_context(cafile=str(self.ca_certs))
        if identity is not None:
            context.load_cert_chain(identity.certfile, identity.keyfile)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


def encoded(key_pem: bytes, password: str | None = None, *, legacy: bool = False) -> bytes:
    """A key as PKCS#8, encrypted (PBES2) with `password`; `legacy` is the older PEM form with its own encryption."""
    key = serialization.load_pem_private_key(key_pem, None)
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password.encode())
    form = serialization.PrivateFormat.TraditionalOpenSSL if legacy else serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, encryption)


@contextmanager
def handshake(
    address: tuple[str, int] | str, context: ssl.SSLContext, name: str = "127.0.0.1", *, timeout: float = 10.0
) -> Iterator[ssl.SSLSocket]:
    """A TLS connection to a TCP address or a unix socket, asking for `name`."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as clear:
        clear.settimeout(timeout)
        clear.connect(address)
        with context.wrap_socket(clear, server_hostname=name) as secure:
            yield secure


def presented(address: tuple[str, int] | str, context: ssl.SSLContext, name: str = "127.0.0.1") -> int:
    """Serial number of the certificate that a new handshake shows."""
    with handshake(address, context, name) as connection:
        der = connection.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def s_client(address: tuple[str, int], *arguments: str, send: str = "") -> str:
    """What `openssl s_client` says, both streams together, after typing `send`."""
    command = ["openssl", "s_client", "-connect", f"{address[0]}:{address[1]}", *arguments]
    done = subprocess.run(
        command, input=send.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, check=False
    )
    return done.stdout.decode(errors="replace")  # frames of HTTP/2 may be among it
