"""Continuous load over HTTP/2 by clients that honour GOAWAY: the counterpart of `load`."""

import threading
from collections import Counter
from types import TracebackType
from typing import Self

from tests.support.h2 import ClosedError, H2Connection

TIMEOUT = 15.0  # s; a request that takes longer counts as failed
REFUSED_STREAM = 7


class H2Load:
    """Threads with a connection each, and always `streams` requests under way on it. A context manager.

    A client that is told GOAWAY opens nothing more there, waits for what is under way, and asks again on a new
    connection for what the server says it has not served. Everything else that goes wrong is in `failures`.
    """

    def __init__(self, address: tuple[str, int], path: str = "/", *, clients: int = 3, streams: int = 8) -> None:
        self._address = address
        self._path = path
        self._streams = streams
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self.served: Counter[bytes] = Counter()
        self.failures: list[str] = []
        self.connections = 0
        self.unserved = 0  # requests that GOAWAY or REFUSED_STREAM gave back
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(TIMEOUT * 2)
            assert not thread.is_alive(), "a client of the load never got its answer"

    @property
    def total(self) -> int:
        with self._lock:
            return sum(self.served.values())

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                with H2Connection(self._address, timeout=TIMEOUT) as client:
                    with self._lock:
                        self.connections += 1
                    self._use(client)
            except (OSError, AssertionError) as error:
                self._fail(f"{type(error).__name__}: {error}")

    def _use(self, client: H2Connection) -> None:
        """One connection, until it or the load ends."""
        under_way: set[int] = set()
        while True:
            leaving = bool(client.goaways) or self._ending.is_set()
            try:
                while not leaving and len(under_way) < self._streams:
                    under_way.add(client.request("GET", self._path))
                    leaving = bool(client.goaways)
                if not under_way:
                    return
                client.wait(lambda: any(self._is_settled(client, stream) for stream in under_way), "an answer")
            except ClosedError:
                if not client.goaways:
                    self._fail(f"closed without GOAWAY, {len(under_way)} requests under way")
                    return
            for stream in [stream for stream in under_way if self._is_settled(client, stream)]:
                under_way.remove(stream)
                self._settle(client, stream)
            if client.closed and under_way:
                self._fail(f"closed although requests up to {client.goaways[-1].last_stream_id} were promised")
                return

    @staticmethod
    def _is_settled(client: H2Connection, stream: int) -> bool:
        unserved = bool(client.goaways) and stream > client.goaways[-1].last_stream_id
        return client.exchanges[stream].over or unserved

    def _settle(self, client: H2Connection, stream: int) -> None:
        exchange = client.exchanges.pop(stream)
        with self._lock:
            if exchange.ended and exchange.status == 200:
                self.served[bytes(exchange.body)] += 1
            elif not exchange.heads and exchange.reset in (None, REFUSED_STREAM):
                self.unserved += 1
            else:
                self.failures.append(f"stream {stream}: {exchange}")

    def _fail(self, what: str) -> None:
        with self._lock:
            self.failures.append(what)
