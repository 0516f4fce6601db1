"""Hypercorn: its own workers, on Ferrule's listening sockets."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import ssl
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, ClassVar

from ..errors import EXIT_OK, AppError, ConfigError
from . import hosted
from .facts import ServerConfig
from .honours import Outcome, Rule, honoured, mapped, not_honoured, refused
from .options import checked
from .peer import PeerServer, Serving

_OWNED = ("application_path", "bind", "workers", "worker_class", "use_reloader", "user", "group", "umask", "pid_path")
_ITS_LOOPS = ("asyncio", "uvloop")  # that its worker processes can be told to use


class HypercornServer(PeerServer):
    """One process serves by itself; several are started anew by Hypercorn, never forked."""

    name = "hypercorn"
    http_protocols = "auto"
    rules: ClassVar[Mapping[str, Rule]] = {
        "root_path": honoured(),
        "lifespan": honoured("the others: it does as with `auto`", values=("auto",)),
        "loop": mapped("with several workers only `asyncio` and `uvloop`"),
        "bind": honoured("Ferrule binds, and hands the sockets over"),
        "backlog": honoured(),
        "threads": honoured("ASGI applications run on the loop", wsgi=not_honoured("it has threads of its own")),
        "graceful_timeout": honoured(),
        "worker_boot_timeout": mapped("`startup_timeout`: of the application's lifespan"),
        "keep_alive": honoured(),
        "limit_concurrency": refused("it takes as many requests as come"),
        "limit_request_head": mapped("`h11_max_incomplete_size`, for HTTP/1.1"),
        "limit_request_body": refused(
            "it has no limit on what an ASGI application is sent",
            wsgi=mapped("`wsgi_max_body_size`; 400 above it, and 16 MiB unless it is given"),
        ),
        "max_requests": mapped("a worker leaves before its replacement is ready"),
        "max_requests_jitter": mapped("only upwards"),
        "http": mapped("what is offered to TLS clients; on clear text it takes both"),
        "h2_max_streams": honoured(),
        "h2_max_frame_size": honoured(),
        "h2_max_header_list": honoured(),
        "server_header": honoured(),
        "date_header": honoured(),
        "certfile": honoured(),
        "keyfile": honoured(),
        "keyfile_password": honoured(),
        "ca_certs": honoured(),
        "client_cert": honoured(),
        "ciphers": honoured(),
        "tls_min_version": honoured("it accepts TLS 1.2", values=("1.2",), otherwise=Outcome.REFUSED),
        "tls_handshake_timeout": honoured(),
        "tls": refused("it has one certificate"),
        "ws_max_size": honoured(),
        "ws_ping_interval": honoured(),
        "ws_per_message_deflate": not_honoured("always on", off=False),
        "proxy_headers": refused("it takes such fields from nobody, so that clients would look like the proxy"),
        "forwarded_allow_ips": refused("it trusts no proxy"),
        "forwarded": not_honoured("it trusts no proxy"),
        "trust_forwarded": not_honoured("it trusts no proxy"),
        "secure_scheme_header": refused("it trusts no proxy"),
        "proxy_protocol": refused("it would take the protocol's header for a request"),
        "access_log": honoured("in its own form"),
        "access_log_file": mapped("not opened again when it is rotated"),
        "access_log_format": mapped("`combined`, with the time in front", values=("combined",)),
        "log_level": honoured(),
        "log_file": mapped("not opened again when it is rotated"),
        "log_config": mapped("an INI or JSON file"),
        "user": honoured(),
        "group": honoured(),
        "reload": honoured(),
        "hypercorn": honoured(),
    }

    def __init__(self) -> None:
        self._config_module = importlib.import_module("hypercorn.config")
        self._asyncio = importlib.import_module("hypercorn.asyncio")
        self._utils = importlib.import_module("hypercorn.utils")
        self.version = version("hypercorn")
        super().__init__()
        self._stopping: Callable[[], None] | None = None

    def check(self, config: ServerConfig) -> None:
        super().check(config)
        self._options(config)

    def loads_application(self, config: ServerConfig, workers: int) -> bool:
        # Without others to keep it, a server that has had its share of requests would be gone.
        recycles = "max_requests" in config.given and config.settings.max_requests > 0
        return not (workers > 1 or recycles or config.settings.reload)

    def run(self, serving: Serving) -> int:
        if serving.application is None:
            return self._keep_workers(serving)
        with asyncio.Runner(loop_factory=serving.loop.port.new_event_loop) as runner:
            loop = runner.get_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.shutdown)
            runner.run(self.run_async(serving))
        return EXIT_OK

    async def run_async(self, serving: Serving) -> None:
        assert serving.application is not None  # the caller's business
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        self._stopping = lambda: loop.call_soon_threadsafe(stop.set)  # type: ignore[assignment]
        with serving.listeners() as listeners:
            serving.identity.take_on()
            config = self._config(serving, [listener.socket.fileno() for listener in listeners])
            mode = serving.interface
            try:
                await self._asyncio.serve(serving.application.call, config, shutdown_trigger=stop.wait, mode=mode)
            except (self._utils.LifespanFailureError, self._utils.LifespanTimeoutError) as error:
                raise AppError(f"application failed to start: {error}") from None

    def shutdown(self) -> None:
        if self._stopping is not None:
            self._stopping()

    def _keep_workers(self, serving: Serving) -> int:
        if serving.loop.port.name not in _ITS_LOOPS:
            where = serving.config.given.get("loop", "loop")
            raise ConfigError(f"{where}: several workers of hypercorn run on {' or '.join(_ITS_LOOPS)} only")
        self._stopping = lambda: os.kill(os.getpid(), signal.SIGTERM)
        with serving.listeners() as listeners:
            serving.identity.take_on()
            config = self._config(serving, [listener.socket.fileno() for listener in listeners])
            config.worker_class = serving.loop.port.name
            config.application_path = f"{serving.interface}:{hosted.FACTORY}()"
            code: int = importlib.import_module("hypercorn.run").run(config)
        return code

    def _config(self, serving: Serving, descriptors: list[int]) -> Any:
        settings = serving.settings
        config = self._config_module.Config()
        config.bind = [f"fd://{os.dup(descriptor)}" for descriptor in descriptors]  # it closes what it is given
        config.workers = serving.workers
        config.use_reloader = settings.reload
        config.errorlog = settings.log_file or "-"
        config.accesslog = (settings.access_log_file or "-") if settings.access_log else None
        config.loglevel = settings.log_level.upper()
        shaped: dict[str, tuple[str, Callable[[Any], Any]]] = {
            "root_path": ("root_path", str),
            "backlog": ("backlog", int),
            "graceful_timeout": ("graceful_timeout", _or_forever),
            "worker_boot_timeout": ("startup_timeout", _or_forever),
            "keep_alive": ("keep_alive_timeout", _or_forever),
            "limit_request_head": ("h11_max_incomplete_size", int),
            "limit_request_body": ("wsgi_max_body_size", int),
            "max_requests": ("max_requests", lambda value: value or None),
            "max_requests_jitter": ("max_requests_jitter", int),
            "http": ("alpn_protocols", _ALPN.get),
            "h2_max_streams": ("h2_max_concurrent_streams", int),
            "h2_max_frame_size": ("h2_max_inbound_frame_size", int),
            "h2_max_header_list": ("h2_max_header_list_size", int),
            "server_header": ("include_server_header", bool),
            "date_header": ("include_date_header", bool),
            "certfile": ("certfile", str),
            "keyfile_password": ("keyfile_password", str),
            "ca_certs": ("ca_certs", str),
            "client_cert": ("verify_mode", _CLIENT_CERTIFICATES.get),
            "ciphers": ("ciphers", ":".join),
            "tls_handshake_timeout": ("ssl_handshake_timeout", _or_forever),
            "ws_max_size": ("websocket_max_message_size", int),
            "ws_ping_interval": ("websocket_ping_interval", lambda value: value or None),
            "log_config": ("logconfig", lambda path: f"json:{path}" if path.endswith(".json") else path),
        }
        for name, (peer, shape) in shaped.items():
            if serving.passes_on(name):
                setattr(config, peer, shape(getattr(settings, name)))
        if settings.certfile is not None:
            # Without a key beside the certificate it would serve in clear text; the key may be in the same file.
            config.keyfile = settings.keyfile or settings.certfile
        for name, value in self._options(serving.config).items():
            setattr(config, name, value)
        return config

    def _options(self, config: ServerConfig) -> dict[str, Any]:
        kind = self._config_module.Config
        names = [name for name in dir(kind) if not name.startswith("_") and not callable(getattr(kind, name))]
        known = {name: type(getattr(kind, name)).__name__ for name in [*names, "logger_class"]}
        where = config.given.get("hypercorn", "hypercorn")
        return checked("hypercorn", config.options("hypercorn"), known, where=where, owned=_OWNED)


_CLIENT_CERTIFICATES = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_ALPN = {"auto": ["h2", "http/1.1"], "1": ["http/1.1"], "2": ["h2"]}


def _or_forever(value: float) -> float:
    return value or 1e9
