"""What a run needs from the machine: an interpreter's environment with every server in it, and programs of the system.

Says what is missing and how to get it; decides nothing about measuring.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.instructions import VALGRIND
from benchmarks.interpreters import newest
from benchmarks.peers import PEERS, Peer, compiler, nginx_program
from benchmarks.servers import REPOSITORY

_HOW_TO_INSTALL = {
    "wrk": "Debian and Ubuntu: apt-get install wrk; macOS: brew install wrk",
    "h2load": "Debian and Ubuntu: apt-get install nghttp2-client; macOS: brew install nghttp2",
    "taskset": "Debian and Ubuntu: apt-get install util-linux",
    "nginx": "Debian and Ubuntu: apt-get install nginx-light",
    "cc": "Debian and Ubuntu: apt-get install gcc libc6-dev",
    "valgrind": "Debian and Ubuntu: apt-get install valgrind",
}
_NEEDED = ("wrk", "h2load", "taskset")

# An interpreter built without profile-guided optimisation spends up to twice the time in Python code, which shifts
# every ratio towards servers that run more of it: the report says so.
_DESCRIBE = """
import importlib.metadata, json, sys, sysconfig
optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
build = "" if optimised else " (built without --enable-optimizations)"
found = {d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions()}
print(json.dumps({"python": "%d.%d.%d" % sys.version_info[:3] + build, "distributions": found}))
"""


class NotPreparedError(Exception):
    """The machine lacks something that no run can do without; the message says what and how to get it."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that holds the servers."""

    bin: Path
    python: str
    distributions: dict[str, str]

    @property
    def interpreter(self) -> Path:
        return self.bin / "python"

    def missing(self, peer: Peer) -> str | None:
        """How to install what this server needs; None when it can run."""
        if peer.program == "nginx" and nginx_program() is None:
            return f"nginx is not installed ({_HOW_TO_INSTALL['nginx']})"
        if peer.program == "cc" and compiler() is None:
            return f"a C compiler is not installed ({_HOW_TO_INSTALL['cc']})"
        if peer.distribution is not None and peer.distribution not in self.distributions:
            source = REPOSITORY if peer.name == "ferrule" else peer.distribution
            return f"{peer.distribution} is not installed ({self.interpreter} -m pip install {source})"
        return None

    def version(self, peer: Peer) -> str:
        """Version of an installed server, as it reports it."""
        if peer.distribution is not None:
            return self.distributions[peer.distribution]
        if peer.program == "cc":
            done = subprocess.run([compiler() or "cc", "-dumpversion"], capture_output=True, text=True, check=False)
            return f"cc {done.stdout.strip()}"
        done = subprocess.run([nginx_program() or "nginx", "-v"], capture_output=True, text=True, check=False)
        return done.stderr.strip().rpartition("/")[2]


def prepare(python: Path | None, existing: Path | None) -> Environment:
    """Make, or make current, the environment of the chosen interpreter (the newest one by default).

    `existing` names an environment that is used as it stands. Raises `NotPreparedError`.
    """
    missing = [f"{program} ({_HOW_TO_INSTALL[program]})" for program in _NEEDED if shutil.which(program) is None]
    if missing:
        raise NotPreparedError(f"not installed: {'; '.join(missing)}")
    if existing is not None:
        return _describe(existing.absolute() / "bin")
    interpreter = python or newest()
    if interpreter is None:
        raise NotPreparedError("no released CPython of 3.11 or later was found: name one with --python")
    tag = _run([str(interpreter), "-c", 'import sys; print("%d.%d" % sys.version_info[:2])']).strip()
    # The same environment that `make test-all` uses for this version, so that Ferrule is built once for both.
    folder = REPOSITORY / f".venv-{tag}"
    _run(["make", "-s", "bench-environment", f"PYTHON={interpreter}", f"VENV={folder.name}"], capture=False)
    return _describe(folder / "bin")


def available(environment: Environment, names: list[str]) -> tuple[list[Peer], list[str]]:
    """The servers that can run, of those named, and one line for each that cannot."""
    wanted = [peer for peer in PEERS if peer.name in names]
    problems = {peer.name: environment.missing(peer) for peer in wanted}
    return (
        [peer for peer in wanted if problems[peer.name] is None],
        [f"left out: {problem}" for problem in problems.values() if problem is not None],
    )


def countable() -> str | None:
    """How to install what counts instructions; None when it is there."""
    if shutil.which(VALGRIND) is not None:
        return None
    return f"left out: {VALGRIND} is not installed ({_HOW_TO_INSTALL[VALGRIND]})"


def machine() -> dict[str, str | int]:
    """What the figures were measured on, and of what."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    commit = {"commit": done.stdout.strip()} if done.returncode == 0 else {}
    models = [line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")]
    return {
        **commit,
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
    }


def _cpu_lines() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _describe(bin_directory: Path) -> Environment:
    described = json.loads(_run([str(bin_directory / "python"), "-c", _DESCRIBE]))
    return Environment(bin_directory, described["python"], described["distributions"])


def _run(command: list[str], *, capture: bool = True) -> str:
    """Standard output of a command, or nothing when it is shown instead, away from the report."""
    try:
        done = subprocess.run(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE if capture else sys.stderr, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotPreparedError(f"{' '.join(command)}: {error}") from error
    return done.stdout or ""
