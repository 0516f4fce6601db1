"""The one list of settings. Flags, environment variables, file keys, `--help`, `server check` and docs/settings.md
all come from the rows of `Settings`.

A row says what a setting is; where values come from is `load.py`, what values look like is `kinds.py`.
"""

from __future__ import annotations

from ..records import Record
from . import kinds
from .binds import EXPECTS as BIND_EXPECTS
from .binds import TCP as TCP_BIND
from .binds import Bind, parse_bind
from .tls import CIPHERS_EXPECT, TlsTable, parse_ciphers, parse_tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MIB = 1 << 20
LATER = "*"  # in `Row.later`: the whole setting belongs to a later version

APPLICATION = "Application"
LISTEN = "Listening"
PROCESSES = "Processes"
TIMEOUTS = "Time-outs"
LIMITS = "Limits"
RECYCLING = "Recycling"
HTTP = "HTTP"
HTTP2 = "HTTP/2"
TLS = "TLS"
WEBSOCKET = "WebSocket"
PROXIES = "Proxies"
FILES = "Files"
LOGS = "Logs"
OPERATION = "Operation"
DEVELOPMENT = "Development"
GROUPS = (
    APPLICATION,
    LISTEN,
    PROCESSES,
    TIMEOUTS,
    LIMITS,
    RECYCLING,
    HTTP,
    HTTP2,
    TLS,
    WEBSOCKET,
    PROXIES,
    FILES,
    LOGS,
    OPERATION,
    DEVELOPMENT,
)

_LOCAL = (Bind("127.0.0.1:8000", TCP_BIND, host="127.0.0.1", port=8000),)
_BIND = kinds.Kind(BIND_EXPECTS, "ADDRESS", parse_bind)


class Row(Record):
    """What is known of one setting besides its name and default."""

    kind: kinds.Kind
    group: str
    help: str
    short: str = ""  # one-letter flag
    flags: tuple[str, ...] = ()  # other spellings of the flag
    keys: tuple[str, ...] = ()  # other spellings in configuration files
    env: tuple[str, ...] = ()  # variables of the ecosystem, besides FERRULE_<NAME>
    later: tuple[str, ...] = ()  # values that this version does not have; LATER for all but "off"
    file_only: bool = False  # tables, which no flag could hold
    secret: bool = False  # its value is not shown


def row(default: Any, kind: kinds.Kind, group: str, help: str, **more: Any) -> Any:
    """A field of `Settings` with its `Row`."""
    return _Field(default, Row(kind, group, help, **more))


class _Field:
    """Puts a row into the table, and leaves its default in its place."""

    def __init__(self, default: Any, row: Row) -> None:
        self._default = default
        self._row = row

    def __set_name__(self, owner: type, name: str) -> None:
        _ROWS[name] = self._row
        _DEFAULTS[name] = self._default
        setattr(owner, name, self._default)


_ROWS: dict[str, Row] = {}
_DEFAULTS: dict[str, Any] = {}


class Settings:
    """Effective settings of a server. Times in seconds, sizes in bytes; 0 switches a limit or time-out off."""

    def __init__(self, **values: Any) -> None:
        """Fields that are not in `values` keep their default, which the class itself holds."""
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings do not change: {name}")

    def replace(self, **values: Any) -> Settings:
        """The same settings but for `values`."""
        return Settings(**{**self.__dict__, **values})

    # fmt: off
    app: str | None = row(None, kinds.text("MODULE:ATTR", "MODULE:ATTR"), APPLICATION,
        "what to serve; without it `app` or `application` of main.py, app.py, asgi.py, wsgi.py or application.py",
        keys=("wsgi_app",))
    factory: bool = row(False, kinds.boolean(), APPLICATION,
        "ATTR is a function that makes the application")
    interface: str = row("auto", kinds.choice("auto", "asgi", "wsgi", also={"asgi3": "asgi"}), APPLICATION,
        "what the application speaks; auto looks at it")
    app_dir: str | None = row(None, kinds.path("DIR"), APPLICATION,
        "work in this directory and import the application from it", flags=("--chdir",), keys=("chdir",))
    env_file: str | None = row(None, kinds.path(), APPLICATION,
        "file of NAME=VALUE lines, taken where the environment does not say otherwise")
    root_path: str = row("", kinds.text("a path such as /api, or nothing", "PATH", r"(/[\x21-\x7e]*)?"), APPLICATION,
        "prefix under which a proxy mounts the application")
    lifespan: str = row("auto", kinds.choice("auto", "on", "off"), APPLICATION,
        "ASGI lifespan; auto goes on without it when the application does not know it")
    preload: bool = row(False, kinds.boolean(), APPLICATION,
        "import the application once, before forking: shares memory, but HUP does not load new code",
        keys=("preload_app",))
    loop: str = row("auto", kinds.named("auto", "uvloop", "asyncio", "winloop"), APPLICATION,
        "event loop of ASGI workers; auto is uvloop where it can be imported (on Windows winloop), else asyncio")
    server: str = row("auto", kinds.named("auto", "native", "granian", "uvicorn", "hypercorn"), APPLICATION,
        "server that runs the application; auto is the first of these that can be imported, which is native")

    bind: tuple[Bind, ...] = row(_LOCAL, kinds.many(_BIND), LISTEN,
        "address to listen on: HOST:PORT, [V6]:PORT, :PORT, unix:/PATH or fd://N, behind it ?tls=on or off, ?http=1, "
        "2 or auto, for unix ?mode=660, joined by &; may be repeated. Port 0 picks one and logs it", short="-b")
    backlog: int = row(2048, kinds.integer(1, 65535), LISTEN, "connections that may wait to be accepted")

    workers: int = row(0, kinds.integer(0, 4096), PROCESSES,
        "processes; 0 is one per usable CPU (cgroup quota and affinity count), and 1 under --reload",
        short="-w", env=("WEB_CONCURRENCY",))
    threads: int = row(4, kinds.integer(1, 4096), PROCESSES,
        "application threads per worker (WSGI); with 1 all application code runs on one thread")

    timeout: float = row(30.0, kinds.seconds(), TIMEOUTS,
        "replace a worker whose loop, or whose every thread, has been stuck for so long",
        short="-t", flags=("--timeout-worker-healthcheck",))
    request_timeout: float = row(0.0, kinds.seconds(), TIMEOUTS,
        "answer 504 to a request that takes longer")
    graceful_timeout: float = row(30.0, kinds.seconds(), TIMEOUTS,
        "time to finish what is in flight when stopping", flags=("--timeout-graceful-shutdown",))
    drain_delay: float = row(0.0, kinds.seconds(), TIMEOUTS,
        "after TERM, answer 503 on --ready-path for so long before accepting ends")
    recycle_grace: float = row(300.0, kinds.seconds(), TIMEOUTS,
        "how long streams and WebSockets of a recycled worker may go on")
    worker_boot_timeout: float = row(60.0, kinds.seconds(), TIMEOUTS, "time for a new worker to become ready")
    keep_alive: float = row(75.0, kinds.seconds(), TIMEOUTS,
        "idle time of a keep-alive connection", flags=("--timeout-keep-alive",), keys=("keepalive",))
    header_timeout: float = row(10.0, kinds.seconds(), TIMEOUTS, "time for a complete request head")
    write_timeout: float = row(30.0, kinds.seconds(), TIMEOUTS,
        "time without progress while a response is being written")
    body_min_rate: int = row(240, kinds.size(), TIMEOUTS,
        "least bytes/s of a body being received or a response being read, after 5 s")

    connections: int = row(1000, kinds.integer(1, 1_000_000), LIMITS,
        "connections per worker; above it a worker stops accepting",
        flags=("--worker-connections",), keys=("worker_connections",))
    limit_concurrency: int = row(0, kinds.integer(), LIMITS,
        "requests in flight per worker; above it 503 with Retry-After")
    limit_request_line: int = row(8190, kinds.size(0, 1 << 20), LIMITS, "request line, 414 above it")
    limit_request_fields: int = row(100, kinds.integer(0, 32768), LIMITS, "header fields, 431 above it")
    limit_request_field_size: int = row(8190, kinds.size(0, 1 << 20), LIMITS, "one header field, 431 above it",
        flags=("--limit-request-field_size",))
    limit_request_head: int = row(65536, kinds.size(0, 16 << 20), LIMITS, "request line and fields, 431 above it")
    limit_request_body: int = row(0, kinds.size(), LIMITS, "request body, 413 above it")
    body_memory: int = row(5 * MIB // 2, kinds.size(), LIMITS,
        "a body up to this is buffered before a WSGI thread is taken; a larger one streams")
    body_memory_total: int = row(256 * MIB, kinds.size(), LIMITS,
        "buffered body bytes per worker; above it bodies stream")

    max_requests: int = row(1000, kinds.integer(), RECYCLING, "replace a worker after so many requests",
        flags=("--limit-max-requests",))
    max_requests_jitter: int = row(100, kinds.integer(), RECYCLING,
        "plus or minus up to so many, so that workers do not go together", flags=("--limit-max-requests-jitter",))
    min_worker_lifetime: float = row(30.0, kinds.seconds(), RECYCLING, "no recycling before this age")
    max_worker_memory: int = row(0, kinds.size(default_unit="m"), RECYCLING,
        "replace a worker whose resident memory is above this (a bare number is MiB)")
    worker_lifetime: float = row(0.0, kinds.seconds(), RECYCLING, "replace a worker at this age")

    http: str = row("auto", kinds.choice("auto", "1", "2", also={"h11": "1", "httptools": "1"}), HTTP,
        "protocol; auto is what client and listener agree on")
    cancel_on_disconnect: bool = row(False, kinds.boolean(), HTTP,
        "cancel the ASGI task when its client goes away")
    server_header: bool = row(True, kinds.boolean(), HTTP, "send Server")
    date_header: bool = row(True, kinds.boolean(), HTTP, "send Date")
    header: tuple[tuple[str, str], ...] = row((), kinds.many(kinds.header(), "\n"), HTTP,
        "add this field to every response; may be repeated", keys=("headers",))

    h2_max_streams: int = row(128, kinds.integer(1, 65535), HTTP2, "concurrent streams of a connection")
    h2_window: int = row(1 * MIB, kinds.size(65535, 2**31 - 1), HTTP2, "flow window of a stream")
    h2_connection_window: int = row(2 * MIB, kinds.size(65535, 2**31 - 1), HTTP2, "flow window of a connection")
    h2_max_frame_size: int = row(16384, kinds.size(16384, 2**24 - 1), HTTP2, "largest frame accepted")
    h2_max_header_list: int = row(65536, kinds.size(1024, 16 << 20), HTTP2, "largest header list accepted")

    certfile: str | None = row(None, kinds.path(), TLS,
        "certificate, followed by its intermediates, PEM; listeners then speak TLS unless ?tls=off says otherwise",
        flags=("--ssl-certfile",))
    keyfile: str | None = row(None, kinds.path(), TLS, "its private key, PEM; default: in the same file",
        flags=("--ssl-keyfile",))
    keyfile_password: str | None = row(None, kinds.text(), TLS,
        "passphrase of the key; better given in the environment than as a flag",
        flags=("--ssl-keyfile-password",), secret=True)
    ca_certs: str | None = row(None, kinds.path(), TLS,
        "authorities that client certificates are checked against, PEM", flags=("--ssl-ca-certs",))
    client_cert: str = row("none", kinds.choice("none", "optional", "required",
        also={"0": "none", "1": "optional", "2": "required"}), TLS, "whether clients show a certificate",
        flags=("--cert-reqs", "--ssl-cert-reqs"))
    ciphers: tuple[str, ...] = row((), kinds.Kind(CIPHERS_EXPECT, "SUITE:...", parse_ciphers), TLS,
        "cipher suites to offer, by name, instead of all with forward secrecy and authenticated encryption",
        flags=("--ssl-ciphers",))
    tls_min_version: str = row("1.2", kinds.choice("1.2", "1.3", also={"tlsv1.2": "1.2", "tlsv1.3": "1.3"}), TLS,
        "oldest TLS accepted")
    tls_handshake_timeout: float = row(10.0, kinds.seconds(), TLS, "time for a handshake")
    tls: tuple[TlsTable, ...] = row((), kinds.Kind("[[tls]] tables", "TABLE", parse_tables), TLS,
        "certificates by host name (SNI): [[tls]] tables with names, certfile, keyfile and keyfile-password",
        file_only=True)

    ws_max_size: int = row(16 * MIB, kinds.size(), WEBSOCKET, "largest message", later=(LATER,))
    ws_max_queue: int = row(32, kinds.integer(), WEBSOCKET, "messages waiting for the application", later=(LATER,))
    ws_ping_interval: float = row(20.0, kinds.seconds(), WEBSOCKET, "time between pings", later=(LATER,))
    ws_ping_timeout: float = row(20.0, kinds.seconds(), WEBSOCKET, "time for the pong", later=(LATER,))
    ws_per_message_deflate: bool = row(True, kinds.boolean(), WEBSOCKET, "compress messages", later=(LATER,))

    proxy_headers: bool = row(True, kinds.boolean(), PROXIES, "take client address and scheme from trusted proxies",
        later=(LATER,))
    forwarded_allow_ips: tuple[str, ...] = row(("127.0.0.1", "::1", "unix"),
        kinds.many(kinds.text("an address, a CIDR block, unix or *", "CIDR", r"[0-9A-Fa-f:./]+|unix|\*")), PROXIES,
        "proxies that are trusted", env=("FORWARDED_ALLOW_IPS",), later=(LATER,))
    forwarded: str = row("x-forwarded", kinds.choice("x-forwarded", "rfc7239"), PROXIES,
        "which header fields the proxies send", later=("rfc7239",))
    trust_forwarded: tuple[str, ...] = row(("for", "proto", "host", "port"),
        kinds.many(kinds.choice("for", "proto", "host", "port")), PROXIES, "what is taken from them", later=(LATER,))
    secure_scheme_header: tuple[tuple[str, str], ...] = row((), kinds.many(kinds.header(), "\n"), PROXIES,
        "another field that means https; may be repeated", keys=("secure_scheme_headers",), later=(LATER,))
    proxy_protocol: bool = row(False, kinds.boolean(), PROXIES, "expect the PROXY protocol on every listener",
        later=(LATER,))

    static: tuple[str, ...] = row((), kinds.many(kinds.text("PREFIX=DIR", "PREFIX=DIR", r"/[^=]*=.+")), FILES,
        "serve the files of a directory; may be repeated", later=(LATER,))
    sendfile: bool = row(True, kinds.boolean(), FILES, "let the kernel send files")
    log_304: bool = row(False, kinds.boolean(), FILES, "304s of static files in the access log", later=(LATER,))

    access_log: bool = row(True, kinds.boolean(), LOGS, "one line per response")
    access_log_file: str | None = row(None, kinds.path(), LOGS, "where it goes; - or nothing is stdout",
        flags=("--access-logfile",), keys=("accesslog",))
    access_log_format: str = row("kv", kinds.choice("kv", "json", "combined"), LOGS, "form of the lines")
    access_log_fields: tuple[str, ...] | None = row(None, kinds.many(kinds.choice(
        "method", "url", "path", "query", "status", "duration_ms", "size", "ip", "user_agent", "referer", "protocol",
        "request_id", "worker", "queue_ms")), LOGS,
        "what the lines carry; default method, path, query, status, duration_ms, size, ip, user_agent, referer")
    log_level: str = row("info", kinds.choice("debug", "info", "warning", "error", "critical",
        also={"warn": "warning", "trace": "debug"}), LOGS, "least level of the server's own log", keys=("loglevel",))
    log_file: str | None = row(None, kinds.path(), LOGS, "where it goes; - or nothing is stderr",
        flags=("--error-logfile",), keys=("errorlog",))
    log_format: str = row("kv", kinds.choice("kv", "json"), LOGS, "form of its lines")
    log_config: str | None = row(None, kinds.path(), LOGS,
        "logging configuration (INI, JSON or YAML); both logs then go through Python logging", later=(LATER,))

    health_path: str | None = row(None, kinds.url_path(), OPERATION,
        "the server itself answers 200 here while it lives")
    ready_path: str | None = row(None, kinds.url_path(), OPERATION,
        "the server itself answers 200 here, or 503 while draining")
    metrics_bind: str | None = row(None, _BIND, OPERATION, "serve metrics and a status page here", later=(LATER,))
    control_socket: str | None = row(None, kinds.path(), OPERATION,
        "take a line on this unix socket (mode 0600): reload, stop, scale N, scale +N or scale -N")
    pid: str | None = row(None, kinds.path(), OPERATION, "write the process id to this file", short="-p",
        flags=("--pidfile",), keys=("pidfile",))
    user: str | None = row(None, kinds.name_or_id("user"), OPERATION, "run workers as this user", short="-u")
    group: str | None = row(None, kinds.name_or_id("group"), OPERATION, "run workers as this group", short="-g")
    umask: int | None = row(None, kinds.octal(), OPERATION, "mask of the permissions of new files", short="-m")
    daemon: bool = row(False, kinds.boolean(), OPERATION, "go to the background", short="-D")
    proc_name: str | None = row(None, kinds.text("a name", "NAME"), OPERATION,
        "name of the processes in ps: 15 bytes, or all of it where the package setproctitle is installed",
        short="-n", flags=("--name",))

    reload: bool = row(False, kinds.boolean(), DEVELOPMENT, "restart workers when code changes")
    reload_dir: tuple[str, ...] = row((), kinds.many(kinds.path("DIR")), DEVELOPMENT,
        "directory to watch; may be repeated; default the working directory")
    reload_include: tuple[str, ...] = row(("*.py",), kinds.many(kinds.text("a glob", "GLOB")), DEVELOPMENT,
        "files to watch; may be repeated")
    reload_exclude: tuple[str, ...] = row((".*", "*.py[cod]", "__pycache__"), kinds.many(kinds.text("a glob", "GLOB")),
        DEVELOPMENT, "files not to watch; may be repeated")
    debug: bool = row(False, kinds.boolean(), DEVELOPMENT, "error pages with traceback")

    granian: Any = row((), kinds.mapping(), APPLICATION, "passed to --server granian", file_only=True)
    uvicorn: Any = row((), kinds.mapping(), APPLICATION, "passed to --server uvicorn", file_only=True)
    hypercorn: Any = row((), kinds.mapping(), APPLICATION, "passed to --server hypercorn", file_only=True)
    # fmt: on


def rows() -> dict[str, Row]:
    """Every setting by its name, in the order of the table."""
    return _ROWS


def defaults() -> dict[str, Any]:
    return _DEFAULTS


def flag_of(name: str) -> str:
    """`limit_request_fields` -> `--limit-request-fields`."""
    return "--" + name.replace("_", "-")


def show(name: str, value: object) -> str:
    """A value as an operator would write it."""
    if rows()[name].secret and value is not None:
        return "(set)"
    if value is None or value == ():
        return "unset"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if rows()[name].kind.metavar == "SIZE" and isinstance(value, int):
        return _show_size(value)
    if name == "umask":
        return f"{value:03o}"
    if isinstance(value, tuple):
        return ", ".join(": ".join(item) if type(item) is tuple else str(item) for item in value)
    return str(value)


def _show_size(size: int) -> str:
    for unit, length in (("GiB", 1 << 30), ("MiB", MIB), ("KiB", 1 << 10)):
        if size >= length and size * 10 % length == 0:
            return f"{size / length:g}{unit}"
    return str(size)
