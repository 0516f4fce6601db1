"""What is the same around every other server: check the settings, prepare the process, serve, clear up.

An adapter derives from `PeerServer`, has a table of rules, and runs its server in `run`. It imports that server when it
is made, never at the top: the tables must be readable where the server is not installed.
"""

from __future__ import annotations

import contextlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from ..arbiter.arbiter import worker_count
from ..arbiter.listeners import Listener, open_listeners
from ..arbiter.process import PidFile, name_process, raise_descriptor_limit, resolve_identity
from ..config import Settings
from ..config.binds import UNIX
from ..errors import EXIT_FAILURE, AppError, ConfigError
from ..importer import Application, as_application, enter_app_dir, load_app
from ..loops import choose_event_loop
from . import hosted
from .children import Child, ChildFailedError
from .facts import ServerConfig, ServerInfo, ServerStats
from .honours import AROUND, Outcome, Rule, check, outcome


class Serving:
    """One call of `serve`: what a server is run with.

    `workers` is a real number of processes. `application` is set when it is to be served by this very process; else the
    processes to come load it through `hosted`.
    """

    def __init__(self, config: ServerConfig, rules: Mapping[str, Rule], interface: str, workers: int) -> None:
        self.config = config
        self.settings = config.settings
        self.rules = rules
        self.interface = interface
        self.workers = workers
        self.application: Application | None = None
        self.loop = choose_event_loop(self.settings.loop)
        self.identity = resolve_identity(self.settings.user, self.settings.group)

    def passes_on(self, name: str) -> bool:
        """Whether a setting was given and the server takes its value."""
        if name not in self.config.given:
            return False
        return outcome(self.rules, name, self.settings, self.interface) in (Outcome.HONOURED, Outcome.MAPPED)

    @contextlib.contextmanager
    def listeners(self) -> Iterator[list[Listener]]:
        """Ferrule's own listening sockets for the settings' addresses, for servers that take sockets."""
        opened = open_listeners(self.settings.bind, self.settings.backlog)
        try:
            for listener in opened:
                if listener.bind.family == UNIX:
                    self.identity.give(listener.bind.path)
                self.config.log.info("Listening", url=url_of(listener, self.settings))
            yield opened
        finally:
            for listener in opened:
                listener.close()
                listener.remove_file()


class PeerServer(ABC):
    """An adapter for a server that is not Ferrule's own. The server's process model runs in the foreground."""

    name: ClassVar[str]
    version: str
    rules: ClassVar[Mapping[str, Rule]]  # besides AROUND
    http_protocols: ClassVar[str] = "1"  # what it speaks when it is not told

    def __init__(self) -> None:
        self._info = ServerInfo(self.name, self.version)
        self._began: float | None = None

    @property
    def server_info(self) -> ServerInfo:
        return self._info

    @property
    def stats(self) -> ServerStats | None:
        return None if self._began is None else ServerStats(time.monotonic() - self._began)

    def check(self, config: ServerConfig) -> None:
        """Warn of given settings that this server cannot honour. Raises `ConfigError` where that would be unsafe, and
        for options that it does not have."""
        check(self.name, {**AROUND, **self.rules}, config.settings, config.given, config.log)
        for bind in config.settings.bind:
            if bind.options:
                where = config.given.get("bind", "bind")
                raise ConfigError(f"{where}: {bind}: {self.name} speaks the same on every listener")

    def serve(self, app: str | Callable[..., Any], config: ServerConfig) -> int:
        serving = self._prepare(app, config)
        settings = serving.settings
        pid_file = PidFile(settings.pid) if settings.pid is not None else None
        if pid_file is not None:
            pid_file.write()
        hosted.announce(settings)
        try:
            return self._run(serving)
        except SystemExit as left:  # how these servers end a start that failed
            return left.code if isinstance(left.code, int) else EXIT_FAILURE
        finally:
            hosted.withdraw()
            if pid_file is not None:
                pid_file.remove()

    async def serve_async(self, app: str | Callable[..., Any], config: ServerConfig) -> None:
        serving = self._prepare(app, config, in_process=True)
        self._begin(serving)
        try:
            await self.run_async(serving)
        finally:
            self._began = None

    @abstractmethod
    def run(self, serving: Serving) -> int:
        """Serve until stopped; returns the exit code."""

    @abstractmethod
    async def run_async(self, serving: Serving) -> None:
        """Serve `serving.application` on the running loop until stopped."""

    @abstractmethod
    def shutdown(self) -> None: ...

    @abstractmethod
    def loads_application(self, config: ServerConfig, workers: int) -> bool:
        """Whether this process is to serve the application, and not processes that it starts."""

    def _prepare(self, app: str | Callable[..., Any], config: ServerConfig, *, in_process: bool = False) -> Serving:
        self.check(config)
        if config.settings.app_dir is not None:
            config = _with_absolute_paths(config)
        settings = config.settings
        if settings.umask is not None:
            os.umask(settings.umask)
        for name, value in config.loaded.variables.items():
            os.environ.setdefault(name, value)
        raise_descriptor_limit(settings.connections)
        enter_app_dir(settings)
        workers = 1 if in_process else worker_count(settings)
        if callable(app):
            application = as_application(app, getattr(app, "__qualname__", type(app).__name__), settings, False)
            if workers > 1:
                raise ConfigError(f"{self.name} serves an application object in one process only; give MODULE:ATTR")
        elif in_process or self.loads_application(config, workers):
            application = load_app(settings)
        else:
            application = None
        interface = application.interface if application is not None else _interface(settings)
        serving = Serving(config, {**AROUND, **self.rules}, interface, workers)
        serving.application = application
        return serving

    def _run(self, serving: Serving) -> int:
        settings = serving.settings
        self._begin(serving)
        name_process(
            f"{settings.proc_name or 'ferrule'}: {self.name} [{settings.app}]", settings.proc_name or "ferrule"
        )
        try:
            return self.run(serving)
        finally:
            self._began = None

    def _begin(self, serving: Serving) -> None:
        settings, log = serving.settings, serving.config.log
        bind = settings.bind[0]
        self._info = ServerInfo(
            self.name,
            self.version,
            workers=serving.workers,
            event_loop=serving.loop.port.name if serving.interface == "asgi" else "",
            http_protocol=settings.http if serving.passes_on("http") else self.http_protocols,
            host=bind.path or bind.host,
            port=bind.port,
        )
        self._began = time.monotonic()
        if serving.interface == "asgi" and serving.loop.passed_over is not None:
            log.info(f"{serving.loop.passed_over}; using {serving.loop.port.name}")
        info = self._info
        log.info(
            "Starting another server",
            server=f"{info.name} {info.version}",
            workers=info.workers,
            interface=serving.interface,
            loop=info.event_loop or None,
        )


def _with_absolute_paths(config: ServerConfig) -> ServerConfig:
    """Paths are meant from where the program was started, which is about to be left for the application's directory."""
    settings, directory = config.settings, config.directory
    changed: dict[str, Any] = {
        name: os.path.join(directory, path)
        for name in ("certfile", "keyfile", "ca_certs", "log_config", "log_file", "access_log_file", "pid")
        if (path := getattr(settings, name)) is not None
    }
    changed["reload_dir"] = tuple(os.path.join(directory, path) for path in settings.reload_dir)
    changed["bind"] = tuple(
        bind._replace(path=os.path.join(directory, bind.path)) if bind.family == UNIX else bind
        for bind in settings.bind
    )
    return config._replace(loaded=config.loaded._replace(settings=settings.replace(**changed)))


def url_of(listener: Listener, settings: Settings) -> str:
    """How a person reaches a listener."""
    return listener.url(tls=settings.certfile is not None)


def seconds(value: float) -> int:
    """Whole seconds for servers that take no others: never less than what was asked for."""
    return -int(-value // 1)


def _interface(settings: Settings) -> str:
    """What an application speaks that only other processes are to import. A child looks, and goes."""
    settings = settings.replace(app_dir=None)  # it has been entered
    if not hasattr(os, "fork"):
        return load_app(settings).interface
    try:
        interface: str = Child(lambda: load_app(settings).interface).result()
    except ChildFailedError as error:
        raise AppError(str(error), error.traceback) from None
    return interface
