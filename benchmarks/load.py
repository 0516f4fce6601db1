"""What a load is: where it goes, what came of it, and how the words of `wrk` and `h2load` about it are read."""

import math
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scenarios import Request, Scenario

_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
_PATIENCE_SECONDS = 120.0


class LoadFailedError(Exception):
    """The generator did not run, or printed what cannot be read."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the generator saw. Latencies in milliseconds; `errors` counts answers that were not 2xx and
    connections that failed, `late` answers that took longer than wrk keeps account of."""

    requests: int
    p50: float
    p99: float
    errors: int
    late: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """Where the generator sends to, and the core it is held to: on any core it gets as many threads as there are."""

    port: int
    tls: bool
    core: int | None

    def url(self, path: str) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{path}"


def pinned(command: list[str], core: int | None) -> list[str]:
    """The command held to one core, or where it may run anyway."""
    return command if core is None else ["taskset", "-c", str(core), *command]


def parse_wrk(text: str) -> Load:
    """Read the report of `wrk --latency`. Raises `LoadFailedError` when a figure is missing."""
    requests = re.search(r"(\d+) requests in ", text)
    if requests is None:
        raise LoadFailedError(f"no figures in what wrk printed:\n{text}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    errors = int(refused[1]) if refused else 0
    errors += sum(int(count) for count in broken.groups()[:3]) if broken else 0
    late = int(broken[4]) if broken else 0
    return Load(int(requests[1]), _percentile(text, 50), _percentile(text, 99), errors, late)


def _percentile(text: str, percent: int) -> float:
    match = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)\b", text, re.MULTILINE)
    if match is None:
        raise LoadFailedError(f"no {percent}% latency in what wrk printed:\n{text}")
    return float(match[1]) * _UNITS_MS[match[2]]


def wrk_script(request: Request) -> bytes:
    """The request as wrk's Lua script."""
    lines = [f"wrk.method = {_lua(request.method.encode())}"]
    lines += [f"wrk.headers[{_lua(name.encode())}] = {_lua(value.encode())}" for name, value in request.headers.items()]
    if request.body:
        lines.append(f"wrk.body = {_lua(request.body)}")
    return "\n".join(lines).encode("ascii")


def _lua(data: bytes) -> str:
    """A Lua string literal of any bytes, every one of them as a decimal escape."""
    return '"' + "".join(f"\\{byte:03d}" for byte in data) + '"'


def wrk_request_size(request: Request, port: int) -> int:
    """Octets of one request as wrk writes it on clear text."""
    lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    if request.body:
        lines.append(f"Content-Length: {len(request.body)}")
    return len("\r\n".join(lines).encode()) + len(b"\r\n\r\n") + len(request.body)


def content_length(target: Target, request: Request) -> int:
    """Octets of content in the answer to one request over HTTP/2. Raises `LoadFailedError` when there is none, or it is
    not 2xx."""
    text = _call_h2load(target, ["-n", "1", "-c", "1", *h2load_headers(request), target.url(request.path)])
    octets = re.search(r"traffic: .*\((\d+)\) data", text)
    if octets is None or "status codes: 1 2xx" not in text:
        raise LoadFailedError(f"no answer in what h2load printed: {text}")
    return int(octets[1])


def send(target: Target, scenario: Scenario, count: int) -> None:
    """Send a scenario's request so many times over HTTP/1.1. Raises `LoadFailedError` unless all are answered."""
    request, connections = scenario.request, str(scenario.connections)
    options = ["--h1", "-n", str(count), "-c", connections, *h2load_headers(request), target.url(request.path)]
    text = _call_h2load(target, options)
    if f" {count} done, " not in text:
        raise LoadFailedError(f"not {count} answers in what h2load printed: {text}")


def _call_h2load(target: Target, options: list[str]) -> str:
    try:
        done = subprocess.run(
            pinned(["h2load", *options], target.core),
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LoadFailedError("h2load does not end") from None
    return done.stdout


def h2load_headers(request: Request) -> list[str]:
    """The request's fields as options."""
    return [argument for field in request.headers.items() for argument in ("-H", ": ".join(field))]


def parse_h2load_log(log: str) -> Load:
    """Read lines of h2load's `--log-file`, one per answer: start, status, microseconds."""
    columns = [line.split("\t") for line in log.splitlines()]
    latencies = sorted(int(microseconds) for _, _, microseconds in columns)
    errors = sum(not status.startswith("2") for _, status, _ in columns)
    return Load(len(columns), percentile(latencies, 0.50) / 1000, percentile(latencies, 0.99) / 1000, errors)


def percentile(ordered: Sequence[int], fraction: float) -> float:
    """The smallest of sorted values that at least so many do not exceed; 0 of none."""
    return ordered[max(0, math.ceil(len(ordered) * fraction) - 1)] if ordered else 0.0
