"""Access lines of HTTP/2: one per stream, with what was sent of it however it ended."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hyperframe.frame import SettingsFrame

from tests.support.h2 import H2Connection
from tests.support.server import ServerProcess

INTERFACES = {"asgi": "tests.apps.wire_asgi:app", "wsgi": "tests.apps.wire_wsgi:app"}


@pytest.fixture(scope="module", params=INTERFACES)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    fields = "method,path,protocol,status,size,ip,user_agent"
    options = ["--access-log-format=json", f"--access-log-fields={fields}", "--max-requests=0"]
    with ServerProcess("--workers=1", *options, INTERFACES[request.param]) as server:
        yield server


def line_of(server: ServerProcess, path: str) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(server.wait_for_stdout(rf"^.*{re.escape(path)}\".*$")[0])
    return line


def test_a_stream_has_a_line_that_names_the_protocol(server: ServerProcess) -> None:
    with H2Connection(server.address) as client:
        client.get("/told", fields=[("user-agent", "tester/2")])
    told = line_of(server, "/told")
    assert {key: value for key, value in told.items() if key not in ("time", "level", "message")} == {
        "method": "GET",
        "path": "/told",
        "protocol": "HTTP/2.0",
        "status": 200,
        "size": 11,
        "ip": "127.0.0.1",
        "user_agent": "tester/2",
    }


def test_every_stream_has_one_line(server: ServerProcess) -> None:
    with H2Connection(server.address) as client:
        streams = [client.request("GET", f"/many-{number}") for number in range(100)]
        assert all(client.response(stream).status == 200 for stream in streams)
    server.wait_for_stdout("/many-", count=100)
    assert len(set(re.findall(r"/many-\d+", server.stdout))) == 100


def test_a_response_that_its_client_breaks_off_has_its_status_and_what_was_sent(server: ServerProcess) -> None:
    with H2Connection(server.address, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1234}) as client:
        client.grow_windows = False
        stream = client.request("GET", "/stream/cut?size=1000000")
        client.wait(lambda: len(client.exchanges[stream].body) == 1234, "a window of data")
        client.reset(stream)
        told = line_of(server, "/stream/cut")
    assert (told["status"], told["size"]) == (200, 1234)


def test_a_request_that_its_client_takes_back_is_logged_as_499(server: ServerProcess) -> None:
    with H2Connection(server.address) as client:
        stream = client.request("GET", "/sleep/back?s=0.3")
        client.pause(0.1)
        client.reset(stream)
        told = line_of(server, "/sleep/back")
    assert (told["status"], told["size"]) == (499, 0)


def test_a_combined_line_names_the_protocol() -> None:
    with ServerProcess("--workers=1", "--access-log-format=combined", INTERFACES["asgi"]) as server:
        with H2Connection(server.address) as client:
            client.get("/c")
        assert '"GET /c HTTP/2.0" 200 8 ' in server.wait_for_stdout(r"^.+$")[0]
