"""TLS settings: what is accepted from which source, what is refused with which line, and what is never shown."""

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ferrule.cli import parse
from ferrule.config import Settings
from ferrule.config.load import Loaded, load
from ferrule.config.settings import show
from ferrule.config.tls import CIPHERS_EXPECT, cipher_suites, protocol_of, speaks_tls
from ferrule.errors import ConfigError

Load = Callable[..., Loaded]
TLS13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """Settings as `server ARGUMENTS` reads them in a directory whose server.toml holds `toml`."""

    def read(*arguments: str, toml: str = "", env: Mapping[str, str] | None = None) -> Loaded:
        (tmp_path / "server.toml").write_text(toml)
        flags, config = parse(arguments)
        return load(flags, env or {}, str(tmp_path), config)

    return read


def error(read: Load, *arguments: str, toml: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        read(*arguments, toml=toml)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (("--ssl-certfile=x",), "certfile", "x"),
        (("--certfile=x", "--ssl-keyfile=y"), "keyfile", "y"),
        (("--certfile=x", "--ssl-keyfile-password=y"), "keyfile_password", "y"),
        (("--certfile=x", "--ssl-ca-certs=y", "--ssl-cert-reqs=2"), "ca_certs", "y"),
        (("--certfile=x", "--ca-certs=y", "--cert-reqs=1"), "client_cert", "optional"),
        (("--certfile=x", "--ca-certs=y", "--client-cert=required"), "client_cert", "required"),
        (("--certfile=x", "--tls-min-version=TLSv1.3"), "tls_min_version", "1.3"),
        (("--certfile=x", "--tls-handshake-timeout=2.5"), "tls_handshake_timeout", 2.5),
        (
            ("--certfile=x", "--ssl-ciphers=ECDHE-RSA-AES128-GCM-SHA256:TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
            "ciphers",
            ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"),
        ),
    ],
)
def test_flags_of_gunicorn_and_uvicorn_mean_the_same(
    read: Load, arguments: tuple[str, ...], name: str, value: object
) -> None:
    loaded = read(*arguments)
    assert getattr(loaded.settings, name) == value
    assert loaded.warnings == ()


def test_a_gunicorn_file_with_constants_of_the_ssl_module_is_understood(read: Load, tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(
        "import ssl\ncertfile = 'x'\nca_certs = 'y'\ncert_reqs = ssl.CERT_REQUIRED\nssl_version = ssl.PROTOCOL_TLS\n"
    )
    loaded = read("--config", "gunicorn.conf.py")
    assert loaded.settings.client_cert == "required"
    assert [warning.partition(":")[0] for warning in loaded.warnings] == ["gunicorn.conf.py"]
    assert "--tls-min-version" in loaded.warnings[0]


TABLES = """
[[tls]]
names = ["example.org", "*.Example.org."]
certfile = "org.pem"
keyfile = "org.key"
keyfile-password = "hunter2"
[[tls]]
names = "example.net"
certfile = "net.pem"
"""


def test_sni_tables_are_read_from_a_file(read: Load) -> None:
    settings = read(toml=TABLES).settings
    first, second = settings.tls
    assert first.names == ("example.org", "*.example.org")
    assert (first.certfile, first.keyfile, first.keyfile_password) == ("org.pem", "org.key", "hunter2")
    assert (second.names, second.keyfile) == (("example.net",), None)


def test_passwords_are_never_shown(read: Load) -> None:
    settings = read("--certfile=x", env={"FERRULE_KEYFILE_PASSWORD": "hunter2"}, toml=TABLES).settings
    assert show("keyfile_password", settings.keyfile_password) == "(set)"
    assert show("tls", settings.tls) == "example.org *.example.org (org.pem), example.net (net.pem)"
    broken = TABLES.replace('"example.net"', "7")
    assert "hunter2" not in error(read, toml=broken)
    assert "hunter2" not in error(read, toml="certfile = 'x'\nkeyfile-password = ['hunter2']")


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("tls = 5", "expected [[tls]] tables"),
        ("tls = [5]", "expected a table in [[tls]] number 1"),
        ("[[tls]]\nnames = ['a.example']", "expected a certfile in [[tls]] number 1"),
        ("[[tls]]\ncertfile = 'x'", "expected names, a list of host names, in [[tls]] number 1"),
        ("[[tls]]\nnames = []\ncertfile = 'x'", "expected names, a list of host names, in [[tls]] number 1"),
        (
            "[[tls]]\nnames = ['a b']\ncertfile = 'x'",
            "expected host names such as example.org or *.example.org as names in [[tls]] number 1, not 'a b'",
        ),
        ("[[tls]]\nnames = ['a.*.example']\ncertfile = 'x'", "not 'a.*.example'"),
        ("[[tls]]\nnames = ['a.example']\ncertfile = 5", "expected text as certfile in [[tls]] number 1"),
        (
            "[[tls]]\nnames = ['a.example']\ncert = 'x'",
            "expected the keys names, certfile, keyfile, keyfile-password in [[tls]] number 1, not 'cert'",
        ),
        (
            "[[tls]]\nnames = ['a.example']\ncertfile = 'x'\n[[tls]]\nnames = ['A.example']\ncertfile = 'y'",
            "expected each name in one [[tls]] table, a.example is in two places",
        ),
    ],
)
def test_a_broken_sni_table_is_one_line_that_says_what_is_expected(read: Load, table: str, complaint: str) -> None:
    message = error(read, toml=table)
    assert message.startswith("server.toml: tls: expected ")
    assert complaint in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--keyfile=x",), "--keyfile needs a certificate: give --certfile as well"),
        (("--keyfile-password=x",), "--keyfile-password needs a certificate: give --certfile as well"),
        (("-b", "a:1?tls=on"), "--bind: a:1?tls=on needs a certificate: give --certfile and --keyfile"),
        (("--client-cert=required",), "--client-cert required needs TLS: give --certfile and --keyfile"),
        (
            ("--certfile=x", "--client-cert=optional"),
            "--client-cert optional needs --ca-certs: the authorities that issue the certificates",
        ),
        (("-b", "a:1?tls=maybe"), "--bind: expected tls=off or on, got 'a:1?tls=maybe'"),
        (("-b", "a:1?http=3"), "--bind: expected http=1 or 2 or auto, got 'a:1?http=3'"),
        (("-b", "a:1", "-b", "a:1?tls=off"), "--bind: a:1 is given twice"),
        (
            ("--certfile=x", "--ciphers=HIGH:!aNULL"),
            f"--ciphers: expected {CIPHERS_EXPECT}, got 'HIGH:!aNULL'",
        ),
        (("--certfile=x", "--tls-min-version=1.1"), "--tls-min-version: expected 1.2 or 1.3, got '1.1'"),
    ],
)
def test_settings_that_contradict_each_other_are_one_line(read: Load, arguments: tuple[str, ...], message: str) -> None:
    assert error(read, *arguments) == message


def test_suites_that_nobody_should_use_are_left_out_with_a_warning(read: Load) -> None:
    loaded = read("--certfile=x", "--ciphers=ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256")
    assert cipher_suites(loaded.settings) == ("ECDHE-RSA-AES128-GCM-SHA256", *TLS13)
    assert loaded.warnings == ("--ciphers: not offered: DHE-RSA-AES128-GCM-SHA256",)
    message = error(read, "--certfile=x", "--ciphers=AES128-SHA:RC4-SHA")
    assert message.startswith("--ciphers: none of these suites is offered; there are ECDHE-")


def test_naming_a_suite_of_tls_1_3_leaves_only_those_named(read: Load) -> None:
    assert cipher_suites(read("--certfile=x", "--ciphers=TLS_AES_128_GCM_SHA256").settings) == (
        "TLS_AES_128_GCM_SHA256",
    )
    assert cipher_suites(read("--certfile=x").settings) == ()


def test_authorities_that_nothing_uses_are_warned_of(read: Load) -> None:
    (warning,) = read("--certfile=x", "--ca-certs=y").warnings
    assert warning == "--ca-certs is not used: clients are asked for certificates with --client-cert"


def _spoken(settings: Settings) -> list[tuple[bool, str]]:
    return [(speaks_tls(settings, bind), protocol_of(settings, bind)) for bind in settings.bind]


def test_each_listener_speaks_what_it_says_or_else_what_the_certificate_says(read: Load) -> None:
    binds = ("-b", "a:1", "-b", "a:2?tls=off", "-b", "a:3?tls=on&http=1", "-b", "unix:/x?http=2&mode=600")
    assert _spoken(read(*binds, "--certfile=x", "--http=1").settings) == [
        (True, "1"),
        (False, "1"),
        (True, "1"),
        (True, "2"),
    ]
    assert _spoken(read("-b", "a:1", "-b", "a:2?tls=off&http=2").settings) == [(False, "auto"), (False, "2")]
    assert _spoken(read("-b", "a:1", toml=TABLES).settings) == [(True, "auto")]


def test_constants_of_the_ssl_module_have_the_meaning_that_the_table_gives_them() -> None:
    assert [int(each) for each in (ssl.CERT_NONE, ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED)] == [0, 1, 2]
