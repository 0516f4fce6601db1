"""Clients of HTTP/2, each asking for the same: fields, statuses, 10 MB up and down, many streams at once, and trailers
where the client can see them."""

import asyncio
import hashlib
import re
import ssl
from functools import partial
from pathlib import Path

import httpx

from tests.conformance.application import numbers
from tests.conformance.checks import Check, expect, run
from tests.conformance.targets import Target
from tests.conformance.tools import PROGRAMS, locate

SIZE = 10_000_000
CONCURRENT = 100
STATUSES = (204, 304, 404, 503)
LOAD_REQUESTS, LOAD_CLIENTS, LOAD_STREAMS = 20_000, 8, 32

CONTENT = b"".join(numbers(SIZE))
SUM = f"{SIZE} {hashlib.sha256(CONTENT).hexdigest()}".encode()


def own_program(target: Target, log: Path, *, tool: str, source: Path | None, trailers: bool = True) -> str:
    """A client of this package in another language: `PROGRAM URL CA|- trailers|-`. Its last line is what it saw."""
    words: list[str | Path] = [locate(tool, log.parent)]
    words += [source] if source is not None else []
    words += [target.url, target.authority if target.carrier == "tls" else "-"]
    words += ["trailers" if target.interface == "asgi" else "-"] if trailers else []
    return run(words, log).stdout.decode().strip().splitlines()[-1]


def curl(target: Target, log: Path) -> str:
    version = ["--http2", "--cacert", target.authority] if target.carrier == "tls" else ["--http2-prior-knowledge"]
    command = [locate("curl", log.parent), "--silent", "--show-error", "--max-time", "60", *version]
    told = run([*command, "--include", f"{target.url}/hello"], log).stdout
    head, _, body = told.partition(b"\r\n\r\n")
    lines = [line.strip() for line in head.split(b"\r\n")]
    expect(lines[0] == b"HTTP/2 200", f"status line {lines[0]!r}")
    expect({b"set-cookie: a=1", b"set-cookie: b=2", b"x-empty:"} <= set(lines), f"fields {lines}")
    expect(body == b"hello\n", f"body {body!r}")
    for status in STATUSES:
        told = run([*command, "--write-out", "%{http_code}", f"{target.url}/status/{status}"], log).stdout
        expect(told == b"%d" % status, f"status {told!r} instead of {status}")
    expect(run([*command, "--head", f"{target.url}/hello"], log).stdout.endswith(b"\r\n\r\n"), "content after HEAD")
    for upload in (["--data-binary", "@-"], ["--upload-file", "-", "--request", "POST"]):
        told = run([*command, *upload, f"{target.url}/sum"], log, content=CONTENT).stdout
        expect(told == SUM, f"upload by {upload[0]}: {told!r}")
    told = run([*command, f"{target.url}/numbers?size={SIZE}"], log).stdout
    expect(told == CONTENT, f"download of {len(told)} bytes differs")
    asked = 9
    if target.carrier == "tls":
        # Not on clear text, where curl 7.88 cannot use a connection twice, whatever the server.
        several = f"{target.url}/resource/[0-{CONCURRENT - 1}]"
        at_once = ["--parallel", "--parallel-max", str(CONCURRENT), "--no-progress-meter"]
        told = run([*command, *at_once, "--write-out", "%{http_version} %{local_port}\n", several], log).stdout
        bodies = sorted(int(number) for number in re.findall(rb"resource (\d+)\n", told))
        ways = set(re.findall(rb"^2 \d+$", told, re.MULTILINE))
        expect(bodies == list(range(CONCURRENT)), f"{len(bodies)} resources instead of {CONCURRENT}")
        expect(len(ways) == 1, f"{len(ways)} connections instead of 1")
        asked += CONCURRENT
    if target.interface == "asgi":
        told = run([*command, "--include", "--header", "TE: trailers", f"{target.url}/trailers"], log).stdout
        expect(b"before trailers\n" in told and b"x-checksum: abc\r\n" in told, f"trailers: {told!r}")
        asked += 1
    return f"{asked} requests"


def nghttp(target: Target, log: Path) -> str:
    program = locate("nghttp", log.parent)
    content = log.with_suffix(".content")
    content.write_bytes(CONTENT)
    told = run([program, "--data", content, f"{target.url}/sum"], log).stdout
    content.unlink()
    expect(told == SUM, f"upload: {told!r}")
    told = run([program, f"{target.url}/numbers?size={SIZE}"], log).stdout
    expect(told == CONTENT, f"download of {len(told)} bytes differs")
    resources = [f"{target.url}/resource/{number}" for number in range(CONCURRENT)]
    told = run([program, *resources], log).stdout
    bodies = sorted(int(number) for number in re.findall(rb"resource (\d+)\n", told))
    expect(bodies == list(range(CONCURRENT)), f"{len(bodies)} resources instead of {CONCURRENT}")
    if target.interface == "asgi":
        told = run([program, "--verbose", f"{target.url}/trailers"], log).stdout
        expect(b"x-checksum: abc" in told and b"x-last: yes" in told, "no trailers")
    return f"{2 + CONCURRENT + (target.interface == 'asgi')} requests"


def h2load(target: Target, log: Path) -> str:
    program = locate("h2load", log.parent)
    shape = ["-n", str(LOAD_REQUESTS), "-c", str(LOAD_CLIENTS), "-m", str(LOAD_STREAMS)]
    told = run([program, *shape, f"{target.url}/hello"], log).stdout.decode()
    summary = re.search(r"^requests: .*$", told, re.MULTILINE)
    statuses = re.search(r"^status codes: .*$", told, re.MULTILINE)
    expect(summary is not None and statuses is not None, "no summary")
    assert summary is not None
    assert statuses is not None
    expect(f"{LOAD_REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout" in summary[0], summary[0])
    expect(f"{LOAD_REQUESTS} 2xx" in statuses[0], statuses[0])
    return f"{LOAD_REQUESTS} of {LOAD_REQUESTS} succeeded, {LOAD_CLIENTS} connections, {LOAD_STREAMS} streams each"


def httpx_client(target: Target, log: Path) -> str:
    trust = ssl.create_default_context(cafile=target.authority) if target.carrier == "tls" else True
    return asyncio.run(_httpx(target, trust))


async def _httpx(target: Target, trust: ssl.SSLContext | bool) -> str:
    clear = target.carrier == "clear"
    ports = set()
    asked = 0
    async with httpx.AsyncClient(base_url=target.url, http1=not clear, http2=True, verify=trust, timeout=60) as client:

        async def ask(method: str, path: str, content: bytes | None = None) -> httpx.Response:
            nonlocal asked
            asked += 1
            response = await client.request(method, path, content=content)
            expect(response.http_version == "HTTP/2", f"{path} by {response.http_version}")
            ports.add(response.headers["x-client-port"])
            return response

        hello = await ask("GET", "/hello")
        expect(hello.text == "hello\n", f"body {hello.text!r}")
        expect(hello.headers.get_list("set-cookie") == ["a=1", "b=2"], "repeated fields")
        expect(hello.headers.get("x-empty") == "", "a field without value is lost")
        expect((await ask("HEAD", "/hello")).content == b"", "content after HEAD")
        for status in STATUSES:
            got = (await ask("GET", f"/status/{status}")).status_code
            expect(got == status, f"status {got} instead of {status}")
        told = (await ask("POST", "/sum", CONTENT)).content
        expect(told == SUM, f"upload: {told!r}")
        told = (await ask("GET", f"/numbers?size={SIZE}")).content
        expect(told == CONTENT, f"download of {len(told)} bytes differs")
        answers = await asyncio.gather(*(ask("GET", f"/resource/{number}") for number in range(CONCURRENT)))
        for number, response in enumerate(answers):
            expect(response.text == f"resource {number}\n", f"body {response.text!r} of resource {number}")
    expect(len(ports) == 1, f"{len(ports)} connections instead of 1")
    return f"{asked} requests, {len(ports)} connection"


CURL = Check("curl", curl, ("curl",))
HTTPX = Check("httpx", httpx_client)
CHECKS = [
    CURL,
    HTTPX,
    Check("nghttp", nghttp, ("nghttp",)),
    Check("h2load", h2load, ("h2load",)),
    Check("Go net/http", partial(own_program, tool="go client", source=None), ("go client",)),
    Check("Node.js http2", partial(own_program, tool="node", source=PROGRAMS / "client.mjs"), ("node",)),
    Check(
        "Java HttpClient",
        partial(own_program, tool="java", source=PROGRAMS / "Client.java", trailers=False),
        ("java",),
        carriers=("tls",),
    ),
]
