"""TLS as whoever runs a server meets it: what is spoken, what is presented to whom, what is said when it is wrong."""

import json
import os
import pwd
import re
import ssl
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tests.support.server import ServerProcess, run_to_exit
from tests.support.tls import Authority, CertificateFiles, encoded, handshake, presented, s_client

Serve = Callable[..., ServerProcess]
APP = "tests.apps.secure:wsgi"
APPS = pytest.mark.parametrize("app", ["tests.apps.secure:asgi", "tests.apps.secure:wsgi"])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def site(tmp_path: Path) -> Authority:
    """An authority whose files a test may spoil."""
    return Authority(tmp_path)


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[ServerProcess]:
    """Serves an ECDSA certificate, and an RSA one to those who ask for rsa.example."""
    rsa = authority.issue("rsa.example", stem="rsa", rsa=True)
    config = authority.directory / "server.toml"
    config.write_text(f"[[tls]]\nnames = ['rsa.example']\ncertfile = '{rsa.certfile}'\nkeyfile = '{rsa.keyfile}'\n")
    with ServerProcess("-w", "1", "-c", str(config), *authority.issue().flags, APP) as running:
        running.wait_for_log("Worker ready")
        yield running


def get(url: str, context: ssl.SSLContext) -> dict[str, str]:
    answer: dict[str, str] = httpx.get(url, verify=context, timeout=30).json()
    return answer


def addresses(server: ServerProcess) -> list[tuple[str, tuple[str, int]]]:
    """Scheme and address of every TCP listener, in order."""
    found = re.findall(r"Listening url=(https?)://([\d.]+):(\d+)", server.stderr)
    return [(scheme, (host, int(port))) for scheme, host, port in found]


# What is spoken


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(server: ServerProcess, authority: Authority, version: ssl.TLSVersion) -> None:
    context = authority.client()
    context.minimum_version = context.maximum_version = version
    with handshake(server.address, context) as connection:
        assert connection.version() == version.name.replace("_", ".")
        assert connection.compression() is None


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_older_versions_are_refused_by_an_alert(server: ServerProcess, version: str) -> None:
    said = s_client(server.address, version, "-cipher", "ALL:@SECLEVEL=0")
    # Which alert it is depends on what else an old client's hello lacks.
    assert re.search("alert (protocol version|handshake failure)", said), said
    assert "BEGIN CERTIFICATE" not in said


def suites_accepted(address: tuple[str, int], authority: Authority, name: str) -> set[str]:
    """Every suite of TLS 1.2 that OpenSSL knows and the server takes."""
    every = authority.client()
    every.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    accepted = set()
    for suite in (each["name"] for each in every.get_ciphers() if each["protocol"] != "TLSv1.3"):
        context = authority.client()
        context.set_ciphers(f"{suite}:@SECLEVEL=0")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            with handshake(address, context, name) as connection:
                chosen = connection.cipher()
        except (ssl.SSLError, ConnectionError):
            continue
        assert chosen is not None
        accepted.add(chosen[0])
    return accepted


@pytest.mark.parametrize(("name", "key"), [("127.0.0.1", "ECDSA"), ("rsa.example", "RSA")])
def test_only_suites_with_forward_secrecy_and_authenticated_encryption_are_offered(
    server: ServerProcess, authority: Authority, name: str, key: str
) -> None:
    assert suites_accepted(server.address, authority, name) == {
        f"ECDHE-{key}-AES128-GCM-SHA256",
        f"ECDHE-{key}-AES256-GCM-SHA384",
        f"ECDHE-{key}-CHACHA20-POLY1305",
    }


def test_openssl_verifies_the_chain_and_finds_neither_compression_nor_renegotiation(
    server: ServerProcess, authority: Authority
) -> None:
    # "R" asks OpenSSL to renegotiate (CVE-2009-3555 and the cost of handshakes a client can ask for).
    arguments = ("-CAfile", str(authority.ca_certs), "-tls1_2", "-comp", "-verify_return_error")
    said = s_client(server.address, *arguments, send="R\n")
    assert "Verify return code: 0 (ok)" in said
    assert said.count("BEGIN CERTIFICATE") == 1
    assert "Certificate chain\n 0 s:" in said
    assert "\n 1 s:" in said, "the intermediate is sent along"
    assert "Compression: NONE" in said
    assert "Secure Renegotiation IS supported" in said
    assert "RENEGOTIATING" in said
    assert re.search("no renegotiation|handshake failure|unexpected message|unexpected eof", said), said


def test_a_least_version_and_chosen_suites_narrow_what_is_offered(serve: Serve, authority: Authority) -> None:
    files = authority.issue(stem="narrow")
    strict = serve("-w", "1", *files.flags, "--tls-min-version", "1.3", APP)
    strict.wait_for_log("Worker ready")
    older = authority.client()
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"), handshake(strict.address, older):
        pass
    assert presented(strict.address, authority.client()) == files.serial

    narrow = serve("-w", "1", *files.flags, "--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384", APP)
    narrow.wait_for_log("Worker ready")
    assert suites_accepted(narrow.address, authority, "127.0.0.1") == {"ECDHE-ECDSA-AES256-GCM-SHA384"}
    with handshake(narrow.address, authority.client()) as connection:
        assert connection.version() == "TLSv1.3", "the list is about TLS 1.2"


# What is presented to whom


def test_a_host_name_chooses_its_certificate_and_others_get_the_default(serve: Serve, site: Authority) -> None:
    default = site.issue("127.0.0.1", "unknown.example", "deep.sub.example.org")
    named = site.issue("example.org", stem="named")
    wild = site.issue("*.example.org", stem="wild", password="open")
    (site.directory / "server.toml").write_text(
        "[[tls]]\nnames = ['example.org']\ncertfile = 'named.pem'\nkeyfile = 'named.key'\n"
        "[[tls]]\nnames = '*.example.org'\ncertfile = 'wild.pem'\nkeyfile = 'wild.key'\nkeyfile-password = 'open'\n"
    )
    (site.directory / "web.py").write_text("from tests.apps.secure import wsgi as app\n")
    path = {"PYTHONPATH": os.getcwd()}
    server = serve("-w", "1", "--certfile=server.pem", "--keyfile=server.key", "web:app", cwd=site.directory, env=path)
    server.wait_for_log("Worker ready")
    context = site.client()
    expected = {
        "127.0.0.1": default,
        "unknown.example": default,
        "deep.sub.example.org": default,
        "example.org": named,
        "www.example.org": wild,
        "WWW.Example.ORG": wild,
    }
    for name, files in expected.items():
        assert presented(server.address, context, name) == files.serial, name


def test_listeners_of_one_server_speak_what_their_options_say(serve: Serve, authority: Authority) -> None:
    binds = [f"127.0.0.1:0{options}" for options in ("", "?tls=off", "?http=1", "?tls=on&http=2")]
    arguments = [argument for bind in binds for argument in ("-b", bind)]
    server = serve("-w", "1", *arguments, *authority.issue(stem="several").flags, APP)
    server.wait_for_log("Worker ready")
    listeners = addresses(server)
    assert [scheme for scheme, _ in listeners] == ["https", "http", "https", "https"]
    chosen = []
    for scheme, address in listeners:
        url = f"{scheme}://{address[0]}:{address[1]}/"
        if scheme == "https":
            with handshake(address, authority.client(alpn=("h2", "http/1.1"))) as connection:
                chosen.append(connection.selected_alpn_protocol())
        with httpx.Client(http1=True, http2=True, verify=authority.client(), timeout=30) as client:
            assert client.get(url).json()["scheme"] == scheme
    assert chosen == ["h2", "http/1.1", "h2"]
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        with handshake(listeners[3][1], authority.client(alpn=("http/1.1",))):
            pass


def test_a_unix_socket_speaks_tls_too(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = serve("-w", "1", "-b", f"unix:{path}", *authority.issue(stem="unix").flags, APP)
    server.wait_for_log(rf"Listening url=unix:{re.escape(str(path))} tls=on")
    server.wait_for_log("Worker ready")
    transport = httpx.HTTPTransport(uds=str(path), verify=authority.client())
    with httpx.Client(transport=transport, timeout=30) as client:
        assert client.get("https://localhost/").json()["scheme"] == "https"


@APPS
def test_a_required_client_certificate_is_checked_and_shown_to_the_application(
    serve: Serve, authority: Authority, tmp_path: Path, app: str
) -> None:
    flags = ("--ca-certs", str(authority.ca_certs), "--client-cert", "required")
    server = serve("-w", "1", *authority.issue(stem="required").flags, *flags, app)
    server.wait_for_log("Worker ready")
    known = authority.issue("alice@example.org", stem="alice", common_name="Alice")
    answer = get(server.url, authority.client(known))
    assert answer["scheme"] == "https"
    assert "CN=Alice" in answer["client"]
    stranger = Authority(tmp_path).issue("eve@example.org", stem="eve")
    expired = authority.issue("old@example.org", stem="old", ends=timedelta(days=-1))
    for identity in (None, stranger, expired):
        with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
            get(server.url, authority.client(identity))


@APPS
def test_an_optional_client_certificate_may_be_missing_but_not_wrong(
    serve: Serve, authority: Authority, tmp_path: Path, app: str
) -> None:
    flags = ("--ca-certs", str(authority.ca_certs), "--client-cert", "optional")
    server = serve("-w", "1", *authority.issue(stem="optional").flags, *flags, app)
    server.wait_for_log("Worker ready")
    assert get(server.url, authority.client())["client"] in {None, ""}
    known = authority.issue("bob@example.org", stem="bob", common_name="Bob")
    assert "CN=Bob" in get(server.url, authority.client(known))["client"]
    stranger = Authority(tmp_path).issue("eve@example.org", stem="eve")
    with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
        get(server.url, authority.client(stranger))


# Keys and who may read them


def test_an_encrypted_key_opens_with_its_password_from_the_environment(serve: Serve, site: Authority) -> None:
    files = site.issue(password="correct horse")
    server = serve("-w", "1", *files.flags, APP, env={"FERRULE_KEYFILE_PASSWORD": "correct horse"})
    assert get(server.url, site.client())["scheme"] == "https"
    assert "correct horse" not in server.stderr
    assert "WARNING" not in server.stderr


def test_a_certificate_and_its_key_may_share_a_file(serve: Serve, site: Authority) -> None:
    files = site.issue()
    files.keyfile.write_bytes(files.keyfile.read_bytes() + files.certfile.read_bytes())
    server = serve("-w", "1", "--certfile", str(files.keyfile), APP)
    assert presented(server.address, site.client()) == files.serial


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run workers as somebody else")
def test_workers_that_may_not_read_the_key_serve_with_it(serve: Serve, site: Authority) -> None:
    files = site.issue()
    for path in (*files, site.ca_certs):
        path.chmod(0o600)
    (site.directory / "web.py").write_text(
        "import os\ndef app(environ, start_response):\n    start_response('200 OK', [])\n"
        f"    return [f'{{os.getuid()}} {{os.access({str(files.keyfile)!r}, os.R_OK)}}'.encode()]\n"
    )
    for directory in (site.directory, *list(site.directory.parents)[:2]):
        directory.chmod(0o755)
    server = serve("-w", "1", "-u", "nobody", *files.flags, "web:app", cwd=site.directory, ready=False)
    server.wait_for_log("Worker ready|cannot be imported|Permission")
    if "Worker ready" not in server.stderr:
        pytest.skip("the interpreter is installed where only its owner can read it")
    context = site.client()
    assert httpx.get(server.url, verify=context, timeout=30).text == f"{pwd.getpwnam('nobody').pw_uid} False"
    site.issue()
    server.wait_for_log("Certificates replaced")


# What is said


def test_the_life_of_a_certificate_and_an_exposed_key_are_worth_a_warning(serve: Serve, site: Authority) -> None:
    over = site.issue(stem="over", ends=timedelta(days=-2))
    ending = site.issue("ending.example", stem="ending", ends=timedelta(days=13, hours=12))
    lasting = site.issue("lasting.example", stem="lasting", ends=timedelta(days=15))
    lasting.keyfile.chmod(0o644)
    config = site.directory / "server.toml"
    tables = "".join(
        f"[[tls]]\nnames = ['{name}.example']\ncertfile = '{files.certfile}'\nkeyfile = '{files.keyfile}'\n"
        for name, files in (("ending", ending), ("lasting", lasting))
    )
    config.write_text(tables)
    server = serve("-w", "1", "-c", str(config), *over.flags, APP)
    server.wait_for_log("Worker ready")
    warnings = [line for line in server.stderr.splitlines() if "WARNING" in line]
    day = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert len(warnings) == 3
    assert warnings[0] == f"[WARNING] Private key can be read by every user keyfile={lasting.keyfile}"
    assert re.fullmatch(rf"\[WARNING\] Certificate has expired certfile={over.certfile} expires={day}", warnings[1])
    assert re.fullmatch(rf"\[WARNING\] Certificate expires soon certfile={ending.certfile} expires={day}", warnings[2])
    assert presented(server.address, site.client(), "ending.example") == ending.serial


def test_status_shows_the_url_and_when_the_certificate_expires(serve: Serve, site: Authority, tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    env = {"XDG_RUNTIME_DIR": str(runtime)}
    files = site.issue(ends=timedelta(days=40, hours=1))
    server = serve("-w", "1", *files.flags, "--health-path", "/up", APP, env=env)
    server.wait_for_log("Worker ready")
    assert server.url.startswith("https://")
    assert httpx.get(f"{server.url}/up", verify=site.client(), timeout=30).status_code == 200
    result = run_to_exit("status", env=env)
    assert f"{APP}  {server.url}" in result.stdout
    assert f"certificate {files.certfile} expires in 40d" in result.stdout


def test_check_shows_the_certificate_but_never_the_password(site: Authority) -> None:
    files = site.issue(password="hunter2")
    result = run_to_exit("check", *files.flags, "--keyfile-password", "hunter2", APP)
    assert result.returncode == 0, result.stderr
    assert re.search(r"^certificate += .*server\.pem \(expires \d{4}-", result.stdout, re.MULTILINE)
    assert re.search(r"^keyfile-password += \(set\) ", result.stdout, re.MULTILINE)
    assert "hunter2" not in result.stdout + result.stderr
    result = run_to_exit("check", *files.flags, "--keyfile-password", "wrong", APP)
    assert (result.returncode, "the password does not open the private key" in result.stderr) == (2, True)


def _mismatch(site: Authority, files: CertificateFiles) -> str:
    site.issue(stem="other").keyfile.replace(files.keyfile)
    return f"--keyfile: {files.keyfile}: the private key does not match the certificate {files.certfile}"


def _no_certificate_file(site: Authority, files: CertificateFiles) -> str:
    files.certfile.unlink()
    return f"--certfile: cannot read {files.certfile}: No such file or directory"


def _key_is_a_directory(site: Authority, files: CertificateFiles) -> str:
    files.keyfile.unlink()
    files.keyfile.mkdir()
    return f"--keyfile: cannot read {files.keyfile}: Is a directory"


def _certificate_is_der(site: Authority, files: CertificateFiles) -> str:
    leaf = files.certfile.read_text().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    files.certfile.write_bytes(ssl.PEM_cert_to_DER_cert(leaf))
    return f"--certfile: {files.certfile}: no certificate in the certificate file (PEM is expected)"


def _certificate_is_damaged(site: Authority, files: CertificateFiles) -> str:
    lines = files.certfile.read_text().splitlines(keepends=True)
    files.certfile.write_text("".join(lines[:3] + lines[5:]))
    return f"--certfile: {files.certfile}: the certificate "


def _key_is_a_certificate(site: Authority, files: CertificateFiles) -> str:
    files.keyfile.write_bytes(files.certfile.read_bytes())
    return f"--keyfile: {files.keyfile}: no private key in the key file (PEM is expected)"


def _key_is_damaged(site: Authority, files: CertificateFiles) -> str:
    files.keyfile.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    return f"--keyfile: {files.keyfile}: the private key is of no usable kind"


def _no_password(site: Authority, files: CertificateFiles) -> str:
    files.keyfile.write_bytes(encoded(files.keyfile.read_bytes(), "secret"))
    return (
        f"--keyfile: {files.keyfile}: the private key is encrypted and there is no password for it: "
        "give --keyfile-password"
    )


def _old_encryption(site: Authority, files: CertificateFiles) -> str:
    files.keyfile.write_bytes(encoded(files.keyfile.read_bytes(), "secret", legacy=True))
    return (
        f"--keyfile: {files.keyfile}: the private key is encrypted in OpenSSL's old format: "
        "convert it with `openssl pkcs8 -topk8`"
    )


SPOILERS = (
    _mismatch,
    _no_certificate_file,
    _key_is_a_directory,
    _certificate_is_der,
    _certificate_is_damaged,
    _key_is_a_certificate,
    _key_is_damaged,
    _no_password,
    _old_encryption,
)


@pytest.mark.parametrize("spoil", SPOILERS)
def test_what_is_wrong_with_certificate_or_key_is_one_line_and_exit_2(
    site: Authority, spoil: Callable[[Authority, CertificateFiles], str]
) -> None:
    files = site.issue()
    complaint = spoil(site, files)
    result = run_to_exit("-w", "1", "--bind", "127.0.0.1:0", *files.flags, APP)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith(f"[ERROR] {complaint}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_wrong_password_and_authorities_without_any_are_exit_2_in_the_background_as_well(site: Authority) -> None:
    files = site.issue(password="right")
    bind = ("-D", "-w", "1", "--bind", "127.0.0.1:0")
    result = run_to_exit(*bind, *files.flags, "--keyfile-password", "wrong", APP)
    assert result.returncode == 2
    assert result.stderr.startswith(f"[ERROR] --keyfile: {files.keyfile}: the password does not open the private key")
    assert result.stderr.count("\n") == 1
    empty = site.directory / "empty.pem"
    empty.touch()
    flags = ("--client-cert", "required", "--ca-certs", str(empty))
    result = run_to_exit(*bind, *site.issue().flags, *flags, APP)
    assert result.returncode == 2
    assert result.stderr == f"[ERROR] --ca-certs: {empty}: no usable certificate in the file (PEM is expected)\n"


@pytest.mark.parametrize("table", ["second.key", "first.key"])
def test_a_mistake_in_an_sni_table_is_named_with_its_number(site: Authority, table: str) -> None:
    site.issue("first.example", stem="first")
    site.issue("second.example", stem="second")
    config = site.directory / "server.toml"
    config.write_text(
        "[[tls]]\nnames = ['first.example']\ncertfile = 'first.pem'\nkeyfile = 'first.key'\n"
        f"[[tls]]\nnames = ['second.example']\ncertfile = 'second.pem'\nkeyfile = '{table}'\n"
    )
    (site.directory / "web.py").write_text("def app(environ, start_response): ...\n")
    result = run_to_exit("check", "-c", "server.toml", "web:app", cwd=site.directory)
    if table == "second.key":
        assert result.returncode == 0, result.stderr
    else:
        assert result.returncode == 2
        wrong = (
            "server.toml: tls number 2: keyfile: first.key: the private key does not match the certificate second.pem"
        )
        assert result.stderr == f"[ERROR] {wrong}\n"


def test_plain_json_of_both_applications_is_the_same_shape(serve: Serve) -> None:
    for app in ("tests.apps.secure:asgi", "tests.apps.secure:wsgi"):
        server = serve("-w", "1", app)
        assert json.loads(httpx.get(server.url, timeout=30).text) == {"scheme": "http", "client": None}
