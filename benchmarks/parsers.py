"""The parsers alone, without a server: Ferrule's, crates and llhttp side by side in one process.

The Rust benchmark `side_by_side` takes short batches of every parser in turn and times them by the CPU time of its
thread; its figures of one batch belong together, and their ratio is hardly disturbed by what else a machine does.
"""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from benchmarks.progress import Progress
from benchmarks.results import Result, Row

_REPOSITORY = Path(__file__).resolve().parents[1]
_BENCH = ["cargo", "bench", "--locked", "-q", "-p", "ferrule-http", "--bench", "side_by_side"]

# The cases of the benchmark, and the package behind each parser.
_TITLES = {
    **{f"head-{count}": f"Head parse, {count} field{'s' * (count > 1)}" for count in (1, 9, 40)},
    "hpack-stories": "HPACK decode, stories of the public vectors",
    "hpack-browser": "HPACK decode, a browser's requests",
    "hpack-encode": "HPACK encode, stories of the public vectors",
}
_PACKAGES = {"ferrule": "ferrule-http", "httparse-uninit": "httparse", "nghttp2": "libnghttp2-sys"}


class NotMeasuredError(Exception):
    """The benchmarks of the parsers did not build or run; the message says why."""


def build() -> str | None:
    """Compile the Rust benchmark and llhttp; why they cannot be run, or None."""
    if shutil.which("cargo") is None:
        return "cargo is not installed (https://rustup.rs)"
    try:
        _run([*_BENCH, "--no-run"])
        _build_llhttp()
    except (NotMeasuredError, OSError) as error:
        return str(error)
    return None


def measure_parsers(core: int | None, progress: Progress) -> list[Result]:
    """MB/s of input, one row per parser, one sample per batch. Raises `NotMeasuredError`, `OSError`."""
    progress.step("Parsers alone", 1, 1, "llhttp, compiling")
    llhttp = _build_llhttp()
    progress.step("Parsers alone", 1, 1, "side by side")
    held = [] if core is None else ["taskset", "-c", str(core)]
    cases: list[dict[str, Any]] = json.loads(_run([*held, *_BENCH, "--", "--llhttp", str(_llhttp_library())]))
    locked = tomllib.loads((_REPOSITORY / "Cargo.lock").read_text(encoding="utf-8"))["package"]
    versions = {package["name"]: package["version"] for package in locked}
    versions["llhttp"] = llhttp
    return [_result(case, versions) for case in cases]


def _result(case: dict[str, Any], versions: dict[str, str]) -> Result:
    rows = []
    for parser, batches in case["nanoseconds"].items():
        samples = [{"mb_s": case["bytes"] / nanoseconds * 1000} for nanoseconds in batches]
        rows.append(Row(parser, parser, versions[_PACKAGES.get(parser, parser)], samples))
    return Result(case["case"], "", _TITLES[case["case"]], "mb_s", rows=rows)


def _target() -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR", _REPOSITORY / "target"))


def _llhttp_library() -> Path:
    return _target() / "llhttp.so"


def _build_llhttp() -> str:
    """Compile llhttp, which comes with the sources of libnghttp2, into a shared library; its version."""
    metadata = json.loads(_run(["cargo", "metadata", "--locked", "--format-version", "1"]))
    manifest = next(each["manifest_path"] for each in metadata["packages"] if each["name"] == "libnghttp2-sys")
    sources = Path(manifest).parent / "nghttp2" / "third-party" / "llhttp"
    header = (sources / "include" / "llhttp.h").read_text(encoding="utf-8")
    version = ".".join(re.findall(r"#define LLHTTP_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header))
    # Its vector instructions are chosen when it is compiled: for this machine, unlike those in wheels.
    command = [os.environ.get("CC", "cc"), "-O3", "-march=native", "-shared", "-fPIC", f"-I{sources / 'include'}"]
    files = map(str, sorted((sources / "src").glob("*.c")))
    _run([*command, *files, "-o", str(_llhttp_library())])
    return f"{version}, compiled for this machine"


def _run(command: list[str]) -> str:
    """What a command prints. Raises `NotMeasuredError` if it fails, `OSError` if it is not there."""
    environment = {**os.environ, "CARGO_TARGET_DIR": str(_target())}
    done = subprocess.run(command, cwd=_REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotMeasuredError(f"{' '.join(command[:2])}: {done.stderr.strip()[-600:]}")
    return done.stdout
