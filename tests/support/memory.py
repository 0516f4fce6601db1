"""How much memory a server's worker takes while something goes on."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.accounting import resident_bytes
from tests.support.server import ServerProcess


class Peak:
    value = 0


@contextmanager
def peak_rss(server: ServerProcess) -> Iterator[Peak]:
    """The worker's highest resident memory, in bytes, while the block runs."""
    (worker,) = server.workers()
    peak = Peak()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            peak.value = max(peak.value, resident_bytes(worker))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()
