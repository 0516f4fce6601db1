"""Settings from every source: what is accepted, what is refused with which line, and who outranks whom."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ferrule.cli import parse
from ferrule.config.load import Loaded, load
from ferrule.config.names import flag_names
from ferrule.config.settings import LATER, Settings, defaults, flag_of, rows
from ferrule.errors import ConfigError


class Sources:
    """A directory with files, an environment and a command line, read as `server` would read them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)

    def load(self, *arguments: str, env: Mapping[str, str] | None = None) -> Loaded:
        flags, config = parse(arguments)
        return load(flags, env or {}, str(self.directory), config)

    def settings(self, *arguments: str, env: Mapping[str, str] | None = None) -> Settings:
        return self.load(*arguments, env=env).settings

    def error(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        with pytest.raises(ConfigError) as caught:
            self.load(*arguments, env=env)
        message = str(caught.value)
        assert "\n" not in message
        return message


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path)


GOOD: list[tuple[str, str, object]] = [
    # setting, as written, as understood
    ("workers", "4", 4),
    ("workers", "0", 0),
    ("threads", "1", 1),
    ("timeout", "0", 0.0),
    ("timeout", "1.5", 1.5),
    ("keep_alive", "500ms", 0.5),
    ("recycle_grace", "5m", 300.0),
    ("worker_lifetime", "1h", 3600.0),
    ("limit_request_body", "10MiB", 10 << 20),
    ("limit_request_body", "10m", 10 << 20),
    ("limit_request_body", "1.5k", 1536),
    ("limit_request_body", "2 GB", 2 << 30),
    ("limit_request_body", "512b", 512),
    ("max_worker_memory", "512", 512 << 20),
    ("max_worker_memory", "1.5GiB", 3 << 29),
    ("interface", "asgi", "asgi"),
    ("interface", "ASGI3", "asgi"),
    ("lifespan", "off", "off"),
    ("log_level", "WARN", "warning"),
    ("access_log_format", "json", "json"),
    ("access_log_fields", "method,path,status", ("method", "path", "status")),
    ("health_path", "/healthz", "/healthz"),
    ("root_path", "/api", "/api"),
    ("root_path", "", None),
    ("header", "X-Frame-Options: DENY", (("X-Frame-Options", "DENY"),)),
    ("header", "Cache-Control:no-store, private", (("Cache-Control", "no-store, private"),)),
    ("http", "1", "1"),
    ("backlog", "1", 1),
]


@pytest.mark.parametrize(("name", "written", "understood"), GOOD)
def test_a_good_value_means_the_same_as_flag_and_variable(
    sources: Sources, name: str, written: str, understood: object
) -> None:
    flag = sources.settings(f"{flag_of(name)}={written}")
    variable = sources.settings(env={f"FERRULE_{name.upper()}": written})
    assert getattr(flag, name) == understood
    assert getattr(variable, name) == understood


BAD: list[tuple[str, str, str]] = [
    # setting, as written, part of what was expected
    ("workers", "many", "an integer from 0 to 4096"),
    ("workers", "-1", "an integer from 0 to 4096"),
    ("workers", "1.5", "an integer from 0 to 4096"),
    ("workers", "99999", "an integer from 0 to 4096"),
    ("workers", "", "an integer from 0 to 4096"),
    ("workers", "4_0", "an integer"),
    ("threads", "0", "an integer from 1"),
    ("timeout", "-1", "seconds"),
    ("timeout", "soon", "seconds"),
    ("timeout", "nan", "seconds"),
    ("timeout", "inf", "seconds"),
    ("keep_alive", "5 parsecs", "seconds"),
    ("limit_request_body", "10 apples", "bytes"),
    ("limit_request_body", "-5", "bytes"),
    ("limit_request_line", "2MiB", "from 0 to 1048576"),
    ("interface", "rsgi", "auto, asgi or wsgi"),
    ("interface", "asgi2", "auto, asgi or wsgi"),
    ("lifespan", "yes", "auto, on or off"),
    ("log_level", "loud", "debug, info, warning, error or critical"),
    ("access_log_format", "%(h)s %(l)s", "kv, json or combined"),
    ("access_log_fields", "method,pth", "method, url, path"),
    ("health_path", "healthz", "a path that begins with /"),
    ("health_path", "/a b", "a path that begins with /"),
    ("ready_path", "/a?b", "a path that begins with /"),
    ("root_path", "api", "a path such as /api"),
    ("header", "no colon", "NAME:VALUE"),
    ("header", "bad name: x", "NAME:VALUE"),
    ("header", "X: a\rb", "NAME:VALUE"),
    ("bind", "localhost", "HOST:PORT"),
    ("bind", "127.0.0.1:65536", "HOST:PORT"),
    ("bind", "127.0.0.1:http", "HOST:PORT"),
    ("bind", "::1:8000", "HOST:PORT"),
    ("bind", "unix:", "HOST:PORT"),
    ("bind", "unix:/" + "x" * 108, "at most 107 bytes"),
    ("bind", "fd://three", "HOST:PORT"),
    ("bind", "127.0.0.1:80?colour=red", "options"),
    ("bind", "127.0.0.1:80?mode=660", "unix: binds only"),
    ("bind", "unix:/x?mode=999", "an octal mode"),
    ("backlog", "0", "an integer from 1"),
]


@pytest.mark.parametrize(("name", "written", "expected"), BAD)
def test_a_bad_value_is_refused_naming_source_value_and_expectation(
    sources: Sources, name: str, written: str, expected: str
) -> None:
    by_flag = sources.error(f"{flag_of(name)}={written}")
    by_variable = sources.error(env={f"FERRULE_{name.upper()}": written})
    shown = repr(written.split(",")[1] if "pth" in written else written)[1:40]
    assert by_flag.startswith(flag_of(name) + ": expected ")
    assert by_variable.startswith(f"FERRULE_{name.upper()}: expected ")
    for message in (by_flag, by_variable):
        assert expected in message
        assert shown in message


TOML_BAD = [
    ("workers = 'x'", "server.toml: workers: expected an integer from 0 to 4096, got 'x'"),
    ("workers = true", "server.toml: workers: expected an integer from 0 to 4096, got True"),
    ("workers = 1.5", "server.toml: workers: expected an integer from 0 to 4096, got 1.5"),
    ("access-log = 3", "server.toml: access-log: expected true or false, got 3"),
    ("timeout = true", "server.toml: timeout: expected seconds, such as 30, 1.5, 500ms or 5m, got True"),
    ("bind = 8000", "server.toml: bind: expected HOST:PORT, [V6]:PORT, unix:/PATH or fd://N, got 8000"),
    ("bind = []", "server.toml: bind: expected HOST:PORT, [V6]:PORT, unix:/PATH or fd://N, got nothing"),
    ("app = 3", "server.toml: app: expected MODULE:ATTR, got 3"),
    ("wrokers = 3", "server.toml: no such setting: wrokers; did you mean workers?"),
    ("max-request = 3", "server.toml: no such setting: max-request; did you mean max-requests?"),
    ("qqqqqq = 3", "server.toml: no such setting: qqqqqq"),
    ("max_requests = 3\nmax-requests = 4", "server.toml: max-requests: the same setting as max_requests, given twice"),
    ("bind = ['a:1', 'b:x']", "server.toml: bind: expected HOST:PORT, [V6]:PORT, unix:/PATH or fd://N, got 'b:x'"),
    ("port = 65536", "server.toml: port: expected a port from 0 to 65535, got 65536"),
    ("[server]\nworkers = 3", "server.toml: expected settings at the top of the file, not in a table named server"),
    ("bind = '127.0.0.1:1'\nport = 2", "server.toml: bind and server.toml: port cannot be given together"),
]


@pytest.mark.parametrize(("text", "message"), TOML_BAD)
def test_a_bad_toml_file_is_refused_in_one_line(sources: Sources, text: str, message: str) -> None:
    sources.write("server.toml", text)
    assert sources.error() == message


def test_a_file_that_is_no_toml_names_the_line(sources: Sources) -> None:
    sources.write("server.toml", "workers = \n")
    assert sources.error().startswith("server.toml: is not TOML: ")
    assert "line 1" in sources.error()


def test_toml_takes_kebab_and_snake_case_and_native_values(sources: Sources) -> None:
    sources.write(
        "server.toml",
        'max-requests = 7\nlog_level = "debug"\naccess-log = false\nbind = ["127.0.0.1:1", "[::1]:2"]\n'
        'timeout = 2.5\n[header]\nX-A = "b"\n',
    )
    settings = sources.settings()
    assert (settings.max_requests, settings.log_level, settings.access_log) == (7, "debug", False)
    assert [str(bind) for bind in settings.bind] == ["127.0.0.1:1", "[::1]:2"]
    assert settings.timeout == 2.5
    assert settings.header == (("X-A", "b"),)


def test_pyproject_is_used_only_where_it_has_the_table(sources: Sources) -> None:
    sources.write("pyproject.toml", "[tool.other]\nworkers = 9\n")
    assert sources.settings().workers == 0
    sources.write("pyproject.toml", "tool = 1\n")
    assert sources.settings().workers == 0
    sources.write("pyproject.toml", "[tool.ferrule]\nworkers = 9\n")
    assert sources.load().origins["workers"] == "pyproject.toml: workers"
    assert sources.settings().workers == 9


def test_server_toml_is_preferred_to_pyproject(sources: Sources) -> None:
    sources.write("pyproject.toml", "[tool.ferrule]\nworkers = 9\n")
    sources.write("server.toml", "threads = 2\n")
    assert (sources.settings().workers, sources.settings().threads) == (0, 2)


def test_yaml_has_its_settings_under_server(sources: Sources) -> None:
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    sources.write("s.yaml", "server:\n  workers: 3\n  keep-alive: 5\n  header: ['X-A: b']\n")
    settings = sources.settings("-c", "s.yaml")
    assert (settings.workers, settings.keep_alive, settings.header) == (3, 5.0, (("X-A", "b"),))
    for text, message in (
        ("workers: 3\n", "s.yaml: expected one top-level map named server"),
        ("server: 3\n", "s.yaml: expected server to be a map"),
        ("server:\n  workers: x\n", "s.yaml: workers: expected an integer from 0 to 4096, got 'x'"),
        ("server: [\n", "s.yaml: is not YAML (line 2)"),
        ("server:\n  thread: 2\n", "s.yaml: no such setting: thread; did you mean threads?"),
        ("server:\n  app: 2026-13-01\n", "s.yaml: is not YAML"),
    ):
        sources.write("s.yaml", text)
        assert sources.error("-c", "s.yaml") == message


def test_a_python_file_gives_gunicorn_names_and_hooks(sources: Sources) -> None:
    sources.write(
        "gunicorn.conf.py",
        "import multiprocessing\n"
        "host, port = '0.0.0.0', '80'\n"
        "bind = f'{host}:{port}'\n"
        "workers_per_core_str = '1'\n"
        "workers = int(workers_per_core_str) + 1\n"
        "accesslog = '-'\nloglevel = 'warning'\nkeepalive = 120\ngraceful_timeout_str = '3'\n"
        "def when_ready(server): pass\n"
        "def pre_request(worker, req): pass\n"
        "def helper(): pass\n",
    )
    loaded = sources.load("-c", "gunicorn.conf.py")
    assert [str(bind) for bind in loaded.settings.bind] == ["0.0.0.0:80"]
    assert (loaded.settings.workers, loaded.settings.keep_alive) == (2, 120.0)
    assert (loaded.settings.log_level, loaded.settings.access_log_file) == ("warning", None)
    assert "when_ready" in loaded.hooks
    assert "helper" not in loaded.hooks
    assert loaded.warnings == (
        "gunicorn.conf.py: pre_request is never called: it would cost every request; use a middleware",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("worekrs = 3\n", "c.py: no such setting: worekrs; did you mean workers?"),
        ("workers = 'x'\n", "c.py: workers: expected an integer from 0 to 4096, got 'x'"),
        ("\nworkers = nope\n", "c.py: line 2: NameError: name 'nope' is not defined"),
        ("workers = = 3\n", "c.py: line 1: invalid syntax"),
        ("import sys\nsys.exit('no database')\n", "c.py: line 2: SystemExit: no database"),
    ],
)
def test_a_bad_python_file_is_refused_in_one_line(sources: Sources, text: str, message: str) -> None:
    sources.write("c.py", text)
    assert sources.error("-c", "c.py") == message


def test_a_missing_or_unreadable_or_strange_config_file_is_refused(sources: Sources) -> None:
    assert sources.error("-c", "nope.toml") == "nope.toml: cannot be read: No such file or directory"
    assert sources.error("-c", "nope.ini") == "nope.ini: expected a .toml, .yaml, .yml or .py file"
    (sources.directory / "latin.toml").write_bytes(b"app = '\xff'\n")
    assert sources.error("-c", "latin.toml") == "latin.toml: is not UTF-8 (byte 7)"


def test_flag_outranks_environment_outranks_file_outranks_default(sources: Sources) -> None:
    sources.write("server.toml", "workers = 2\nthreads = 2\ntimeout = 2\n")
    loaded = sources.load("--workers", "4", env={"FERRULE_WORKERS": "3", "FERRULE_THREADS": "3"})
    assert (loaded.settings.workers, loaded.settings.threads, loaded.settings.timeout) == (4, 3, 2.0)
    assert loaded.settings.backlog == 2048
    assert [loaded.origins[name] for name in ("workers", "threads", "timeout", "backlog")] == [
        "--workers",
        "FERRULE_THREADS",
        "server.toml: timeout",
        "default",
    ]


def test_the_ecosystems_variables_count_below_our_own(sources: Sources) -> None:
    assert sources.load(env={"WEB_CONCURRENCY": "3"}).origins["workers"] == "WEB_CONCURRENCY"
    assert sources.settings(env={"WEB_CONCURRENCY": "3"}).workers == 3
    assert sources.settings(env={"WEB_CONCURRENCY": "3", "FERRULE_WORKERS": "5"}).workers == 5
    assert sources.settings(env={"WEB_CONCURRENCY": ""}).workers == 0
    assert sources.error(env={"WEB_CONCURRENCY": "x"}).startswith("WEB_CONCURRENCY: expected an integer")


@pytest.mark.parametrize(
    ("arguments", "env", "binds"),
    [
        ((), {}, ["127.0.0.1:8000"]),
        ((), {"PORT": "5000"}, ["0.0.0.0:5000"]),
        (("--host", "0.0.0.0"), {"PORT": "5000"}, ["0.0.0.0:5000"]),
        (("--host", "::1"), {}, ["[::1]:8000"]),
        (("--port", "0"), {}, ["127.0.0.1:0"]),
        (("--port", "9"), {"PORT": "5000", "FERRULE_HOST": "10.0.0.1"}, ["10.0.0.1:9"]),
        (("--uds", "/run/x.sock"), {"PORT": "5000"}, ["unix:/run/x.sock"]),
        (("--fd", "3"), {}, ["fd://3"]),
        (("-b", "a:1", "--bind=b:2"), {"PORT": "5000"}, ["a:1", "b:2"]),
        ((), {"FERRULE_BIND": "a:1,b:2", "PORT": "5000"}, ["a:1", "b:2"]),
        (("-b", "unix:/x?mode=660"), {}, ["unix:/x?mode=660"]),
        (("-b", "h:80?tls=off&proxy=off&http=1"), {}, ["h:80?tls=off&proxy=off&http=1"]),
    ],
)
def test_addresses_come_from_bind_or_its_parts(
    sources: Sources, arguments: Sequence[str], env: dict[str, str], binds: list[str]
) -> None:
    assert [str(bind) for bind in sources.settings(*arguments, env=env).bind] == binds


def test_contradicting_ways_to_say_an_address_are_refused(sources: Sources) -> None:
    assert sources.error("--bind", "a:1", "--port", "2") == "--bind and --port cannot be given together"
    assert sources.error("--uds", "/a", "--fd", "2") == "--uds and --fd cannot be given together"
    assert sources.error("-b", "a:1", "-b", "a:1") == "--bind: a:1 is given twice"
    assert sources.error("--port", "x") == "--port: expected a port from 0 to 65535, got 'x'"
    assert sources.error("--host", "a b") == "--host: expected a host name or address, got 'a b'"
    assert sources.error(env={"PORT": "99999"}).startswith("PORT: expected a port")


@pytest.mark.parametrize(
    ("alias", "name", "value"),
    [
        ("--worker-connections=5", "connections", 5),
        ("--timeout-keep-alive=5", "keep_alive", 5.0),
        ("--timeout-graceful-shutdown=5", "graceful_timeout", 5.0),
        ("--limit-max-requests=5", "max_requests", 5),
        ("--access-logfile=/x", "access_log_file", "/x"),
        ("--access-logfile=-", "access_log_file", None),
        ("--error-logfile=/x", "log_file", "/x"),
        ("--chdir=/tmp", "app_dir", "/tmp"),
        ("--limit-request-field_size=5", "limit_request_field_size", 5),
        ("--no-access-log", "access_log", False),
        ("-w5", "workers", 5),
        ("-t5", "timeout", 5.0),
    ],
)
def test_flags_of_gunicorn_and_uvicorn_are_understood(sources: Sources, alias: str, name: str, value: object) -> None:
    assert getattr(sources.settings(alias), name) == value


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        (("-k", "gthread"), "--worker-class is not used: "),
        (("--worker-class=uvicorn.workers.UvicornWorker",), "--worker-class is not used: "),
        (("--worker-tmp-dir", "/dev/shm"), "--worker-tmp-dir is not used: "),
        (("--ws", "wsproto"), "--ws is not used: "),
        (("--http", "h11"), "--http h11 is not used: "),
    ],
)
def test_settings_of_other_servers_are_accepted_with_one_warning(
    sources: Sources, arguments: Sequence[str], warning: str
) -> None:
    loaded = sources.load(*arguments)
    assert len(loaded.warnings) == 1
    assert loaded.warnings[0].startswith(warning)


def test_an_unknown_flag_suggests_the_nearest(sources: Sources) -> None:
    assert sources.error("--wrokers", "3") == "no such option: --wrokers; did you mean --workers?"
    assert sources.error("--qqqqqqqq") == "no such option: --qqqqqqqq"
    assert sources.error("--work", "3").startswith("no such option: --work")  # no abbreviations
    assert sources.error("a:b", "c:d") == "expected one application, got a:b and c:d"
    assert sources.error("--workers") == "--workers: expected one argument"
    assert sources.error("--access-log=no") == "--access-log: takes no value"


def test_an_unknown_variable_close_to_a_setting_is_warned_of(sources: Sources) -> None:
    warnings = sources.load(env={"FERRULE_WROKERS": "3", "FERRULE_SOMETHING_ELSE_ENTIRELY": "x"}).warnings
    assert warnings == ("FERRULE_WROKERS is no setting; did you mean FERRULE_WORKERS?",)


def test_an_env_file_fills_in_what_the_environment_does_not_say(sources: Sources) -> None:
    sources.write(
        ".env",
        "# comment\nexport FERRULE_WORKERS=7\nFERRULE_THREADS='2'\n"
        'DB_URL="a\\nb" # note\nPLAIN = x y # note\nEMPTY=\n',
    )
    loaded = sources.load("--env-file", ".env", env={"FERRULE_THREADS": "9"})
    assert (loaded.settings.workers, loaded.settings.threads) == (7, 9)
    assert loaded.origins["workers"] == ".env: FERRULE_WORKERS"
    assert loaded.variables["DB_URL"] == "a\nb"
    assert loaded.variables["PLAIN"] == "x y"
    assert loaded.variables["EMPTY"] == ""
    sources.write(".env", "A=1\nnonsense\n")
    assert sources.error("--env-file", ".env").endswith(".env: line 2: expected NAME=VALUE")
    assert "cannot read" in sources.error("--env-file", "nope.env")


def test_what_this_version_lacks_is_refused_whatever_the_source(sources: Sources) -> None:
    assert sources.error("--static", "/a=/b") == "--static: not available in this version"
    assert sources.error(env={"FERRULE_PROXY_PROTOCOL": "1"}) == "FERRULE_PROXY_PROTOCOL: not available in this version"
    assert "proxy=on is not available in this version" in sources.error("-b", "a:1?proxy=on")


def test_switching_off_what_this_version_lacks_is_accepted(sources: Sources) -> None:
    assert sources.load("--no-proxy-headers", "--no-ws-per-message-deflate").settings.proxy_headers is False


def test_every_row_has_a_help_text_a_flag_and_a_default_of_its_kind() -> None:
    flags = flag_names()
    assert len(rows()) > 90
    for name, row in rows().items():
        assert row.help, name
        assert row.help == row.help.strip(), name
        assert row.file_only or name == "app" or flags[flag_of(name)] == name
        default = defaults()[name]
        if default not in (None, "", ()) and name != "bind":
            written = row.kind.parse(default if isinstance(default, int | float | tuple) else str(default))
            assert written == default or row.kind.metavar == "SIZE", name


def test_no_two_settings_share_a_spelling() -> None:
    seen: dict[str, str] = {}
    for name, row in rows().items():
        for spelling in (flag_of(name), row.short, *row.flags):
            assert seen.setdefault(spelling, name) == name or not spelling, spelling


def test_settings_that_are_not_available_default_to_what_the_server_does() -> None:
    # A marker that also refuses the default would refuse every start.
    for name, row in rows().items():
        assert defaults()[name] not in row.later or LATER in row.later
