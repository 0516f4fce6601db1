"""Load generators that run on: `wrk` (HTTP/1.1) and `h2load` (HTTP/2), counted from outside, paused and resumed.

What one spends on starting and on connecting is in nobody's figures, and servers that are compared can take turns of
a fraction of a second.
"""

import os
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.accounting import Writes, writes
from benchmarks.load import (
    Load,
    LoadFailedError,
    Target,
    h2load_headers,
    parse_h2load_log,
    parse_wrk,
    pinned,
    wrk_request_size,
    wrk_script,
)
from benchmarks.scenarios import Scenario

# Longer than a server is loaded without a new generator; each is ended long before.
_MOST_SECONDS = 1800
_PATIENCE_SECONDS = 60.0
# From here on wrk counts a request as late, and leaves it out of the latencies.
_LATE_SECONDS = 10
# At most so many writes open a TLS connection.
_HANDSHAKE_WRITES = 3
# How far wrk's own count may be from ours: a connection that is opened again is one more handshake.
_DISAGREEMENT = 0.05


class Generator(ABC):
    """One running generator, a context manager. Every method raises `LoadFailedError` when it has ended."""

    def __init__(self, target: Target, scenario: Scenario) -> None:
        self.target = target
        self.scenario = scenario
        self._folder = tempfile.TemporaryDirectory(prefix="ferrule-load-")
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        # A session of its own: Ctrl-C on the terminal is for the harness, which ends it.
        self._process = subprocess.Popen(
            pinned(self._command(Path(self._folder.name)), self.target.core),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process = self._running()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._folder.cleanup()

    def wait_for(self, requests: float) -> None:
        """Until it has counted so many."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.requests() < requests:
            if self._running().poll() is not None:
                raise LoadFailedError(f"the load generator ended: {self._said()}")
            if time.monotonic() > deadline:
                raise LoadFailedError(f"fewer than {requests:.0f} requests in {_PATIENCE_SECONDS:.0f} s")
            time.sleep(0.002)

    def pause(self) -> None:
        """Stop it where it stands: requests that are under way will be answered, and the answers wait for it."""
        self._running().send_signal(signal.SIGSTOP)
        # Returns once every thread has stopped, or when the process has ended.
        os.waitid(os.P_PID, self._running().pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if self._running().poll() is not None:
            raise LoadFailedError(f"the load generator ended: {self._said()}")

    def resume(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    @abstractmethod
    def requests(self) -> float:
        """How many so far; below zero while connections are opened."""

    @abstractmethod
    def mark(self) -> None:
        """Leave out of the report what has been until now, as far as this generator can."""

    @abstractmethod
    def finish(self) -> Load:
        """End it, and take its report."""

    @abstractmethod
    def _command(self, folder: Path) -> list[str]:
        """Its command line; `folder` is its own."""

    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None
        return self._process

    def _said(self) -> str:
        output, _ = self._running().communicate(timeout=_PATIENCE_SECONDS)
        return output.strip()[-600:]


class _Wrk(Generator):
    """Requests are counted as they are written: over TLS by calls, each of which carries one once connections are open;
    on clear text by octets, as large ones take several calls."""

    def _command(self, folder: Path) -> list[str]:
        script = folder / "request.lua"
        script.write_bytes(wrk_script(self.scenario.request))
        threads = 1 if self.target.core is not None else min(os.cpu_count() or 1, self.scenario.connections)
        return [
            "wrk",
            *("-t", str(threads), "-c", str(self.scenario.connections), "-d", f"{_MOST_SECONDS}s"),
            *("--latency", "--timeout", f"{_LATE_SECONDS}s", "-s", str(script)),
            self.target.url(self.scenario.request.path),
        ]

    def requests(self) -> float:
        written: Writes = writes([self._running().pid])
        if self.target.tls:
            return written.calls - _HANDSHAKE_WRITES * self.scenario.connections
        return written.octets / wrk_request_size(self.scenario.request, self.target.port)

    def mark(self) -> None:
        """wrk cannot: its latencies are those of its whole run."""

    def finish(self) -> Load:
        process, counted = self._running(), self.requests()
        process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            # Every thread of it takes the signal, and only the first one ends by it: once may not be enough.
            process.send_signal(signal.SIGINT)
            try:
                output, _ = process.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    raise LoadFailedError("wrk does not end") from None
        if process.returncode != 0:
            raise LoadFailedError(f"wrk: status {process.returncode}: {output.strip()}")
        load = parse_wrk(output)
        allowance = load.requests * _DISAGREEMENT + self.scenario.connections
        if counted > load.requests + allowance and not load.errors:
            raise LoadFailedError(f"by its writes wrk sent {counted:.0f} requests, by its report {load.requests}")
        return load


class _H2load(Generator):
    """Answers are counted as it logs them."""

    def __init__(self, target: Target, scenario: Scenario) -> None:
        super().__init__(target, scenario)
        self._log = Path(self._folder.name, "log")
        self._counted = self._read = self._marked = 0

    def _command(self, folder: Path) -> list[str]:
        request, body = self.scenario.request, folder / "body"
        body.write_bytes(request.body)
        return [
            *("h2load", "-D", str(_MOST_SECONDS)),
            *("-c", str(self.scenario.connections), "-m", str(self.scenario.streams), f"--log-file={self._log}"),
            *(("-d", str(body)) if request.body else ()),
            *h2load_headers(request),
            self.target.url(request.path),
        ]

    def requests(self) -> float:
        if self._log.exists():
            with self._log.open("rb") as log:
                log.seek(self._read)
                found = log.read()
            self._read += len(found)
            self._counted += found.count(b"\n")
        return self._counted

    def mark(self) -> None:
        self.requests()
        self._marked = self._read

    def finish(self) -> Load:
        self.pause()
        self.requests()
        with self._log.open("rb") as log:
            log.seek(self._marked)
            # The last line may be half written.
            lines = log.read(self._read - self._marked).rpartition(b"\n")[0]
        return parse_h2load_log(lines.decode("ascii"))


def generator(target: Target, scenario: Scenario) -> Generator:
    """The one that speaks the scenario's protocol, not yet started."""
    return (_H2load if scenario.streams else _Wrk)(target, scenario)
