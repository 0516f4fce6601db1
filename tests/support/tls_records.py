"""A client of TLS 1.3 that writes records of its own: the handshake is OpenSSL's, the keys come through its key log.

RFC 8446: 5.2 (record protection), 7.1 to 7.3 (traffic keys).
"""

import os
import select
import socket
import ssl
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

APPLICATION_DATA, HANDSHAKE, ALERT = 23, 22, 21
KEY_UPDATE = b"\x18\x00\x00\x01"  # type and length; the last octet says whether an answer is asked for

SUITES: dict[str, tuple[type[AESGCM] | type[ChaCha20Poly1305], int, type[HashAlgorithm]]] = {
    "TLS_AES_128_GCM_SHA256": (AESGCM, 16, SHA256),
    "TLS_AES_256_GCM_SHA384": (AESGCM, 32, SHA384),
    "TLS_CHACHA20_POLY1305_SHA256": (ChaCha20Poly1305, 32, SHA256),
}


class RecordClient:
    """A connection whose handshake is over; a context manager. Nothing may be sent but by `record` and `key_update`."""

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext, name: str = "localhost") -> None:
        with tempfile.TemporaryDirectory() as directory:
            log = Path(directory, "keys")
            context.keylog_filename = str(log)
            self._tls = context.wrap_socket(socket.create_connection(address, 10), server_hostname=name)
            lines = [line.split() for line in log.read_text().splitlines() if not line.startswith("#")]
        (self._secret,) = (bytes.fromhex(line[2]) for line in lines if line[0] == "CLIENT_TRAFFIC_SECRET_0")
        suite = self._tls.cipher()
        assert suite is not None
        self._aead, self._key_length, self._hash = SUITES[suite[0]]
        # OpenSSL keeps what it has read; what is written now goes past it.
        self._raw = socket.socket(fileno=os.dup(self._tls.fileno()))
        self._raw.settimeout(10)
        self._derive()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._raw.close()
        self._tls.close()

    def record(self, content: bytes, kind: int = APPLICATION_DATA, padding: int = 0) -> bytes:
        """A protected record, the next one to be sent."""
        inner = content + bytes([kind]) + bytes(padding)
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2)
        nonce = (int.from_bytes(self._iv) ^ self._sequence).to_bytes(12)
        self._sequence += 1
        return header + self._cipher.encrypt(nonce, inner, header)

    def key_update(self, *, answer: bool) -> bytes:
        """A KeyUpdate message in a record of its own; what follows is under the next key."""
        octets = self.record(KEY_UPDATE + bytes([answer]), HANDSHAKE)
        self._secret = self._expand(b"traffic upd", len(self._secret))
        self._derive()
        return octets

    def send(self, octets: bytes) -> None:
        """Raises `OSError` once the server has closed the connection."""
        self._raw.sendall(octets)

    def read(self, count: int = 65536) -> bytes:
        """Decrypted data; b"" at the end. Raises `ssl.SSLError` with the alert that the server sends."""
        return self._tls.recv(count)

    def has_answer(self) -> bool:
        """Whether something has come that was not read yet."""
        return bool(select.select([self._raw], [], [], 0)[0])

    def wait_refused(self) -> None:
        """Reads to the end of the connection, with or without an alert."""
        with suppress(ssl.SSLError, ConnectionError):
            while self.read():
                pass

    def _derive(self) -> None:
        self._sequence = 0
        self._cipher = self._aead(self._expand(b"key", self._key_length))
        self._iv = self._expand(b"iv", 12)

    def _expand(self, label: bytes, length: int) -> bytes:
        """HKDF-Expand-Label of the current secret, without a context."""
        full = b"tls13 " + label
        info = length.to_bytes(2) + bytes([len(full)]) + full + b"\0"
        return HKDFExpand(self._hash(), length, info).derive(self._secret)
