"""What is asked of every server: plain data, one row per scenario and interface, and who takes part in it."""

from dataclasses import dataclass, field, replace
from typing import Literal

from benchmarks import applications

Interface = Literal["asgi", "wsgi"]

# How a scenario is measured: by load on a running server, or by one of the modules named so.
Kind = Literal["load", "instructions", "idle", "cold-start", "restart"]

# Seconds of load that a server gets at a turn. Shorter turns of two servers lie closer together, and as much time makes
# more of them: what else the machine does weighs half as much. But what is under way at the ends of a slice has to be
# little beside the rest, so that many requests at a time, or dear ones, need the full length.
FULL_SLICE = 0.1
_SHORT_SLICE = 0.03

# What servers are ranked by.
_METRICS: dict[Kind, str] = {
    "load": "cpu_us",
    "instructions": "instructions",
    "idle": "kib",
    "cold-start": "start_ms",
    "restart": "p99_ms",
}


@dataclass(frozen=True, slots=True)
class Request:
    """The request that the load generator repeats, and the content that every answer to it must have."""

    expected: bytes = applications.PLAINTEXT
    method: str = "GET"
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Service:
    """What a server is started as. Scenarios of one service share its process within a round.

    On `every_core` it has as many workers as there are cores, and is held to none of them.
    """

    interface: Interface
    application: str
    tls: bool = False
    http2: bool = False  # alone on clear text; offered beside HTTP/1.1 under TLS
    threads: int = 4
    access_log: Literal["", "file", "pipe"] = ""  # where it goes
    every_core: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of work through one interface, and the peers that can do it (`ferrule` always can).

    `connections` carry one request at a time over HTTP/1.1, and `streams` at a time over HTTP/2.
    """

    name: str
    service: Service
    title: str
    peers: tuple[str, ...]
    request: Request = Request()
    connections: int = 64
    streams: int = 0
    warm_up: int = 2000  # requests
    stretch: float = 1.0  # of the seconds of load: longer where connecting is dear, or few requests are answered
    kind: Kind = "load"
    sweep: bool = False  # one point of a curve, measured in fewer rounds
    # Measured in slices that servers take in turn. Otherwise in one piece, as is right where a pause costs more than it
    # gives: answers that take long are cut in two by it, and waiting applications have to fill up again.
    interleaved: bool = True
    pieces: int = 1  # of load without a pause in a round; servers take turns with them
    slice_seconds: float = FULL_SLICE
    share_of_slices: float = 1.0  # more where ratios are quoted most, fewer at the points of a curve

    @property
    def interface(self) -> Interface:
        return self.service.interface

    @property
    def in_flight(self) -> int:
        """Requests that are under way at once."""
        return self.connections * max(1, self.streams)

    @property
    def metric(self) -> str:
        """CPU time is what a request costs; on every core, where the generator needs some too, throughput is asked."""
        return "rate" if self.service.every_core else _METRICS[self.kind]

    @property
    def heading(self) -> str:
        return f"{self.title}, {self.interface.upper()}"


# What a browser sends with a navigation: with Host, nine fields of about 500 bytes.
_BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.7,de;q=0.3",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "https://www.example.com/catalogue/section/page-12.html",
    "Cookie": "session=Zm9vYmFyYmF6cXV4; theme=dark; consent=yes",
    "Upgrade-Insecure-Requests": "1",
    "Cache-Control": "max-age=0",
}
_HEADERS = Request(headers=_BROWSER)

# Files of these sizes are made for every run, under these names (see `files.py`).
FILES = {
    "files/10k": applications.BODY_10K,
    "files/50k": applications.BODY_10K * 5,
    "files/10m": applications.BODY_10K * 1024,
}
_FILE_10K, _FILE_50K, _FILE_10M = (Request(path=f"/{name}", expected=content) for name, content in FILES.items())


def _echo(size: int) -> Request:
    body = (applications.BODY_10K * (size // len(applications.BODY_10K) + 1))[:size]
    return Request(path="/echo", method="POST", body=body, expected=body)


def _json(text: str) -> Request:
    return Request(path="/json", expected=text.encode())


_FASTAPI = _json('{"message":"Hello, world!","items":[1,2,3],"ok":true}')
_FLASK = _json('{"items":[1,2,3],"message":"Hello, world!","ok":true}\n')
_DJANGO = _json('{"message": "Hello, world!", "items": [1, 2, 3], "ok": true}')

_PLAINTEXT: dict[Interface, Service] = {
    "asgi": Service("asgi", "benchmarks.applications:plaintext_asgi"),
    "wsgi": Service("wsgi", "benchmarks.applications:plaintext_wsgi"),
}
_TLS: dict[Interface, Service] = {
    interface: Service(interface, service.application, tls=True, http2=True)
    for interface, service in _PLAINTEXT.items()
}


def _service(interface: Interface, name: str, *, threads: int = 4) -> Service:
    return Service(interface, f"benchmarks.applications:{name}_{interface}", threads=threads)


def _logged(interface: Interface, where: Literal["file", "pipe"]) -> Service:
    return Service(interface, _PLAINTEXT[interface].application, access_log=where)


def _every_core(interface: Interface) -> Service:
    return Service(interface, _PLAINTEXT[interface].application, every_core=True)


def _clear_http2(interface: Interface) -> Service:
    return Service(interface, _PLAINTEXT[interface].application, http2=True)


# nginx serves no application: it takes part where a constant or a cached file is the same work, as the floor. The
# slowest peers and those with few features take part where they say something that plaintext does not.
_ASGI = ("granian", "uvicorn", "gunicorn", "hypercorn", "fastpysgi", "socketify", "nginx")
_WSGI = ("granian", "gunicorn", "fastpysgi", "socketify", "nginx")
# fastpysgi 0.6 answers an ASGI application that sends its content in parts with other octets.
_ECHO: dict[Interface, tuple[str, ...]] = {
    "asgi": ("granian", "uvicorn", "gunicorn", "bare-c"),
    "wsgi": ("granian", "gunicorn", "fastpysgi", "bare-c"),
}


def _headline(
    name: str, service: Service, title: str, peers: tuple[str, ...], *, connections: int = 64, streams: int = 0
) -> Scenario:
    """What ratios are quoted of most: twice as much time in slices, in a quick run too."""
    return Scenario(
        name,
        service,
        title,
        peers,
        connections=connections,
        streams=streams,
        slice_seconds=FULL_SLICE if streams else _SHORT_SLICE,
        share_of_slices=2.0,
    )


def _short(name: str, service: Service, title: str, peers: tuple[str, ...], request: Request) -> Scenario:
    """Cheap requests, few at a time: many short slices."""
    return Scenario(name, service, title, peers, request, slice_seconds=_SHORT_SLICE)


def _sweep(name: str, title: str, service: Service, connections: int, *, streams: int = 0) -> Scenario:
    """One point of a curve over the number of connections."""
    return Scenario(
        name,
        service,
        f"{title}, {connections} connection{'s' * (connections > 1)}",
        ("granian", "uvicorn", "nginx") if name == "concurrency" else ("granian", "nginx"),
        connections=connections,
        streams=streams,
        warm_up=500,
        sweep=True,
        share_of_slices=0.6,
    )


def _file(interface: Interface, peers: tuple[str, ...]) -> tuple[Scenario, Scenario]:
    """By `http.response.pathsend` and `wsgi.file_wrapper` where a server has them."""
    service = _service(interface, "file")
    return (
        Scenario("file-50k", service, "File of 50 KB", peers, _FILE_50K),
        Scenario(
            "file-10m",
            service,
            "File of 10 MB",
            peers,
            _FILE_10M,
            connections=8,
            warm_up=16,
            interleaved=False,
            pieces=3,
            stretch=2.0,  # a request takes 70 ms
        ),
    )


SCENARIOS: tuple[Scenario, ...] = (
    _headline("plaintext", _PLAINTEXT["asgi"], "Plaintext", _ASGI),
    _short("headers", _PLAINTEXT["asgi"], "Nine request fields, unread", ("granian", "uvicorn", "nginx"), _HEADERS),
    _headline("plaintext", _PLAINTEXT["wsgi"], "Plaintext", _WSGI),
    _short("headers", _PLAINTEXT["wsgi"], "Nine request fields", ("granian", "fastpysgi", "nginx"), _HEADERS),
    _short(
        "headers-read",
        _service("asgi", "read_headers"),
        "Nine request fields, read",
        ("granian", "uvicorn"),
        _HEADERS,
    ),
    _short("body-10k", _service("asgi", "body_10k"), "10 KB response", ("granian", "uvicorn", "nginx"), _FILE_10K),
    _short("body-10k", _service("wsgi", "body_10k"), "10 KB response", ("granian", "fastpysgi", "nginx"), _FILE_10K),
    Scenario(
        "json-fastapi",
        Service("asgi", "benchmarks.frameworks.fastapi_json:app"),
        "JSON by FastAPI",
        ("granian", "uvicorn"),
        _FASTAPI,
    ),
    Scenario(
        "json-flask",
        Service("wsgi", "benchmarks.frameworks.flask_json:app"),
        "JSON by Flask",
        ("granian", "gunicorn"),
        _FLASK,
    ),
    Scenario(
        "json-django",
        Service("wsgi", "benchmarks.frameworks.django_json:app"),
        "JSON by Django",
        ("granian", "gunicorn"),
        _DJANGO,
    ),
    *(
        (Scenario if size > 10 * 1024 else _short)(
            f"echo-{size // 1024}k", _service(interface, "echo"), f"POST echo, {size // 1024} KB", peers, _echo(size)
        )
        for interface, peers in _ECHO.items()
        for size in (1024, 10 * 1024, 100 * 1024)
    ),
    *_file("asgi", ("granian", "uvicorn", "nginx")),
    *_file("wsgi", ("granian", "gunicorn", "nginx")),
    _headline("tls", _TLS["asgi"], "TLS, HTTP/1.1", ("granian", "uvicorn", "hypercorn", "nginx")),
    _headline("h2-tls", _TLS["asgi"], "TLS, HTTP/2", ("granian", "hypercorn", "nginx"), connections=16, streams=32),
    _headline("tls", _TLS["wsgi"], "TLS, HTTP/1.1", ("granian", "gunicorn", "nginx")),
    _headline("h2-tls", _TLS["wsgi"], "TLS, HTTP/2", ("granian", "nginx"), connections=16, streams=32),
    _headline(
        "h2c",
        _clear_http2("asgi"),
        "Clear text, HTTP/2",
        ("granian", "hypercorn", "nginx"),
        connections=16,
        streams=32,
    ),
    _headline("h2c", _clear_http2("wsgi"), "Clear text, HTTP/2", ("granian", "nginx"), connections=16, streams=32),
    Scenario(
        "sleep",
        _service("asgi", "sleep"),
        "Awaits 10 ms, 512 connections",
        ("granian", "uvicorn", "gunicorn"),
        connections=512,
        interleaved=False,
        pieces=3,
    ),
    # Four threads that sleep 10 ms serve at most 400 requests a second: few, so they are counted for long.
    Scenario(
        "sleep",
        _service("wsgi", "sleep"),
        "Sleeps 10 ms, 4 threads",
        ("granian", "gunicorn"),
        interleaved=False,
        stretch=6.0,
    ),
    Scenario("cpu", _service("asgi", "cpu"), "75 µs of CPU", ("granian", "uvicorn")),
    Scenario("cpu", _service("wsgi", "cpu"), "75 µs of CPU", ("granian", "gunicorn")),
    Scenario("access-log", _logged("asgi", "file"), "Access log to a file", ("granian", "uvicorn", "nginx")),
    Scenario("access-log", _logged("wsgi", "file"), "Access log to a file", ("granian", "gunicorn", "nginx")),
    Scenario("access-log-pipe", _logged("asgi", "pipe"), "Access log to a pipe", ("granian", "uvicorn")),
    Scenario("access-log-pipe", _logged("wsgi", "pipe"), "Access log to a pipe", ("granian", "gunicorn")),
    # The line is written by the same code for both interfaces; a WSGI worker's I/O thread asks the kernel for the vDSO,
    # which valgrind hides, and dies of it.
    Scenario(
        "access-log-line",
        _logged("asgi", "file"),
        "A line of the access log, counted in instructions",
        (),
        connections=16,
        kind="instructions",
    ),
    Scenario(
        "every-core",
        _every_core("asgi"),
        "Plaintext on every core",
        ("granian", "uvicorn", "gunicorn", "nginx"),
        interleaved=False,
        stretch=2.0,
    ),
    Scenario(
        "every-core",
        _every_core("wsgi"),
        "Plaintext on every core",
        ("granian", "gunicorn", "nginx"),
        interleaved=False,
        stretch=2.0,
    ),
    *(_sweep("concurrency", "Plaintext", _PLAINTEXT["asgi"], count) for count in (1, 4, 16, 64, 256, 512)),
    *(_sweep("concurrency-tls", "TLS, HTTP/1.1", _TLS["asgi"], count) for count in (1, 64, 512)),
    *(_sweep("concurrency-h2", "TLS, HTTP/2", _TLS["asgi"], count, streams=1) for count in (1, 64, 512)),
    Scenario(
        "idle",
        _PLAINTEXT["asgi"],
        "10,000 idle connections",
        ("granian", "uvicorn", "gunicorn", "hypercorn", "nginx"),
        connections=10_000,
        kind="idle",
    ),
    Scenario(
        "idle",
        _PLAINTEXT["wsgi"],
        "10,000 idle connections",
        ("granian", "gunicorn", "fastpysgi"),
        connections=10_000,
        kind="idle",
    ),
    Scenario("cold-start", _PLAINTEXT["asgi"], "Cold start", _ASGI, kind="cold-start"),
    Scenario("cold-start", _PLAINTEXT["wsgi"], "Cold start", _WSGI, kind="cold-start"),
    Scenario("restart", _PLAINTEXT["asgi"], "Rolling restart", ("granian", "gunicorn"), connections=16, kind="restart"),
    Scenario("restart", _PLAINTEXT["wsgi"], "Rolling restart", ("granian", "gunicorn"), connections=16, kind="restart"),
)

NAMES = tuple(dict.fromkeys(scenario.name for scenario in SCENARIOS))

_RATIOS = ("granian", "nginx")
# By scenario and interface. Who takes turns has a share in what a turn costs, as everybody's caches have to be filled
# again, and granian's most: what is quoted most has the peers of a whole run.
_QUICK: dict[tuple[str, Interface], tuple[str, ...]] = {
    ("plaintext", "asgi"): _ASGI,
    ("plaintext", "wsgi"): _WSGI,
    ("tls", "asgi"): _RATIOS,
    ("tls", "wsgi"): _RATIOS,
    ("h2-tls", "asgi"): _RATIOS,
    ("h2c", "asgi"): _RATIOS,
    ("cold-start", "asgi"): ("granian", "fastpysgi"),
    ("cold-start", "wsgi"): ("granian", "fastpysgi"),
}

# What `--quick` measures: the ratios that a change is judged by first, and the peers that they are taken with.
QUICK = tuple(
    replace(scenario, peers=_QUICK[scenario.name, scenario.interface])
    for scenario in SCENARIOS
    if (scenario.name, scenario.interface) in _QUICK
)
