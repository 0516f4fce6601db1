"""One measured server: started on a free port and a core of its own, checked by its answer, stopped by its pid."""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from benchmarks.accounting import process_tree, session_members, tree_resident_bytes
from benchmarks.applications import FILES_VARIABLE
from benchmarks.files import Content
from benchmarks.load import LoadFailedError, Target, content_length, pinned
from benchmarks.peers import Launch, Peer
from benchmarks.scenarios import Scenario, Service

REPOSITORY = Path(__file__).resolve().parents[1]
_BOOT_SECONDS = 20.0
_STOP_SECONDS = 10.0


class ServerFailedError(Exception):
    """A server did not start, or does not answer as the scenario expects; the message ends with what it wrote."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where servers run: the environment that holds them, the content they serve, and a core for each side."""

    bin: Path
    content: Content
    server_core: int | None = 0
    load_core: int | None = 1


def free_port() -> int:
    """A TCP port that nobody listened on a moment ago: not every peer can bind port 0 and say what it got."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class RunningServer:
    """A peer serving a service; a context manager that leaves no process and no file behind."""

    def __init__(
        self,
        peer: Peer,
        service: Service,
        place: Place,
        *,
        connections: int = 1000,
        keep_alive: int = 75,
        workers: int = 1,
    ) -> None:
        if service.every_core:
            workers = os.cpu_count() or 1
            place = replace(place, server_core=None, load_core=None)
        self.peer = peer
        self._place = place
        # The server's own.
        self.directory = Path(tempfile.mkdtemp(prefix="ferrule-bench-"))
        self._output = self.directory / "output"
        self._launch = Launch(
            place.bin, self.directory, free_port(), service, place.content, connections, keep_alive, workers
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._log_reader: subprocess.Popen[bytes] | None = None
        self._asked_to_stop = False
        self.started = 0.0

    @property
    def port(self) -> int:
        return self._launch.port

    @property
    def target(self) -> Target:
        return Target(self.port, self._launch.service.tls, self._place.load_core)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        command = pinned(self.peer.command(self._launch), self._place.server_core)
        # An empty working directory: no server finds a configuration file there, and all import the same module.
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            FILES_VARIABLE: str(self._place.content.folder),
        }
        # Servers from the registry have their byte code from the installation; one from a checkout has to keep its own.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with self._output.open("wb") as output, self._log(output) as log:
            self.started = time.perf_counter()
            self._process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=output,
                start_new_session=True,
            )
        return self

    def _log(self, output: IO[bytes]) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Where standard output, and with it an access log, goes: the same file, or a pipe that is read on the
        generator's core into that file."""
        if self._launch.service.access_log != "pipe":
            return contextlib.nullcontext(output)
        self._log_reader = subprocess.Popen(
            pinned(["cat"], self._place.load_core), stdin=subprocess.PIPE, stdout=output, start_new_session=True
        )
        assert self._log_reader.stdin is not None  # a pipe
        return self._log_reader.stdin

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        try:
            if self._process.poll() is None:
                self.ask_to_stop()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_STOP_SECONDS)
        finally:
            # Also when a second Ctrl-C ends the wait.
            for stat in session_members(self.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(stat.pid, signal.SIGKILL)
            self._process.wait()
            if self._log_reader is not None:
                # It has read to the end by now, as nobody is left to write.
                self._log_reader.kill()
                self._log_reader.wait()
            shutil.rmtree(self.directory, ignore_errors=True)

    def ask_to_stop(self) -> None:
        """Have it stop gracefully. Leaving the context does so too, and waits; asked twice, some servers cut off what
        is under way."""
        if not self._asked_to_stop and self._process is not None:
            self._asked_to_stop = True
            self._process.send_signal(signal.SIGTERM)
            self.resume()

    def pause(self) -> None:
        """Stop all of its processes where they stand."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.processes():
            # One may have ended since.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait_ready(self, scenario: Scenario, *, interval: float = 0.01, patience: float = _BOOT_SECONDS) -> float:
        """Ask until the first complete and correct answer; seconds since the start.

        Raises `ServerFailedError` when the process ends, answers wrongly, or does not answer within `patience` seconds.
        """
        while True:
            assert self._process is not None
            if self._process.poll() is not None:
                raise ServerFailedError(f"ended with status {self._process.returncode}: {self._said()}")
            try:
                self.check_answer(scenario)
            except (OSError, http.client.HTTPException, LoadFailedError) as error:
                if time.perf_counter() - self.started > patience:
                    raise ServerFailedError(f"not ready ({error}): {self._said()}") from None
                time.sleep(interval)
            else:
                return time.perf_counter() - self.started

    def check_answer(self, scenario: Scenario) -> None:
        """One request on a connection of its own, so that a wrong answer is never measured as a fast one.

        Raises `ServerFailedError` for such an answer, and what the client raises when there is none.
        """
        if scenario.service.http2 and not scenario.service.tls:
            # The standard library speaks no HTTP/2. Its length has to do for the content.
            with socket.create_connection(("127.0.0.1", self.port), timeout=5):
                pass
            length = content_length(self.target, scenario.request)
            if length != len(scenario.request.expected):
                raise ServerFailedError(f"answers {length} octets: {self._said()}")
            return
        request = scenario.request
        with contextlib.closing(self._client()) as client:
            client.request(request.method, request.path, body=request.body or None, headers=request.headers)
            response = client.getresponse()
            content = response.read()
        if response.status != 200 or content != request.expected:
            raise ServerFailedError(f"answers {response.status} {content[:80]!r}: {self._said()}")

    def _client(self) -> http.client.HTTPConnection:
        if not self._launch.service.tls:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        context = ssl.create_default_context(cafile=str(self._place.content.authority))
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=5, context=context)

    def processes(self) -> list[int]:
        """The pids of the server's whole process tree."""
        return [stat.pid for stat in process_tree(self.pid)]

    def resident_bytes(self) -> int:
        """Resident memory of the server's whole process tree."""
        return tree_resident_bytes(self.pid)

    def _said(self) -> str:
        text = self._output.read_text(encoding="utf-8", errors="replace").strip()
        return text[-600:] or "(it wrote nothing)"
