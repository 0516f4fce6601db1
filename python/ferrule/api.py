"""What a program calls to run a server: `run`, and what the command line runs through.

Knows settings and the port of servers; never sockets, processes or workers' insides.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from .config.load import Loaded, Source, from_keywords, load
from .errors import ConfigError
from .logs import open_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .servers.facts import ServerConfig
    from .servers.ports import ApplicationServerPort


def run(app: str, **settings: object) -> int:
    """Serve `app` ("MODULE:ATTR") with worker processes until a signal ends it, as the command `server` does.

    `settings` are named as in the table (`workers=2, bind="127.0.0.1:8000"`) and outrank environment and files.
    Call it from the main thread. Returns 0 after an orderly stop and 3 when no worker could start. Raises `TypeError`
    for an unknown setting and `ferrule.errors.FerruleError` when the server cannot be set up. In worker processes it
    does not return: they leave through `SystemExit`.
    """
    return serve_forever(from_keywords({"app": app, **settings}), None)


def serve_forever(flags: Source, config: str | None) -> int:
    """Run a server with the given flags and configuration file. Returns its exit code."""
    server, prepared = prepare(flags, config)
    assert prepared.settings.app is not None  # `read` found one, or raised
    return server.serve(prepared.settings.app, prepared)


def prepare(flags: Source, config: str | None) -> tuple[ApplicationServerPort, ServerConfig]:
    """The server that the settings choose, and what it is to serve with."""
    from .servers.choice import choose_server

    read = _loader(flags, config)
    loaded = read()
    log = open_log(loaded.settings)
    server = choose_server(loaded.settings, loaded.origins, log)
    from .servers.facts import ServerConfig

    return server, ServerConfig(loaded, read, os.getcwd(), log)


def _loader(flags: Source, config: str | None) -> Callable[[], Loaded]:
    """Reads the settings, at the start and on every reload, as they were meant when the server was started."""
    directory = os.getcwd()

    def read() -> Loaded:
        loaded = load(flags, os.environ, directory, config)
        if loaded.settings.app is not None:
            return loaded
        from .importer import MODULES, discover

        found = discover(os.path.join(directory, loaded.settings.app_dir or ""))
        if found is None:
            files = ", ".join(f"{name}.py" for name in MODULES)
            raise ConfigError(f"no application: give MODULE:ATTR, or define app in one of {files}")
        return loaded._replace(settings=loaded.settings.replace(app=found))

    return read
