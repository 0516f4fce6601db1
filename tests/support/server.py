"""Server processes under test: start one on a port the kernel picks, read what it says, stop it, leave nothing."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.accounting import CpuTime, ProcessStat, cpu_time, process_tree, resident_bytes, session_members
from tests.support.raw import RawConnection

REPOSITORY = Path(__file__).resolve().parents[2]

_TCP_URL = re.compile(r"(?P<url>(?P<scheme>https?)://(?P<host>\[[^]\s]+\]|[^\s:/\[\]]+):(?P<port>\d+))")
_UNIX_PATH = re.compile(r"unix:(?P<path>/[^\s,;\"']+)")
_POLL_INTERVAL = 0.01


class ServerExitedError(AssertionError):
    """The server ended although the test expected it to run; the message carries what it wrote."""


def run_to_exit(
    *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 30.0
) -> subprocess.CompletedProcess[str]:
    """Run `server ARGUMENTS` that is expected to end by itself, such as a bad command line.

    Raises `subprocess.TimeoutExpired` when it is still running after `timeout` seconds.
    """
    return subprocess.run(
        [sys.executable, "-m", "ferrule", *arguments],
        cwd=cwd or REPOSITORY,
        env=_environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def wait_until(condition: Callable[[], bool], *, timeout: float = 10.0, message: str = "condition") -> None:
    """Poll `condition` until it holds; `AssertionError` naming `message` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {message}")
        time.sleep(_POLL_INTERVAL)


class ServerProcess:
    """`server ARGUMENTS` as a child process; a context manager that leaves no process behind.

    Without `--bind`, `--port`, `--uds` or `--fd` among the arguments it binds `127.0.0.1:0`, unless `default_bind` is
    False. `env` is laid over
    the test's environment; a value of "" removes the variable. The process leads a session of its own, so that
    orphaned workers are found whoever their parent is by then.
    """

    def __init__(
        self,
        *arguments: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        ready: bool = True,
        prefix: Sequence[str] = (),
        program: Sequence[str] = (sys.executable, "-m", "ferrule"),
        default_bind: bool = True,
        boot_timeout: float = 20.0,
    ) -> None:
        self._ready = ready
        self._boot_timeout = boot_timeout
        self._command = [*prefix, *program, *(_with_bind(arguments) if default_bind else arguments)]
        self._cwd = cwd or REPOSITORY
        self._env = _environment(env)
        self._directory = tempfile.TemporaryDirectory(prefix="ferrule-test-")
        self._stdout_path = Path(self._directory.name, "stdout")
        self._stderr_path = Path(self._directory.name, "stderr")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # Files rather than pipes: a server that writes much can never block on a test that does not read.
        with self._stdout_path.open("wb") as stdout, self._stderr_path.open("wb") as stderr:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._cwd,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        if self._ready:
            try:
                self.wait_listening()
            except BaseException:
                self._kill_session()
                self._directory.cleanup()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            graceful = True
            if self.running:
                try:
                    self.stop(timeout=15)
                except subprocess.TimeoutExpired:
                    graceful = False
            survivors = self.survivors()
            said = self.stderr
        finally:
            self._kill_session()
            self._directory.cleanup()
        if kind is None:
            assert graceful, f"the server ignored SIGTERM for 15 s; it wrote:\n{said}"
            assert not survivors, f"processes outlived their server: {survivors}; it wrote:\n{said}"

    # What it is.

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server was not started: use it in a `with` block"
        return self._process

    @property
    def pid(self) -> int:
        """Process id of the arbiter."""
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self.process.poll()

    @property
    def stdout(self) -> str:
        """Everything written to standard output so far (the access log, by default)."""
        return self._stdout_path.read_text(encoding="utf-8", errors="replace")

    @property
    def stderr(self) -> str:
        """Everything written to standard error so far (the server log, by default)."""
        return self._stderr_path.read_text(encoding="utf-8", errors="replace")

    @property
    def url(self) -> str:
        """`http://host:port` of the first TCP listener that the server named."""
        match = _TCP_URL.search(self.stderr)
        assert match is not None, f"no URL in what the server wrote:\n{self.stderr}"
        return match["url"]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the first TCP listener, for a socket."""
        match = _TCP_URL.search(self.stderr)
        assert match is not None, f"no URL in what the server wrote:\n{self.stderr}"
        return match["host"].strip("[]"), int(match["port"])

    @property
    def port(self) -> int:
        return self.address[1]

    def connect(self, *, timeout: float = 10.0) -> RawConnection:
        """A raw client connection to the first TCP listener."""
        return RawConnection(self.address, timeout=timeout)

    # What it costs.

    def workers(self) -> list[int]:
        """Process ids of the arbiter's living children."""
        return [stat.pid for stat in process_tree(self.pid) if stat.parent == self.pid and stat.alive]

    def worker_rss(self) -> int:
        """Resident bytes of all workers together."""
        return sum(resident_bytes(pid) for pid in self.workers())

    def cpu(self) -> CpuTime:
        """CPU seconds of the server's process tree so far."""
        return cpu_time(self.pid)

    def survivors(self) -> list[ProcessStat]:
        """Living processes of the server's session apart from the arbiter: after it has ended, orphans."""
        return [stat for stat in session_members(self.pid) if stat.pid != self.pid]

    def refuses(self) -> bool:
        """Whether nobody listens any more: every worker has been told to drain."""
        try:
            self.connect().close()
        except ConnectionRefusedError:
            return True
        return False

    # Waiting for it.

    def wait_listening(self) -> None:
        """Return once a listener was announced and accepts; `ServerExitedError` when the server ends instead."""

        def accepts() -> bool:
            if not self.running:
                raise ServerExitedError(f"exit status {self.returncode}; it wrote:\n{self.stderr}")
            return self._accepts()

        wait_until(accepts, timeout=self._boot_timeout, message=f"a listening server; it wrote:\n{self.stderr}")

    def wait_for_log(self, pattern: str, *, timeout: float = 10.0, count: int = 1) -> re.Match[str]:
        """The `count`-th match of a regular expression in standard error, waited for."""
        return self._wait_for_match(lambda: self.stderr, pattern, timeout, count)

    def wait_for_stdout(self, pattern: str, *, timeout: float = 10.0, count: int = 1) -> re.Match[str]:
        """As `wait_for_log`, on standard output."""
        return self._wait_for_match(lambda: self.stdout, pattern, timeout, count)

    # Ending it.

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = 20.0) -> int:
        """Exit status, waited for. Raises `subprocess.TimeoutExpired`."""
        return self.process.wait(timeout)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, timeout: float = 20.0) -> int:
        """Signal the arbiter and wait for its exit status. Raises `subprocess.TimeoutExpired`."""
        self.send_signal(number)
        return self.wait(timeout)

    def _accepts(self) -> bool:
        text = self.stderr
        if (tcp := _TCP_URL.search(text)) is not None:
            family = socket.AF_INET6 if tcp["host"].startswith("[") else socket.AF_INET
            target: tuple[str, int] | str = (tcp["host"].strip("[]"), int(tcp["port"]))
        elif (unix := _UNIX_PATH.search(text)) is not None:
            family, target = socket.AF_UNIX, unix["path"]
        else:
            return False
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(target)
            except OSError:
                return False
            return True

    def _wait_for_match(self, text: Callable[[], str], pattern: str, timeout: float, count: int) -> re.Match[str]:
        compiled = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + timeout
        while True:
            matches = list(compiled.finditer(text()))
            if len(matches) >= count:
                return matches[count - 1]
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(matches)} of {count} matches of {pattern!r} in {timeout:g} s:\n{text()}")
            time.sleep(_POLL_INTERVAL)

    def _kill_session(self) -> None:
        # By session, not by group: a worker that made a group of its own is still ours to end.
        for stat in session_members(self.pid):
            try:
                os.kill(stat.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


def _with_bind(arguments: Sequence[str]) -> Sequence[str]:
    chosen = ("-b", "--bind", "--port", "--uds", "--fd")
    if any(argument.split("=", 1)[0] in chosen for argument in arguments):
        return arguments
    return ["--bind", "127.0.0.1:0", *arguments]


def _environment(changes: Mapping[str, str] | None) -> dict[str, str]:
    # Settings of whoever runs the tests must not reach the server under test.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("FERRULE_") and name not in {"WEB_CONCURRENCY", "PORT", "FORWARDED_ALLOW_IPS"}
    }
    merged = {**inherited, "PYTHONUNBUFFERED": "1", **(changes or {})}
    return {name: value for name, value in merged.items() if value != ""}
