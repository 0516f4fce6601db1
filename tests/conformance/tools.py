"""The programs that judge Ferrule: which of them are here, how to get the others, and those that are built here."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(__file__).with_name("programs")
H2SPEC = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"
BUILD_DEADLINE = 900.0  # s, with everything that it depends on to fetch and to build


class MissingError(Exception):
    """A program is not here; the message says which and how to get it."""


@dataclass(frozen=True, slots=True)
class Tool:
    how: str
    """How to install it."""
    find: Callable[[Path], str | Path]
    """Its path, given the folder for what is built. Raises `LookupError`."""


def locate(name: str, workspace: Path) -> str | Path:
    """The path of a program, built if need be. Raises `MissingError`."""
    tool = TOOLS[name]
    try:
        return tool.find(workspace)
    except LookupError as error:
        why = f" ({error})" if str(error) else ""
        raise MissingError(f"{name} is missing{why}: {tool.how}") from None


def _installed(*names: str) -> Callable[[Path], str]:
    def find(workspace: Path) -> str:
        for name in names:
            if (path := shutil.which(name)) is not None:
                return path
        raise LookupError

    return find


def _speaks(name: str, command: list[str], pattern: str) -> Callable[[Path], str]:
    """A program that is new enough, or built with what is needed, by what it says about itself."""

    def find(workspace: Path) -> str:
        path = _installed(name)(workspace)
        done = subprocess.run([path, *command], capture_output=True, text=True, check=False, timeout=60)
        if re.search(pattern, done.stdout + done.stderr) is None:
            raise LookupError(f"the one at {path} will not do")
        return path

    return find


def _built(name: str, command: list[str], folder: Path | None = None) -> Callable[[Path], Path]:
    """A Go program, built into the workspace unless it is there and its sources are older."""

    def find(workspace: Path) -> Path:
        binary = workspace / "bin" / name
        sources = [path.stat().st_mtime for path in folder.iterdir()] if folder is not None else [0.0]
        if binary.exists() and binary.stat().st_mtime > max(sources):
            return binary
        go = _installed("go")(workspace)
        environment = {**os.environ, "GOBIN": str(binary.parent), "GOFLAGS": "-trimpath"}
        words = [word.replace("OUTPUT", str(binary)) for word in command]
        done = subprocess.run(
            [go, *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_DEADLINE,
        )
        if done.returncode != 0:
            raise LookupError(f"building it failed: {done.stderr.strip().splitlines()[-1]}")
        return binary

    return find


_DEBIAN = "Debian and Ubuntu: apt-get install"
_GO = "install Go 1.24 or newer (https://go.dev/dl), which builds it"

TOOLS = {
    "cargo": Tool("https://rustup.rs", _installed("cargo")),
    "h2spec": Tool(_GO, _built("h2spec", ["install", H2SPEC])),
    "go client": Tool(_GO, _built("go-client", ["build", "-o", "OUTPUT", "."], PROGRAMS / "go")),
    "node": Tool(
        f"Node.js 18 or newer; {_DEBIAN} nodejs", _speaks("node", ["--version"], r"^v(1[89]|[2-9]\d|\d{3,})\.")
    ),
    "java": Tool(
        f"a JDK of 17 or newer; {_DEBIAN} openjdk-17-jdk-headless",
        _speaks("java", ["--list-modules"], r"jdk\.compiler@(1[7-9]|[2-9]\d)"),
    ),
    "curl": Tool(f"curl with HTTP/2, 7.75 or newer; {_DEBIAN} curl", _speaks("curl", ["--version"], r"\bHTTP2\b")),
    "nghttp": Tool(f"{_DEBIAN} nghttp2-client", _installed("nghttp")),
    "h2load": Tool(f"{_DEBIAN} nghttp2-client", _installed("h2load")),
    "openssl": Tool(f"{_DEBIAN} openssl", _installed("openssl")),
    "chromium": Tool(
        f"{_DEBIAN} chromium", _installed("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    ),
}
