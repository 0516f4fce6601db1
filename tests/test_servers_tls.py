"""TLS of the other servers: what the settings demand is demanded on the wire, or nothing is served."""

import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support.server import ServerProcess, wait_until
from tests.support.tls import Authority

Serve = Callable[..., ServerProcess]

PEERS = ("granian", "uvicorn", "hypercorn")
APP = "tests.apps.anywhere:asgi"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def scheme(server: ServerProcess, context: ssl.SSLContext) -> str:
    """What the application was told, or "" while nobody can be talked to."""
    try:
        return httpx.get(f"{server.url}/scheme", verify=context, timeout=20).text
    except httpx.TransportError:
        return ""


@pytest.mark.parametrize("name", PEERS)
def test_clients_without_a_certificate_stay_out_where_one_is_required(
    name: str, serve: Serve, authority: Authority
) -> None:
    server = serve(
        *("--server", name, "-w", "1", *authority.issue().flags),
        *("--ca-certs", str(authority.ca_certs), "--client-cert", "required", APP),
    )
    known = authority.client(authority.issue("someone@example.org", stem="client"))
    wait_until(lambda: scheme(server, known) == "https", timeout=30, message="a client with its certificate is served")
    assert server.url.startswith("https://")
    assert scheme(server, authority.client()) == ""


@pytest.mark.parametrize("name", PEERS)
def test_a_certificate_whose_key_is_in_the_same_file_is_served(name: str, serve: Serve, authority: Authority) -> None:
    files = authority.issue(stem="parts")
    combined = Path(files.certfile).with_name("combined.pem")
    combined.write_bytes(files.keyfile.read_bytes() + files.certfile.read_bytes())
    server = serve("--server", name, "-w", "1", "--certfile", str(combined), APP)
    wait_until(lambda: scheme(server, authority.client()) == "https", timeout=30, message="an answer over TLS")


@pytest.mark.parametrize("name", ["granian", "uvicorn"])
def test_older_tls_than_asked_for_is_not_spoken(name: str, serve: Serve, authority: Authority) -> None:
    server = serve("--server", name, "-w", "1", *authority.issue().flags, "--tls-min-version", "1.3", APP)
    wait_until(lambda: scheme(server, authority.client()) == "https", timeout=30, message="an answer over TLS 1.3")
    old = authority.client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert scheme(server, old) == ""
