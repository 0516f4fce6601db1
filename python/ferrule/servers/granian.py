"""Granian: its own workers and its own listening socket, since every one of its workers binds for itself."""

from __future__ import annotations

import asyncio
import copy
import importlib
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from enum import Enum
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from ..arbiter.listeners import clear_stale_file, reserve
from ..config import Bind, Settings
from ..config.binds import FD, UNIX, format_tcp
from ..errors import EXIT_OK, ConfigError
from . import hosted
from .facts import ServerConfig
from .honours import Outcome, Rule, honoured, mapped, not_honoured, refused
from .options import checked, parameters
from .peer import PeerServer, Serving, seconds

_OWNED = (
    *("target", "address", "port", "uds", "uds_permissions", "interface", "workers", "factory", "working_dir"),
    *("env_files", "pid_file", "process_name", "reload", "reload_filter", "http1_settings", "http2_settings"),
)
SHORTEST_LIFETIME = 60  # s, of a worker: Granian takes no less


class GranianServer(PeerServer):
    """Always has worker processes, also when there is one."""

    name = "granian"
    http_protocols = "auto"
    rules: ClassVar[Mapping[str, Rule]] = {
        "root_path": honoured(),
        "lifespan": honoured("`on`: it does as with `auto`", values=("auto", "off")),
        "loop": honoured(),
        "bind": mapped("one address, which it binds itself; no descriptors"),
        "backlog": mapped("at least 128"),
        "threads": honoured("`blocking_threads`, for WSGI"),
        "graceful_timeout": mapped("`workers_kill_timeout`, in whole seconds"),
        "header_timeout": honoured(),
        "connections": mapped("`backpressure`"),
        "limit_concurrency": refused("it has no such limit; `--connections` bounds what it takes on"),
        "limit_request_head": mapped("`http1_settings.max_buffer_size`, at least 8 KiB"),
        "limit_request_body": refused("it has no limit on request bodies"),
        "max_worker_memory": honoured(),
        "worker_lifetime": mapped("in whole seconds, at least 60"),
        "http": honoured(),
        "h2_max_streams": honoured(),
        "h2_window": honoured(),
        "h2_connection_window": honoured(),
        "h2_max_frame_size": honoured(),
        "h2_max_header_list": honoured(),
        "server_header": not_honoured("always sent", off=False),
        "date_header": not_honoured("always sent", off=False),
        "certfile": honoured(),
        "keyfile": honoured(),
        "keyfile_password": honoured(),
        "ca_certs": honoured(),
        "client_cert": honoured("it asks all clients or none", values=("none", "required"), otherwise=Outcome.REFUSED),
        "ciphers": refused("its ciphers cannot be chosen"),
        "tls_min_version": honoured(),
        "tls": refused("it has one certificate"),
        "ws_per_message_deflate": not_honoured("never"),
        "proxy_headers": mapped("`X-Forwarded-For` and `-Proto`; off unless it is given"),
        "forwarded_allow_ips": honoured(),
        "forwarded": honoured("it reads `X-Forwarded-*` only", values=("x-forwarded",), otherwise=Outcome.REFUSED),
        "trust_forwarded": refused("it takes all that a trusted proxy sends"),
        "secure_scheme_header": refused("it reads `X-Forwarded-Proto` only"),
        "proxy_protocol": refused("it would take the protocol's header for a request"),
        "static": honoured(),
        "access_log": honoured("in its own form"),
        "access_log_file": mapped("not opened again when it is rotated"),
        "log_level": honoured(),
        "log_file": mapped("not opened again when it is rotated"),
        "metrics_bind": mapped("its own metrics"),
        "user": mapped("before it binds, so that low ports are out of reach"),
        "group": mapped("before it binds"),
        "reload": mapped("needs `watchfiles`"),
        "reload_dir": honoured(),
        "granian": honoured(),
    }

    def __init__(self) -> None:
        self._granian = importlib.import_module("granian")
        self._server_module = importlib.import_module("granian.server")
        self._constants = importlib.import_module("granian.constants")
        self._http = importlib.import_module("granian.http")
        self._log = importlib.import_module("granian.log")
        self.version = version("granian")
        super().__init__()
        self._stopping: Callable[[], None] | None = None

    def check(self, config: ServerConfig) -> None:
        super().check(config)
        settings, given = config.settings, config.given
        if len(settings.bind) != 1 or settings.bind[0].family == FD:
            raise ConfigError(f"{given.get('bind', 'bind')}: granian listens on one address, which it binds itself")
        if settings.client_cert == "required" and settings.ca_certs is None:
            raise ConfigError(f"{given['client_cert']}: without ca-certs granian would let everybody in")
        if 0 < settings.worker_lifetime < SHORTEST_LIFETIME:
            raise ConfigError(f"{given['worker_lifetime']}: expected at least {SHORTEST_LIFETIME} s, for granian")
        self._options(config)

    def loads_application(self, config: ServerConfig, workers: int) -> bool:
        return False

    def run(self, serving: Serving) -> int:
        serving.identity.take_on()
        with _reserved(serving.settings.bind[0]) as bind:
            server = self._granian.Granian(**self._arguments(serving, bind))
            self._stopping = server.signal_handler_interrupt
            serving.config.log.info("Listening", url=_url(bind, serving.settings))
            application = serving.application
            load = hosted.from_environment if application is None else lambda: application.call
            loader = partial(behind_proxies, load, serving.interface, trusted_proxies(serving))
            server.serve(target_loader=loader, wrap_loader=False)
        return EXIT_OK

    async def run_async(self, serving: Serving) -> None:
        if serving.interface == "wsgi":
            raise ConfigError("granian serves WSGI in processes of its own only")
        assert serving.application is not None  # the caller's business
        embedded = importlib.import_module("granian.server.embed").Server
        known = parameters(embedded.__init__)
        call = behind_proxies(lambda: serving.application.call, serving.interface, trusted_proxies(serving))  # type: ignore[union-attr]
        with _reserved(serving.settings.bind[0]) as bind:
            arguments = {name: value for name, value in self._arguments(serving, bind).items() if name in known}
            server = embedded(**arguments | {"target": call})
            loop = asyncio.get_running_loop()
            self._stopping = lambda: loop.call_soon_threadsafe(server.stop)  # type: ignore[assignment]
            serving.config.log.info("Listening", url=_url(bind, serving.settings))
            await server.serve()

    def shutdown(self) -> None:
        if self._stopping is not None:
            self._stopping()

    def _arguments(self, serving: Serving, bind: Bind) -> dict[str, Any]:
        settings, constants = serving.settings, self._constants
        options = self._options(serving.config)
        interface = "wsgi" if serving.interface == "wsgi" else "asginl" if settings.lifespan == "off" else "asgi"
        arguments: dict[str, Any] = {
            "target": settings.app or "",
            "interface": constants.Interfaces(interface),
            "workers": serving.workers,
            "loop": self._loop(serving),
            "log_access": settings.access_log,
            "log_level": self._log.LogLevels(settings.log_level),
            "log_dictconfig": self._logging(settings),
            "http1_settings": self._protocol(serving, "1", options),
            "http2_settings": self._protocol(serving, "2", options),
            "reload": settings.reload,
        }
        if bind.family == UNIX:
            arguments |= {"uds": Path(bind.path), "uds_permissions": bind.mode}
        else:
            arguments |= {"address": bind.host, "port": bind.port}
        shaped: dict[str, tuple[str, Callable[[Any], Any]]] = {
            "root_path": ("url_path_prefix", str),
            "backlog": ("backlog", int),
            "graceful_timeout": ("workers_kill_timeout", lambda value: seconds(value) or None),
            "connections": ("backpressure", int),
            "max_worker_memory": ("workers_max_rss", lambda value: -(-value >> 20) or None),
            "worker_lifetime": ("workers_lifetime", lambda value: seconds(value) or None),
            "http": ("http", constants.HTTPModes),
            "certfile": ("ssl_cert", Path),
            "keyfile_password": ("ssl_key_password", str),
            "ca_certs": ("ssl_ca", Path),
            "client_cert": ("ssl_client_verify", lambda value: value == "required"),
            "tls_min_version": ("ssl_protocol_min", lambda value: constants.SSLProtocols(f"tls{value}")),
            "reload_dir": ("reload_paths", lambda value: [Path(each) for each in value]),
        }
        for name, (peer, shape) in shaped.items():
            if serving.passes_on(name):
                arguments[peer] = shape(getattr(settings, name))
        if "threads" in serving.config.given and serving.interface == "wsgi":
            arguments["blocking_threads"] = settings.threads
        if settings.certfile is not None:
            # Without a key beside the certificate it would serve in clear text; the key may be in the same file.
            arguments["ssl_key"] = Path(settings.keyfile or settings.certfile)
        if settings.static:
            pairs = [each.partition("=") for each in settings.static]
            arguments["static_path_route"] = [prefix for prefix, _, _ in pairs]
            arguments["static_path_mount"] = [Path(directory) for _, _, directory in pairs]
        if settings.metrics_bind is not None:
            metrics: Any = settings.metrics_bind
            arguments |= {"metrics_enabled": True, "metrics_address": metrics.host, "metrics_port": metrics.port}
        return arguments | {name: value for name, value in options.items() if not name.startswith(("http1_", "http2_"))}

    def _protocol(self, serving: Serving, number: str, options: dict[str, Any]) -> Any:
        """Its settings of one HTTP version; None leaves them all alone."""
        shaped: dict[str, dict[str, tuple[str, Callable[[Any], Any]]]] = {
            "1": {
                "header_timeout": ("header_read_timeout", lambda value: round(value * 1000) or 86_400_000),
                "limit_request_head": ("max_buffer_size", lambda value: max(value, 8192) if value else 1 << 30),
            },
            "2": {
                "h2_max_streams": ("max_concurrent_streams", int),
                "h2_window": ("initial_stream_window_size", int),
                "h2_connection_window": ("initial_connection_window_size", int),
                "h2_max_frame_size": ("max_frame_size", int),
                "h2_max_header_list": ("max_headers_size", int),
            },
        }
        chosen = {
            peer: shape(getattr(serving.settings, name))
            for name, (peer, shape) in shaped[number].items()
            if serving.passes_on(name)
        }
        prefix = f"http{number}_"
        chosen |= {name.removeprefix(prefix): value for name, value in options.items() if name.startswith(prefix)}
        return getattr(self._http, f"HTTP{number}Settings")(**chosen) if chosen else None

    def _loop(self, serving: Serving) -> str:
        port = serving.loop.port
        if port.name in ("asyncio", "uvloop", "winloop"):
            return port.name
        # A name of our own, so that a package can call its loop what it likes.
        if multiprocessing.get_start_method() != "fork":
            where = serving.config.given.get("loop", "loop")
            raise ConfigError(f"{where}: granian's workers cannot be given {port.name} where processes are not forked")

        def build() -> asyncio.AbstractEventLoop:
            loop = port.new_event_loop()
            asyncio.set_event_loop(loop)  # as its own builders do
            return loop

        name = f"ferrule-{port.name}"
        self._granian.loops.register(name)(build)
        return name

    def _logging(self, settings: Settings) -> dict[str, Any]:
        """As everywhere: the access log to standard output, the rest to standard error, unless files are given."""
        handlers = copy.deepcopy(self._log.LOGGING_CONFIG["handlers"])
        handlers["console"]["stream"] = "ext://sys.stderr"
        for handler, path in (("console", settings.log_file), ("access", settings.access_log_file)):
            if path is not None:
                handlers[handler].pop("stream")
                handlers[handler] |= {"class": "logging.FileHandler", "filename": path}
        return {"handlers": handlers}

    def _options(self, config: ServerConfig) -> dict[str, Any]:
        known = parameters(self._granian.Granian.__init__)
        for number in "12":
            kind = getattr(self._http, f"HTTP{number}Settings")
            known |= {
                f"http{number}_{field.name}": getattr(field.type, "__name__", str(field.type)) for field in fields(kind)
            }
        enums = {name: each for name, each in vars(self._constants).items() if _is_enum(each)}
        where = config.given.get("granian", "granian")
        return checked("granian", config.options("granian"), known, where=where, owned=_OWNED, enums=enums)


def behind_proxies(load: Callable[[], Any], interface: str, trusted: list[str] | None) -> Any:
    """The application, seeing the clients of trusted proxies. Granian leaves that to a wrapper."""
    call = load()
    if trusted is None:
        return call
    wrap = getattr(importlib.import_module("granian.utils.proxies"), f"wrap_{interface}_with_proxy_headers")
    return wrap(call, trusted_hosts=trusted)


def trusted_proxies(serving: Serving) -> list[str] | None:
    """Whose `X-Forwarded-*` fields are believed; None leaves the application alone."""
    settings = serving.settings
    wanted = settings.proxy_headers and any(
        serving.passes_on(name) for name in ("proxy_headers", "forwarded_allow_ips")
    )
    return list(settings.forwarded_allow_ips) if wanted else None


@contextmanager
def _reserved(bind: Bind) -> Iterator[Bind]:
    """The address to give to Granian: with a real port, which nobody else takes before its workers have it."""
    if bind.family == UNIX:
        clear_stale_file(bind)
        yield bind
        return
    with reserve(bind) as held:
        host, port = held.getsockname()[:2]
        yield bind._replace(host=host, port=port)


def _url(bind: Bind, settings: Settings) -> str:
    if bind.family == UNIX:
        return f"unix:{bind.path}"
    return f"{'https' if settings.certfile else 'http'}://{format_tcp(bind.host, bind.port)}"


def _is_enum(each: object) -> bool:
    return isinstance(each, type) and issubclass(each, Enum)
