"""uvicorn: its own server and supervisors, on Ferrule's listening sockets."""

from __future__ import annotations

import copy
import importlib
import inspect
import signal
import ssl
import threading
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, ClassVar

from ..config import Settings
from ..errors import EXIT_BOOT, EXIT_OK, ConfigError
from . import hosted
from .facts import ServerConfig, ServerStats
from .honours import Rule, honoured, mapped, not_honoured, refused
from .options import checked, parameters
from .peer import PeerServer, Serving, seconds

_ONE_PROTOCOL = not_honoured("it speaks HTTP/1.1")

_OWNED = ("app", "host", "port", "uds", "fd", "factory", "interface", "loop", "workers", "env_file", "reload")


class UvicornServer(PeerServer):
    """One process serves by itself; several are kept by uvicorn's supervisor."""

    name = "uvicorn"
    rules: ClassVar[Mapping[str, Rule]] = {
        "root_path": honoured(),
        "lifespan": honoured(),
        "loop": honoured(),
        "bind": honoured("Ferrule binds, and hands the sockets over"),
        "backlog": honoured(),
        "threads": honoured(
            "ASGI applications run on the loop", wsgi=not_honoured("its middleware has its own threads")
        ),
        "timeout": mapped("`timeout_worker_healthcheck`, with more than one worker"),
        "graceful_timeout": mapped("`timeout_graceful_shutdown`, in whole seconds"),
        "keep_alive": mapped("`timeout_keep_alive`, in whole seconds"),
        "limit_concurrency": mapped("connections count as well as requests; 503 without `Retry-After`"),
        "limit_request_body": refused("it has no limit on request bodies"),
        "max_requests": mapped("`limit_max_requests`: a worker leaves before its replacement is ready"),
        "max_requests_jitter": mapped("`limit_max_requests_jitter`: only upwards"),
        "http": honoured(values=("auto", "1")),
        "h2_max_streams": _ONE_PROTOCOL,
        "h2_window": _ONE_PROTOCOL,
        "h2_connection_window": _ONE_PROTOCOL,
        "h2_max_frame_size": _ONE_PROTOCOL,
        "h2_max_header_list": _ONE_PROTOCOL,
        "server_header": honoured(),
        "date_header": honoured(),
        "header": honoured(),
        "certfile": honoured(),
        "keyfile": honoured(),
        "keyfile_password": honoured(),
        "ca_certs": honoured(),
        "client_cert": honoured(),
        "ciphers": honoured(),
        "tls_min_version": honoured(),
        "tls": refused("it has one certificate"),
        "ws_max_size": honoured(),
        "ws_max_queue": honoured(),
        "ws_ping_interval": honoured(),
        "ws_ping_timeout": honoured(),
        "ws_per_message_deflate": honoured(off=False),
        "proxy_headers": honoured(),
        "forwarded_allow_ips": honoured(),
        "forwarded": refused("it reads `X-Forwarded-*` only", values=("rfc7239",)),
        "trust_forwarded": refused("it takes all that a trusted proxy sends"),
        "secure_scheme_header": refused("it reads `X-Forwarded-Proto` only"),
        "proxy_protocol": refused("it would take the protocol's header for a request"),
        "access_log": honoured("in its own form"),
        "access_log_file": mapped("not opened again when it is rotated"),
        "log_level": honoured(),
        "log_file": mapped("not opened again when it is rotated"),
        "log_config": honoured(),
        "user": honoured(),
        "group": honoured(),
        "reload": honoured(),
        "reload_dir": honoured(),
        "reload_include": mapped("needs `watchfiles`"),
        "reload_exclude": mapped("needs `watchfiles`"),
        "uvicorn": honoured(),
    }

    def __init__(self) -> None:
        self._uvicorn = importlib.import_module("uvicorn")
        self._supervisors = importlib.import_module("uvicorn.supervisors")
        self.version = version("uvicorn")
        super().__init__()
        self._server: Any = None
        self._stopping: Callable[[], None] | None = None

    def check(self, config: ServerConfig) -> None:
        super().check(config)
        self._options(config)

    def loads_application(self, config: ServerConfig, workers: int) -> bool:
        # Without a supervisor, a server that has had its share of requests would be gone.
        recycles = "max_requests" in config.given and config.settings.max_requests > 0
        return not (workers > 1 or recycles or config.settings.reload)

    def run(self, serving: Serving) -> int:
        with serving.listeners() as listeners:
            serving.identity.take_on()
            sockets = [listener.socket for listener in listeners]
            server = self._server = self._uvicorn.Server(self._uvicorn.Config(**self._arguments(serving)))
            if serving.application is None:
                return self._supervise(serving, server, sockets)
            self._stopping = lambda: setattr(server, "should_exit", True)
            # uvicorn raises the signal that ended it once more, for whoever had it before: that is us.
            before = {number: signal.signal(number, server.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                server.run(sockets)
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
            return EXIT_OK if server.started else EXIT_BOOT

    async def run_async(self, serving: Serving) -> None:
        with serving.listeners() as listeners:
            server = self._server = self._uvicorn.Server(self._uvicorn.Config(**self._arguments(serving)))
            self._stopping = lambda: setattr(server, "should_exit", True)
            await server._serve([listener.socket for listener in listeners])  # `serve` would take over the signals

    def shutdown(self) -> None:
        if self._stopping is not None:
            self._stopping()

    @property
    def stats(self) -> ServerStats | None:
        stats = super().stats
        if stats is None or self._server is None or not self._server.started:
            return stats  # of processes that a supervisor keeps, nothing is known here
        state = self._server.server_state
        return stats._replace(requests=state.total_requests, connections=len(state.connections))

    def _supervise(self, serving: Serving, server: Any, sockets: list[Any]) -> int:
        kind = self._supervisors.ChangeReload if serving.settings.reload else self._supervisors.Multiprocess
        # Older versions are told what their processes are to run.
        target = {"target": server.run} if "target" in inspect.signature(kind).parameters else {}
        supervisor = kind(server.config, sockets=sockets, **target)
        stop: threading.Event = supervisor.should_exit
        self._stopping = stop.set
        supervisor.run()
        processes = getattr(supervisor, "processes", ())
        failed = any(process.process.exitcode == EXIT_BOOT for process in processes)
        return EXIT_BOOT if failed else EXIT_OK

    def _arguments(self, serving: Serving) -> dict[str, Any]:
        settings, application = serving.settings, serving.application
        arguments: dict[str, Any] = {
            "app": hosted.FACTORY if application is None else lambda: application.call,
            "factory": True,
            "interface": "wsgi" if serving.interface == "wsgi" else "asgi3",
            "loop": hosted.LOOP_FACTORY,
            "workers": serving.workers,
            "lifespan": settings.lifespan,
            "access_log": settings.access_log,
            "log_level": settings.log_level,
            "log_config": self._logging(settings),
            "reload": settings.reload,
        }
        simple = {
            "root_path": "root_path",
            "backlog": "backlog",
            "server_header": "server_header",
            "date_header": "date_header",
            "certfile": "ssl_certfile",
            "keyfile": "ssl_keyfile",
            "keyfile_password": "ssl_keyfile_password",
            "ca_certs": "ssl_ca_certs",
            "ws_max_size": "ws_max_size",
            "ws_max_queue": "ws_max_queue",
            "ws_per_message_deflate": "ws_per_message_deflate",
            "proxy_headers": "proxy_headers",
            "max_requests_jitter": "limit_max_requests_jitter",
        }
        arguments |= {peer: getattr(settings, name) for name, peer in simple.items() if serving.passes_on(name)}
        shaped: dict[str, tuple[str, Callable[[Any], Any]]] = {
            "timeout": ("timeout_worker_healthcheck", lambda value: seconds(value) or 1 << 30),
            "graceful_timeout": ("timeout_graceful_shutdown", lambda value: seconds(value) or None),
            "keep_alive": ("timeout_keep_alive", lambda value: seconds(value) or 1 << 30),
            "limit_concurrency": ("limit_concurrency", lambda value: value or None),
            "max_requests": ("limit_max_requests", lambda value: value or None),
            "header": ("headers", list),
            "ciphers": ("ssl_ciphers", ":".join),
            "client_cert": ("ssl_cert_reqs", lambda value: int(_CLIENT_CERTIFICATES[value])),
            "ws_ping_interval": ("ws_ping_interval", lambda value: value or None),
            "ws_ping_timeout": ("ws_ping_timeout", lambda value: value or None),
            "forwarded_allow_ips": ("forwarded_allow_ips", list),
            "reload_dir": ("reload_dirs", list),
            "reload_include": ("reload_includes", list),
            "reload_exclude": ("reload_excludes", list),
        }
        for name, (peer, shape) in shaped.items():
            if serving.passes_on(name):
                arguments[peer] = shape(getattr(settings, name))
        if settings.tls_min_version == "1.3":
            arguments["ssl_context_factory"] = tls_1_3
        arguments |= self._options(serving.config)
        known = parameters(self._uvicorn.Config.__init__)
        for name in arguments.keys() - known.keys():
            raise ConfigError(f"uvicorn {self.version} has no {name}; a newer one is needed")
        return arguments

    def _options(self, config: ServerConfig) -> dict[str, Any]:
        where = config.given.get("uvicorn", "uvicorn")
        return checked(
            "uvicorn", config.options("uvicorn"), parameters(self._uvicorn.Config.__init__), where=where, owned=_OWNED
        )

    def _logging(self, settings: Settings) -> Any:
        if settings.log_config is not None:
            return settings.log_config
        config = copy.deepcopy(self._uvicorn.config.LOGGING_CONFIG)
        for handler, path in (("default", settings.log_file), ("access", settings.access_log_file)):
            if path is not None:
                config["handlers"][handler].pop("stream")
                config["handlers"][handler] |= {"class": "logging.FileHandler", "filename": path}
        return config


def tls_1_3(config: Any, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """uvicorn's own context, without TLS 1.2."""
    context = default()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


_CLIENT_CERTIFICATES = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
