"""HTTP/2 requests as applications of both interfaces see them."""

import json
import time
from collections.abc import Iterator

import pytest
from hyperframe.frame import SettingsFrame

from tests.support.h2 import PREFACE, H2Connection
from tests.support.server import ServerProcess

INTERFACES = {"asgi": "tests.apps.wire_asgi:app", "wsgi": "tests.apps.wire_wsgi:app"}


@pytest.fixture(scope="module", params=INTERFACES)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", "--max-requests", "0", INTERFACES[request.param]) as server:
        yield server


def fields_of(told: dict[str, object]) -> dict[str, str]:
    """The fields that `/echo` was told, by lower-case name with hyphens, whatever the interface."""
    headers = told["headers"]
    if isinstance(headers, dict):
        return {key.removeprefix("HTTP_").lower().replace("_", "-"): value for key, value in headers.items()}
    return dict(headers)  # type: ignore[call-overload, no-any-return]


def test_a_connection_that_begins_with_the_preface_speaks_http2(server: ServerProcess) -> None:
    with H2Connection(server.address) as client:
        response = client.get("/there")
        assert response.status == 200
        assert response.body == b"hello /there"
        assert client.settings[3] == 128
        assert client.settings[4] == 1 << 20
        assert 8 not in client.settings, "extended CONNECT is not served and not announced"


def test_the_preface_is_known_however_it_is_cut(server: ServerProcess) -> None:
    for size in (1, 3, 23, 25):
        with H2Connection(server.address, greet=False) as client:
            greeting = PREFACE + SettingsFrame(0).serialize()
            for at in range(0, len(greeting), size):
                client.sock.sendall(greeting[at : at + size])
                time.sleep(0.002)
            assert client.get("/").body == b"hello /"


def test_http1_and_http2_share_a_listener(server: ServerProcess) -> None:
    with server.connect() as old, H2Connection(server.address) as new:
        assert old.get("/1").body == b"hello /1"
        assert new.get("/2").body == b"hello /2"
        assert old.get("/3").body == b"hello /3"


def test_applications_are_told_of_http2(server: ServerProcess) -> None:
    with H2Connection(server.address) as client:
        fields = [("x-one", "1"), ("cookie", "a=b"), ("cookie", "c=d"), ("accept", "*/*")]
        response = client.post("/echo/a%20b?q=1&r", b"body", fields=fields)
        told = json.loads(response.body)
    assert (told["method"], told["query"], told["body"]) == ("POST", "q=1&r", "body")
    assert told["raw_path"] == "/echo/a%20b"
    said = fields_of(told)
    assert (said["host"], said["x-one"], said["cookie"]) == ("test", "1", "a=b; c=d")
    if "http_version" in told:
        assert told["http_version"] == "2"
        assert told["headers"][0] == ["host", "test"]
        assert told["path"] == "/echo/a b"


def test_the_environ_names_the_protocol() -> None:
    with (
        ServerProcess("--workers", "1", "tests.apps.environ:app") as server,
        H2Connection(server.address) as client,
    ):
        environ = json.loads(client.get("/").body)["environ"]
    assert environ["SERVER_PROTOCOL"] == "HTTP/2.0"
    assert environ["HTTP_HOST"] == "test"
