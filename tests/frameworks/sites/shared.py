"""What the sites have in common: what they stream, how they describe an upload, the journal of what they did."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

PARTS = [f"part {number}\n" for number in range(50)]
LARGE = {"rows": [{"number": number, "text": "x" * 100} for number in range(20_000)]}

# Seconds between server-sent events, and of work that goes on after a response.
TICK = 0.02
WORK = 1.0


def file_path() -> Path:
    """The file that the sites hand out; the tests make it."""
    return Path(os.environ["SITE_FILE"])


def purpose(number: str) -> str:
    """What a page that fails says, to be found in the log."""
    return f"failed on purpose, number {number}"


def describe_upload(name: str | None, kind: str | None, content: bytes) -> dict[str, Any]:
    return {"name": name, "type": kind, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


class Journal:
    """Counts what happened beside and after responses; asked by the tests through a page."""

    def __init__(self) -> None:
        self._entries: Counter[str] = Counter()
        self._lock = Lock()  # entries come from application threads too

    def add(self, entry: str) -> None:
        with self._lock:
            self._entries[entry] += 1

    def count(self, entry: str) -> int:
        with self._lock:
            return self._entries[entry]

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Enters `NAME began` and, however the block ends, `NAME ended`."""
        self.add(f"{name} began")
        try:
            yield
        finally:
            self.add(f"{name} ended")


journal = Journal()
