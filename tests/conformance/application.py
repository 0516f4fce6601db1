"""What the clients ask for, by path, as an ASGI and as a WSGI application. Every answer is one that a client can verify
without knowing this module, and says in `x-client-port` by which connection it was asked.

Knows no client and no server.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

CYCLE = bytes(range(251))  # of prime length, so that a piece that is lost or moved shows
PIECE = 65536
SCRIPTS = 100
KEPT = 65536  # bytes of a request body that are kept as text

REPORTS: list[str] = []
"""What pages told about themselves (`/report`), for whoever waits for it (`/reported`)."""

PAGE = """<!doctype html>
<title>conformance</title>
<script>
const loaded = new Map(), failed = [];
let over = false;
function load(number, port) { loaded.set(number, port); }
function report() {
  if (over || loaded.size + failed.length < SCRIPTS) return;
  over = true;
  const entries = performance.getEntriesByType("resource").filter(entry => entry.name.includes("/script/"));
  fetch("/report", {method: "POST", body: JSON.stringify({
    loaded: [...loaded.keys()].sort((a, b) => a - b), failed,
    ports: [...new Set(loaded.values())],
    protocols: [...new Set(entries.map(entry => entry.nextHopProtocol))],
  })});
}
for (let number = 0; number < SCRIPTS; number++) {
  const script = document.createElement("script");
  script.src = `/script/${number}`;
  script.onload = report;
  script.onerror = () => { failed.push(number); report(); };
  document.head.append(script);
}
</script>
""".replace("SCRIPTS", str(SCRIPTS))


@dataclass
class Received:
    """A request body: how long it was, what it hashes to, and its beginning."""

    length: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    start: bytes = b""

    def add(self, data: bytes) -> None:
        self.length += len(data)
        self.digest.update(data)
        self.start += data[: max(0, KEPT - len(self.start))]


@dataclass
class Answer:
    body: Iterable[bytes]
    status: int = 200
    fields: list[tuple[str, str]] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)


def answer(path: str, query: dict[str, str], port: int, body: Received) -> Answer:
    """The one table of what can be asked."""
    _, name, *rest = [*path.split("/"), ""]
    match name:
        case "hello":
            return Answer([b"hello\n"], fields=[("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-empty", "")])
        case "sum":
            return Answer([f"{body.length} {body.digest.hexdigest()}".encode()])
        case "numbers":
            return Answer(numbers(int(query["size"])))
        case "resource":
            return Answer([f"resource {rest[0]}\n".encode()])
        case "status":
            return Answer([], int(rest[0]))
        case "trailers":
            return Answer([b"before ", b"trailers\n"], trailers=[("x-checksum", "abc"), ("x-last", "yes")])
        case "page":
            return Answer([PAGE.encode()], fields=[("content-type", "text/html")])
        case "script":
            return Answer([f"load({rest[0]}, {port});".encode()], fields=[("content-type", "text/javascript")])
        case "report":
            REPORTS.append(body.start.decode())
            return Answer([])
        case "reported":
            return Answer([json.dumps(REPORTS).encode()])
        case _:
            return Answer([b"Ferrule under test\n"])


def numbers(size: int) -> Iterator[bytes]:
    """`size` bytes of the repeated cycle."""
    repeated = CYCLE * (PIECE // len(CYCLE) + 2)
    for start in range(0, size, PIECE):
        offset = start % len(CYCLE)
        yield repeated[offset : offset + min(PIECE, size - start)]


Message = dict[str, Any]


async def asgi(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body = Received()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body.add(message["body"])
        more = message["more_body"]
    port = scope["client"][1]
    given = answer(scope["path"], dict(parse_qsl(scope["query_string"].decode())), port, body)
    fields = [(name.encode(), value.encode()) for name, value in [*given.fields, ("x-client-port", str(port))]]
    await send(
        {
            "type": "http.response.start",
            "status": given.status,
            "headers": fields,
            "trailers": bool(given.trailers),
        }
    )
    for piece in given.body:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})
    if given.trailers:
        trailers = [(name.encode(), value.encode()) for name, value in given.trailers]
        await send({"type": "http.response.trailers", "headers": trailers})


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = Received()
    while piece := environ["wsgi.input"].read(PIECE):
        body.add(piece)
    port = int(environ["REMOTE_PORT"])
    given = answer(environ["PATH_INFO"], dict(parse_qsl(environ["QUERY_STRING"])), port, body)
    start_response(f"{given.status} Status", [*given.fields, ("x-client-port", str(port))])
    return given.body
