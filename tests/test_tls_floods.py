"""TLS as a weapon: records that carry nothing and key updates without end are refused, and felt by nobody else."""

import contextlib
import ssl
from collections.abc import Callable, Iterator

import pytest

from tests.support.server import ServerProcess
from tests.support.tls import Authority
from tests.support.tls_records import ALERT, HANDSHAKE, RecordClient

ALLOWED_GROWTH = 16 << 20  # bytes
MOST = 20_000  # records that an attack sends, if it is let
BATCH = 50

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=["asgi", "wsgi"])
def server(request: pytest.FixtureRequest, authority: Authority) -> Iterator[ServerProcess]:
    with ServerProcess("-w", "1", *authority.issue().flags, f"tests.apps.sealed:{request.param}") as running:
        running.wait_for_log("Worker ready")
        yield running


def context(authority: Authority) -> ssl.SSLContext:
    made = authority.client()
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


def ask(client: RecordClient) -> None:
    client.send(client.record(GET))
    assert client.read().startswith(b"HTTP/1.1 200 ")


FLOODS: dict[str, Callable[[RecordClient], bytes]] = {
    "key-updates": lambda client: client.key_update(answer=False),
    "key-updates-to-be-answered": lambda client: client.key_update(answer=True),
    "empty-data": lambda client: client.record(b""),
    "padding-alone": lambda client: client.record(b"", padding=1000),
    "empty-handshake": lambda client: client.record(b"", HANDSHAKE),
    "warnings": lambda client: client.record(b"\x01\x5a", ALERT),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of_records_ends_with_its_connection(server: ServerProcess, authority: Authority, name: str) -> None:
    before = server.worker_rss()
    sent = 0
    with RecordClient(server.address, context(authority)) as client:
        ask(client)  # and read what comes after the handshake
        with contextlib.suppress(OSError):
            while sent < MOST and not client.has_answer():
                client.send(b"".join(FLOODS[name](client) for _ in range(BATCH)))
                sent += BATCH
        client.wait_refused()
    assert sent < MOST
    with RecordClient(server.address, context(authority)) as honest:
        ask(honest)
    assert server.worker_rss() - before < ALLOWED_GROWTH


def test_an_honest_client_may_update_its_keys(server: ServerProcess, authority: Authority) -> None:
    with RecordClient(server.address, context(authority)) as client:
        for _ in range(20):
            client.send(client.key_update(answer=True) + client.record(b""))
            ask(client)
