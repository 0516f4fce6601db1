"""What other servers make of Ferrule's settings: the tables say it, and what a server is run with bears them out."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ferrule.config import Loaded, Settings, parse_bind
from ferrule.config.settings import rows
from ferrule.config.tls import TlsTable
from ferrule.errors import ConfigError
from ferrule.logs import Log
from ferrule.servers.docs import PEERS
from ferrule.servers.granian import GranianServer, behind_proxies, trusted_proxies
from ferrule.servers.honours import AROUND, Outcome, Rule
from ferrule.servers.hypercorn import HypercornServer
from ferrule.servers.peer import PeerServer, Serving
from ferrule.servers.ports import ServerConfig
from ferrule.servers.uvicorn import UvicornServer
from tests.support.server import REPOSITORY, run_to_exit

# Of every kind of setting a value that is not its default.
SAMPLES: dict[str, Any] = {
    "root_path": "/api",
    "lifespan": "off",
    "backlog": 321,
    "threads": 7,
    "timeout": 17.0,
    "graceful_timeout": 6.5,
    "worker_boot_timeout": 19.0,
    "keep_alive": 3.2,
    "header_timeout": 2.5,
    "connections": 123,
    "limit_concurrency": 45,
    "limit_request_head": 20_000,
    "limit_request_body": 30_000,
    "max_requests": 99,
    "max_requests_jitter": 11,
    "max_worker_memory": 300 << 20,
    "worker_lifetime": 90.5,
    "http": "1",
    "h2_max_streams": 33,
    "h2_window": 70_000,
    "h2_connection_window": 90_000,
    "h2_max_frame_size": 20_000,
    "h2_max_header_list": 30_000,
    "server_header": False,
    "date_header": False,
    "header": (("X-A", "b"),),
    "certfile": "cert.pem",
    "keyfile": "key.pem",
    "keyfile_password": "secret",
    "ca_certs": "ca.pem",
    "client_cert": "required",
    "ciphers": ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"),
    "tls_min_version": "1.3",
    "tls_handshake_timeout": 4.0,
    "ws_max_size": 1000,
    "ws_max_queue": 5,
    "ws_ping_interval": 7.0,
    "ws_ping_timeout": 8.0,
    "ws_per_message_deflate": False,
    "proxy_headers": False,
    "forwarded_allow_ips": ("10.0.0.0/8",),
    "static": ("/static=files",),
    "access_log": False,
    "access_log_file": "access.log",
    "log_level": "debug",
    "log_file": "server.log",
    "log_config": "logging.ini",
    "metrics_bind": parse_bind("127.0.0.1:9000"),
    "reload": True,
    "reload_dir": ("src",),
    "reload_include": ("*.html",),
    "reload_exclude": ("*.tmp",),
}
# Settled by Ferrule before the server is run (addresses, privileges, loops), and seen by test_servers.py and
# test_loops.py; or the same table under another name.
ELSEWHERE = {"bind", "loop", "user", "group", "granian", "uvicorn", "hypercorn"}
# Honoured by what the server does anyway, or by what wraps the application (test_servers.py).
NOTHING_TO_PASS = {
    *((peer, "asgi", "threads") for peer in ("granian", "uvicorn", "hypercorn")),
    *(("granian", interface, "proxy_headers") for interface in ("asgi", "wsgi")),
    *(("granian", interface, "forwarded_allow_ips") for interface in ("asgi", "wsgi")),
    *((peer, interface, "forwarded") for peer in ("granian", "uvicorn") for interface in ("asgi", "wsgi")),
    *(("uvicorn", interface, "http") for interface in ("asgi", "wsgi")),
    *(("hypercorn", interface, "tls_min_version") for interface in ("asgi", "wsgi")),
    *(("hypercorn", interface, "access_log_format") for interface in ("asgi", "wsgi")),
    ("granian", "wsgi", "lifespan"),
    ("hypercorn", "asgi", "lifespan"),
    ("hypercorn", "wsgi", "lifespan"),
}


def config_of(log: Any = None, interface: Any = "asgi", **given: Any) -> ServerConfig:
    settings = Settings(app="main:app", **{"interface": interface, **given})
    origins = {name: f"--{name.replace('_', '-')}" if name in given else "default" for name in rows()}
    loaded = Loaded(settings, origins)
    return ServerConfig(loaded, lambda: loaded, "/", log or Log("critical"))


def given_to(server: PeerServer, config: ServerConfig, interface: str) -> dict[str, str]:
    """What the server would be run with, by the server's own names."""
    serving = Serving(config, {**AROUND, **server.rules}, interface, 1)
    if isinstance(server, GranianServer):
        arguments = server._arguments(serving, parse_bind("127.0.0.1:8000"))
    elif isinstance(server, UvicornServer):
        arguments = server._arguments(serving)
    else:
        assert isinstance(server, HypercornServer)
        arguments = vars(server._config(serving, []))
    return {name: repr(value) for name, value in arguments.items() if name != "app"}


def claims() -> Iterator[tuple[type[PeerServer], str, str]]:
    """Every cell of the tables that says a value goes to the server, for both interfaces."""
    for peer in PEERS:
        for name, rule in peer.rules.items():
            for interface in ("asgi", "wsgi"):
                cell = rule.wsgi if rule.wsgi is not None and interface == "wsgi" else rule
                passes = cell.outcome in (Outcome.HONOURED, Outcome.MAPPED)
                if passes and name not in ELSEWHERE and (peer.name, interface, name) not in NOTHING_TO_PASS:
                    yield peer, interface, name


@pytest.mark.parametrize(("peer", "interface", "name"), list(claims()))
def test_a_setting_that_is_honoured_reaches_the_server(peer: type[PeerServer], interface: str, name: str) -> None:
    # A key goes with its certificate.
    around: dict[str, Any] = {"certfile": "cert.pem"} if name == "keyfile" else {}
    without = given_to(peer(), config_of(interface=interface, **around), interface)
    assert given_to(peer(), config_of(interface=interface, **around, **{name: SAMPLES[name]}), interface) != without


@pytest.mark.parametrize("peer", PEERS)
def test_what_was_not_given_stays_at_the_other_servers_default(peer: type[PeerServer]) -> None:
    """Only the command itself is passed on: application, address, workers, logs, lifespan."""
    mine = {
        *("target", "interface", "workers", "loop", "log_access", "log_level", "log_dictconfig", "address", "port"),
        *("http1_settings", "http2_settings", "reload", "app", "factory", "lifespan", "access_log", "log_config"),
        *("_bind", "use_reloader", "errorlog", "accesslog", "loglevel"),
    }
    assert given_to(peer(), config_of(), "asgi").keys() <= mine


@pytest.mark.parametrize("peer", PEERS)
def test_tables_name_settings_that_exist(peer: type[PeerServer]) -> None:
    assert peer.rules.keys() <= rows().keys()
    assert AROUND.keys() <= rows().keys()


@pytest.mark.parametrize("peer", PEERS)
def test_every_refusal_says_why(peer: type[PeerServer]) -> None:
    for name, rule in peer.rules.items():
        if Outcome.REFUSED in (rule.outcome, rule.otherwise if rule.values else None):
            assert rule.note, name


@pytest.mark.parametrize("peer", PEERS)
def test_a_listener_that_is_to_differ_from_the_others_is_refused(peer: type[PeerServer]) -> None:
    with pytest.raises(ConfigError, match=rf"^--bind: 127.0.0.1:0\?tls=off: {peer.name} speaks the same on every"):
        peer().check(config_of(certfile="c.pem", bind=(parse_bind("127.0.0.1:0?tls=off"),)))


@pytest.mark.parametrize("peer", PEERS)
def test_what_protects_is_refused_where_it_cannot_be_had(peer: type[PeerServer]) -> None:
    dangers: dict[str, Any] = {
        "limit_request_body": 1000,
        "secure_scheme_header": (("X-Ssl", "on"),),
        "proxy_protocol": True,
        "tls": (TlsTable(("a",), "cert.pem"),),
    }
    if peer is HypercornServer:  # which trusts no proxy, so that nothing can be narrowed
        dangers |= {"forwarded_allow_ips": ("*",), "tls_min_version": "1.3", "limit_concurrency": 5}
    else:
        dangers |= {"trust_forwarded": ("for",), "forwarded": "rfc7239"}
    for name, value in dangers.items():
        with pytest.raises(ConfigError) as caught:
            peer().check(config_of(**{name: value}))
        line = str(caught.value)
        assert line.startswith(f"--{name.replace('_', '-')}: {peer.name} cannot do this"), line
        assert caught.value.exit_code == 2
    peer().check(config_of(limit_request_body=0, proxy_protocol=False, proxy_headers=False))


def test_client_certificates_are_demanded_or_nothing_is_served() -> None:
    with pytest.raises(ConfigError, match="it asks all clients or none"):
        GranianServer().check(config_of(certfile="c.pem", ca_certs="ca.pem", client_cert="optional"))
    with pytest.raises(ConfigError, match="without ca-certs granian would let everybody in"):
        GranianServer().check(config_of(certfile="c.pem", client_cert="required"))
    for peer in PEERS:
        peer().check(config_of(certfile="c.pem", ca_certs="ca.pem", client_cert="required"))


def test_a_certificate_without_a_key_file_of_its_own_is_never_served_in_clear_text() -> None:
    """Granian and Hypercorn leave TLS off unless both are there; a PEM file may hold both."""
    assert "combined.pem" in given_to(GranianServer(), config_of(certfile="combined.pem"), "asgi")["ssl_key"]
    assert "combined.pem" in given_to(HypercornServer(), config_of(certfile="combined.pem"), "asgi")["keyfile"]


@pytest.mark.parametrize(("peer", "name"), [(UvicornServer, "ssl_ciphers"), (HypercornServer, "ciphers")])
def test_cipher_suites_are_written_as_openssl_reads_them(peer: type[PeerServer], name: str) -> None:
    config = config_of(certfile="c.pem", ciphers=SAMPLES["ciphers"])
    assert given_to(peer(), config, "asgi")[name] == repr(":".join(SAMPLES["ciphers"]))


@pytest.mark.parametrize("peer", PEERS)
def test_one_warning_names_all_that_cannot_be_honoured(peer: type[PeerServer], tmp_path: Path) -> None:
    log = Log(path=str(tmp_path / "log"))
    peer().check(config_of(log, request_timeout=5.0, health_path="/health", body_min_rate=10, workers=2))
    assert (tmp_path / "log").read_text() == (
        f"[WARNING] {peer.name} cannot honour --request-timeout, --body-min-rate, --health-path; see docs/servers.md\n"
    )


@pytest.mark.parametrize("peer", PEERS)
def test_switching_off_what_a_server_has_not_got_is_no_warning(peer: type[PeerServer], tmp_path: Path) -> None:
    log = Log(path=str(tmp_path / "log"))
    peer().check(
        config_of(log, request_timeout=0.0, max_requests=0, worker_lifetime=0.0, health_path=None, debug=False)
    )
    assert (tmp_path / "log").read_text() == ""


def test_a_header_that_cannot_be_left_out_is_said(tmp_path: Path) -> None:
    log = Log(path=str(tmp_path / "log"))
    GranianServer().check(config_of(log, server_header=False))
    assert "granian cannot honour --server-header;" in (tmp_path / "log").read_text()


def test_a_rule_may_hold_for_some_values_and_for_wsgi_alone() -> None:
    some = Rule(Outcome.HONOURED, values=("1",), otherwise=Outcome.REFUSED, wsgi=Rule(Outcome.NOT_HONOURED))
    assert some.of("1", "asgi") is Outcome.HONOURED
    assert some.of("2", "asgi") is Outcome.REFUSED
    assert some.of("2", "wsgi") is Outcome.NOT_HONOURED
    assert Rule(Outcome.REFUSED).of(0, "asgi") is Outcome.HONOURED
    assert Rule(Outcome.NOT_HONOURED, off=False).of(False, "asgi") is Outcome.NOT_HONOURED


@pytest.mark.parametrize(
    ("trusted", "seen"), [(("127.0.0.1",), ("203.0.113.7", "https")), (("198.51.100.1",), ("127.0.0.1", "http"))]
)
def test_granian_takes_forwarded_fields_from_trusted_proxies_only(
    trusted: tuple[str, ...], seen: tuple[str, str]
) -> None:
    config = config_of(forwarded_allow_ips=trusted)
    serving = Serving(config, {**AROUND, **GranianServer.rules}, "asgi", 1)
    heard: list[tuple[str, str]] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        heard.append((scope["client"][0], scope["scheme"]))

    wrapped = behind_proxies(lambda: app, "asgi", trusted_proxies(serving))
    fields = [(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https")]
    scope = {"type": "http", "client": ("127.0.0.1", 5), "scheme": "http", "headers": fields}
    asyncio.run(wrapped(scope, None, None))
    assert heard == [seen]


def test_granian_takes_forwarded_fields_from_nobody_unless_told_to() -> None:
    for config in (config_of(), config_of(proxy_headers=False, forwarded_allow_ips=("*",))):
        assert trusted_proxies(Serving(config, {**AROUND, **GranianServer.rules}, "asgi", 1)) is None


def test_granian_listens_on_one_address() -> None:
    with pytest.raises(ConfigError, match="--bind: granian listens on one address"):
        GranianServer().check(config_of(bind=(parse_bind("a:1"), parse_bind("a:2"))))
    with pytest.raises(ConfigError, match="--worker-lifetime: expected at least 60 s"):
        GranianServer().check(config_of(worker_lifetime=5.0))


@pytest.mark.parametrize(
    ("server", "table", "said"),
    [
        ("granian", {"runtime-thread": 1}, "granian has no such option: runtime-thread; did you mean runtime-threads?"),
        ("granian", {"runtime-mode": "turbo"}, "runtime-mode: expected one of auto, mt, st, got 'turbo'"),
        ("granian", {"runtime_threads": "two"}, "runtime_threads: expected int, got 'two'"),
        ("granian", {"runtime-threads": True}, "runtime-threads: expected int, got True"),
        ("granian", {"runtime-threads": 1, "runtime_threads": 2}, "runtime_threads: given twice"),
        ("granian", {"port": 1}, "port: cannot be set here, Ferrule's own settings decide it"),
        ("granian", {"http1-keep-alive": 3}, "http1-keep-alive: expected bool, got 3"),
        ("uvicorn", {"app": "x:y"}, "app: cannot be set here, Ferrule's own settings decide it"),
        ("uvicorn", {"timeout-notifi": 3}, "uvicorn has no such option: timeout-notifi; did you mean timeout-notify?"),
        ("hypercorn", {"max-app-queue-size": "x"}, "max-app-queue-size: expected int, got 'x'"),
        ("hypercorn", {"bind": ["x"]}, "bind: cannot be set here, Ferrule's own settings decide it"),
    ],
)
def test_options_are_checked_against_the_server(server: str, table: dict[str, Any], said: str) -> None:
    peer = next(peer for peer in PEERS if peer.name == server)
    with pytest.raises(ConfigError) as caught:
        peer().check(config_of(**{server: table}))
    assert str(caught.value) == f"--{server}: {said}"


def test_options_outrank_what_settings_map_to() -> None:
    table = {"backpressure": 9, "runtime-mode": "st", "http1-header-read-timeout": 77, "respawn-failed-workers": True}
    arguments = given_to(GranianServer(), config_of(connections=100, header_timeout=5.0, granian=table), "asgi")
    assert arguments["backpressure"] == "9"
    assert "st" in arguments["runtime_mode"]
    assert arguments["respawn_failed_workers"] == "True"
    assert "header_read_timeout=77" in arguments["http1_settings"]


def test_a_table_of_options_must_be_a_table(tmp_path: Path) -> None:
    (tmp_path / "server.toml").write_text("granian = 3\n")
    result = run_to_exit("check", "main:app", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (2, "[ERROR] server.toml: granian: expected a table, got 3\n")


def test_check_says_what_a_server_would_make_of_the_settings() -> None:
    app = "tests.apps.anywhere:asgi"
    result = run_to_exit("check", "--server", "uvicorn", "--request-timeout", "3", app)
    assert result.returncode == 0
    assert result.stderr == "[WARNING] uvicorn cannot honour --request-timeout; see docs/servers.md\n"
    result = run_to_exit("check", "--server", "uvicorn", "--limit-request-body", "3", app)
    assert result.returncode == 2
    assert result.stderr.startswith("[ERROR] --limit-request-body: uvicorn cannot do this")


def test_the_servers_page_is_that_of_the_tables() -> None:
    command = [sys.executable, "-m", "ferrule.servers.docs", "--check", "docs/servers.md"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
