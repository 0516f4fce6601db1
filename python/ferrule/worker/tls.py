"""TLS in a worker: what each of its listeners presents, kept up to date while it serves.

The arbiter reads and checks certificate files and hands their contents on through shared memory; a worker looks there
with every beat. So a renewal reaches workers without a restart, and without the right to read the files.
"""

from __future__ import annotations

import marshal
import mmap
import os
import struct
import threading
import zlib
from collections.abc import Sequence

from ..config import Bind, Settings
from ..config.tls import protocol_of, speaks_tls
from ..logs import Log
from ..tls import Identity, Material, build

_HEADER = struct.Struct("=QQI")  # version, length, CRC-32 of both and what follows
_ROOM = 1 << 20  # bytes for certificates to grow; untouched pages cost nothing


class Feed:
    """Certificates in memory that the arbiter writes and the workers of one generation inherit and read.

    `material` and `version` are what this process knows. `ticket_key` seals sessions: all workers of the generation can
    resume them, and none of the next."""

    def __init__(self, material: Material) -> None:
        self._memory = mmap.mmap(-1, _HEADER.size + 4 * len(_pack(material)) + _ROOM)
        self.version = 0
        self.ticket_key = os.urandom(32)
        self.publish(material)

    def publish(self, material: Material) -> None:
        """The arbiter's side. Raises `ValueError` when there is no room, which a restart would make."""
        data = _pack(material)
        if _HEADER.size + len(data) > len(self._memory):
            raise ValueError(f"there is room for {len(self._memory)} bytes of certificates, these are {len(data)}")
        self.material = material
        self.version += 1
        self._memory[_HEADER.size : _HEADER.size + len(data)] = data
        self._memory[: _HEADER.size] = _HEADER.pack(self.version, len(data), _checksum(self.version, data))

    def take(self) -> Material | None:
        """A worker's side: what the arbiter has published since the fork or the last call, if anything.

        A checksum tells what is half written, where a lock could be kept by a process that is killed."""
        version, length, checksum = _HEADER.unpack_from(self._memory)
        if version == self.version:
            return None
        data = self._memory[_HEADER.size : _HEADER.size + length]
        if _checksum(version, data) != checksum:
            return None  # the next look will see all of it
        identities, client_ca = marshal.loads(data)  # written by our own arbiter
        self.version, self.material = version, Material(tuple(Identity(*each) for each in identities), client_ca)
        return self.material


def _pack(material: Material) -> bytes:
    return marshal.dumps((tuple(tuple(each) for each in material.identities), material.client_ca))


def _checksum(version: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(version.to_bytes(8, "little")))


class ListenersTls:
    """`configs` are for the core: one per listener, in the order of `binds`, None for one that speaks clear text."""

    def __init__(self, settings: Settings, binds: Sequence[Bind], feed: Feed, log: Log) -> None:
        """Raises `ValueError` when the certificates cannot be used, which the arbiter has made unlikely."""
        self._settings = settings
        self._feed = feed
        self._log = log
        protocols = [protocol_of(settings, bind) if speaks_tls(settings, bind) else None for bind in binds]
        # One for all listeners of a protocol: it is the same but for what ALPN offers.
        self._by_protocol = {
            each: build(settings, feed.material, each, feed.ticket_key) for each in protocols if each is not None
        }
        self.configs = tuple(None if each is None else self._by_protocol[each] for each in protocols)

    def refresh(self) -> None:
        """Serve later handshakes with new certificates when there are any. Called with every beat; a key that is under
        a password takes a while to open, so that is done beside what serves."""
        material = self._feed.take()
        if material is not None:
            self.replace(material)

    def replace(self, material: Material) -> None:
        """As `refresh`, with what the feed's own process has published."""
        threading.Thread(target=self._replace, args=(material,), name="ferrule-tls", daemon=True).start()

    def _replace(self, material: Material) -> None:
        try:
            fresh = {each: build(self._settings, material, each, self._feed.ticket_key) for each in self._by_protocol}
        except ValueError as error:
            self._log.error("Certificates not replaced, the old ones go on", reason=error)
            return
        if self._feed.material is not material:
            return  # something newer has come meanwhile
        for protocol, config in self._by_protocol.items():
            config.replace(fresh[protocol])
        self._log.debug("Certificates replaced")
