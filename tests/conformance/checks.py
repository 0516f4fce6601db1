"""A check and its outcome. What is checked stands in the modules beside this one; `catalogue` lists it."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.conformance.targets import CARRIERS, INTERFACES, Carrier, Interface, Target

DEADLINE = 120.0  # s for one program; the slowest needs a tenth of it

Result = Literal["pass", "FAIL", "not run"]


class FailedError(Exception):
    """A server did not do what was expected of it; the message says what it did."""


@dataclass(frozen=True, slots=True)
class Check:
    """One program's look at a server. `run` returns what it saw in a few words, and raises `FailedError`."""

    name: str
    run: Callable[[Target, Path], str]
    needs: tuple[str, ...] = ()
    """Programs, by their names in `tools`."""
    carriers: tuple[Carrier, ...] = CARRIERS
    interfaces: tuple[Interface, ...] = INTERFACES
    http: str = "auto"
    """The server's --http."""


@dataclass(frozen=True, slots=True)
class Outcome:
    check: str
    carrier: str
    interface: str
    result: Result
    detail: str


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise FailedError(what)


def run(
    command: Sequence[str | Path],
    log: Path,
    *,
    content: bytes = b"",
    any_status: bool = False,
    deadline: float = DEADLINE,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end and append what it said to `log`. Raises `FailedError` when it fails or hangs."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=content, capture_output=True, timeout=deadline, check=False)
    except subprocess.TimeoutExpired as error:
        raise FailedError(f"{Path(words[0]).name} did not end in {deadline:g} s") from error
    with log.open("ab") as file:
        file.write(f"$ {' '.join(words)}\n".encode() + done.stdout[-100_000:] + done.stderr[-100_000:] + b"\n")
    if done.returncode != 0 and not any_status:
        said = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace").splitlines()
        raise FailedError(f"{Path(words[0]).name}: {said[-1] if said else f'status {done.returncode}'}")
    return done
