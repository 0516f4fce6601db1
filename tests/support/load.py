"""Continuous load that counts every failure: the client of tests that promise not to lose a request."""

import http.client
import ssl
import threading
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

TIMEOUT = 15.0  # s; a request that takes longer counts as failed


class Load:
    """Threads that request `paths` in turn, `kept` of them over one connection each, the others over a new one every
    time; a context manager. Every request has a query of its own, so that a log can be asked about it.

    With `tls` they speak that. `served` counts answers by body, `failed` are the targets that got none, `failures` says
    what went wrong.
    """

    def __init__(
        self,
        address: tuple[str, int],
        paths: Sequence[str] = ("/",),
        *,
        clients: int = 4,
        kept: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._address = address
        self._tls = tls
        self._paths = paths
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self.served: Counter[str] = Counter()
        self.failed: list[str] = []
        self.failures: list[str] = []
        kept = clients // 2 if kept is None else kept
        self._threads = [
            threading.Thread(target=self._run, args=(number, number < kept), daemon=True) for number in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Let every client finish its request and stop."""
        self._ending.set()
        for thread in self._threads:
            thread.join(TIMEOUT * 2)
            assert not thread.is_alive(), "a client of the load never got its answer"

    @property
    def total(self) -> int:
        with self._lock:
            return sum(self.served.values())

    def _run(self, number: int, keep: bool) -> None:
        connection: http.client.HTTPConnection | None = None
        turn = number  # clients begin at different paths
        used = 0  # requests that the connection has carried
        while not self._ending.is_set():
            target = f"{self._paths[turn % len(self._paths)]}?{number}.{turn}"
            turn += 1
            try:
                if connection is None:
                    connection = self._connection()
                    used = 0
                used += 1
                connection.request("GET", target)
                response = connection.getresponse()
                body = response.read()
                if response.status != 200:
                    self._fail(target, f"status {response.status}")
                if response.will_close or not keep:
                    connection.close()
                    connection = None
                with self._lock:
                    self.served[body.decode()] += 1
            except (OSError, http.client.HTTPException) as error:
                self._fail(target, f"request {used} of its connection: {type(error).__name__}: {error}")
                if connection is not None:
                    connection.close()
                    connection = None
        if connection is not None:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(*self._address, timeout=TIMEOUT)
        return http.client.HTTPSConnection(*self._address, timeout=TIMEOUT, context=self._tls)

    def _fail(self, target: str, what: str) -> None:
        with self._lock:
            self.failed.append(target)
            self.failures.append(f"{target}: {what}")
