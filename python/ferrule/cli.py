"""The command line: `server [run]`, `server check` and their siblings. Turns arguments into settings sources and calls
`api`.

Knows flags only through the table of settings; never touches sockets or processes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from . import __version__
from .config.load import Loaded, Source, flag_source, load
from .config.names import MIGRATION_SHORT, flag_names, unknown
from .config.settings import LATER, flag_of, rows, show
from .config.tls import speaks_tls
from .errors import EXIT_OK, EXIT_USAGE, ConfigError, FerruleError
from .logs import ERROR, Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

COMMANDS = ("run", "check", "status", "memory", "bench")
_LATER_COMMANDS = ("memory",)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0 done, 1 failed, 2 wrong settings, 3 the application did not boot."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "run"
    try:
        if command in _LATER_COMMANDS:
            raise ConfigError(f"server {command}: not available in this version")
        if command == "status":
            return _status(arguments)
        if command == "bench":
            return _bench(arguments)
        flags, config = parse(arguments)
        return _check(flags, config) if command == "check" else _run(flags, config)
    except FerruleError as error:
        Log().write(ERROR, str(error), traceback=error.traceback)
        return error.exit_code


def parse(arguments: Sequence[str]) -> tuple[Source, str | None]:
    """Arguments of `run` and `check` as a source of settings, and the configuration file they name.

    Raises `ConfigError`. `--help` and `--version` print and exit.
    """
    given: list[tuple[str, str, object]] = []
    apps: list[str] = []
    config: str | None = None
    names = flag_names()
    left = iter(arguments)
    for argument in left:
        if argument == "--":
            apps += left
        elif not argument.startswith("-") or argument == "-":
            apps.append(argument)
        else:
            flag, value = _split(argument)
            if flag in ("--help", "--version"):
                _answer(flag)
            elif flag == "--config":
                config = _value(flag, value, left)
            elif flag not in names:
                raise ConfigError(unknown(f"no such option: {flag}", flag, [*names, "--config", "--help", "--version"]))
            else:
                name = names[flag]
                if name in rows() and rows()[name].kind.boolean:
                    if value is not None:
                        raise ConfigError(f"{flag}: takes no value")
                    given.append((flag, name, not flag.startswith("--no-")))
                else:
                    given.append((flag, name, _value(flag, value, left)))
    if len(apps) > 1:
        raise ConfigError(f"expected one application, got {' and '.join(apps)}")
    if apps:
        given.append(("MODULE:ATTR", "app", apps[0]))
    return flag_source(given), config


def _split(argument: str) -> tuple[str, str | None]:
    """The flag in its long spelling, and the value in the same word, if any: `--flag=VALUE`, `-fVALUE`, `-f=VALUE`."""
    if argument.startswith("--"):
        flag, equals, value = argument.partition("=")
        return flag, value if equals else None
    long = _short_flags().get(argument[:2])
    if long is None:
        return argument.partition("=")[0], None
    return long, argument[2:].removeprefix("=") if len(argument) > 2 else None


def _short_flags() -> dict[str, str]:
    flags = {"-c": "--config", "-h": "--help"}
    flags |= {row.short: flag_of(name) for name, row in rows().items() if row.short}
    return flags | {short: flag_of(name) for name, short in MIGRATION_SHORT.items()}


def _value(flag: str, value: str | None, left: Iterator[str]) -> str:
    """What was given with a flag, or else follows it. What follows is no value when it looks like another flag."""
    if value is None:
        value = next(left, None)
        if value is None or (value.startswith("-") and len(value) > 1 and not value[1:].isdecimal()):
            raise ConfigError(f"{flag}: expected one argument")
    return value


def _answer(flag: str) -> NoReturn:
    if flag == "--version":
        text = f"ferrule {__version__}\n"
    else:
        from .help import render

        text = render()
    sys.stdout.write(text)
    raise SystemExit(EXIT_OK)


def _run(flags: Source, config: str | None) -> int:
    from .api import serve_forever

    return serve_forever(flags, config)


def _status(arguments: Sequence[str]) -> int:
    from argparse import ArgumentParser

    from .status import status

    parser = ArgumentParser("server status", description="Live table of a running server.", allow_abbrev=False)
    parser.add_argument("--pid", type=int, metavar="N", help="process id of the server, when several run")
    parser.add_argument("--watch", action="store_true", help="show it again every second")
    namespace = parser.parse_args(list(arguments))
    return status(namespace.pid, namespace.watch)


def _bench(arguments: Sequence[str]) -> int:
    """The harness is no part of the package: it builds Ferrule and its peers from the repository."""
    from importlib import import_module
    from pathlib import Path

    # Where an editable installation lives, or where the user is.
    places = [Path(__file__).parents[2], Path.cwd()]
    checkout = next((place for place in places if (place / "benchmarks" / "matrix.py").is_file()), None)
    if checkout is None:
        raise ConfigError(
            "server bench: runs in a checkout of Ferrule's repository, where benchmarks/ is; this is none"
        )
    sys.path.insert(0, str(checkout))
    status: int = import_module("benchmarks.__main__").main(list(arguments), "server bench")
    return status


def _check(flags: Source, config: str | None) -> int:
    from .errors import AppError
    from .importer import discover, enter_app_dir, load_app
    from .loops import choose_event_loop
    from .servers.choice import check_server, choose_server

    loaded = load(flags, os.environ, os.getcwd(), config)
    settings = loaded.settings
    log = Log()
    for warning in loaded.warnings:
        log.warning(warning)
    server = choose_server(settings, loaded.origins, log)
    check_server(server, loaded, log)
    width = max(len(name) for name in rows())
    for name, row in rows().items():
        if LATER not in row.later:
            shown = f"{name.replace('_', '-'):{width}} = {show(name, getattr(settings, name))}"
            sys.stdout.write(f"{shown:60} # {loaded.origins[name]}\n")
    _check_certificates(loaded, width, log)
    try:
        enter_app_dir(settings)
        application = load_app(settings if settings.app else settings.replace(app=discover(os.getcwd())))
        loop = f" on {choose_event_loop(settings.loop).port.name}" if application.interface == "asgi" else ""
    except AppError as error:
        sys.stdout.flush()
        log.write(ERROR, str(error), traceback=error.traceback)
        return EXIT_USAGE
    sys.stdout.write(f"{'application':{width}} = {application.name} ({application.interface})\n")
    sys.stdout.write(f"{'served by':{width}} = {server.server_info.name} {server.server_info.version}{loop}\n")
    return EXIT_OK


def _check_certificates(loaded: Loaded, width: int, log: Log) -> None:
    """Show what TLS listeners present. Raises `ConfigError`."""
    if not any(speaks_tls(loaded.settings, bind) for bind in loaded.settings.bind):
        return
    from .tls import Files, check, moment

    files = Files(loaded.settings, loaded.origins, os.getcwd())
    ends = check(loaded.settings, files, files.read())
    for each, end in zip(files.identities, ends, strict=True):
        sys.stdout.write(f"{'certificate':{width}} = {each.certificate.path} (expires {moment(end)})\n")
    for message, fields in files.warnings(ends):
        log.warning(message, **fields)


if __name__ == "__main__":
    sys.exit(main())
