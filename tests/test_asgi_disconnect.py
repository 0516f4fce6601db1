"""Clients that leave: the application is told in time, by `receive` and by `send`, and nobody else notices."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.support.raw import RawConnection
from tests.support.server import ServerProcess, wait_until

APP = "tests.apps.wire_asgi:app"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", "--max-requests", "0", APP) as server:
        yield server


@pytest.fixture(scope="module")
def cancelling() -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", "--cancel-on-disconnect", APP) as server:
        yield server


def seen(server: ServerProcess) -> dict[str, int]:
    with server.connect() as client:
        told: dict[str, int] = json.loads(client.get("/seen").body)
        return told


def start(server: ServerProcess, path: str, name: str) -> RawConnection:
    """A client whose request the application has."""
    client = server.connect()
    client.send(f"GET {path}/{name} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
    if path == "/until_error":
        assert client.socket.recv(1) == b"H"
    else:
        wait_until(lambda: seen(server).get(f"waiting:{name}") == 1, message="the request at the application")
    return client


def test_asking_for_the_client_over_and_over_leaves_nothing_behind(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(b"GET /asks HTTP/1.1\r\nHost: t\r\n\r\n")
        assert int(client.read_response().body) < 50
    wait_until(lambda: seen(server).get("asks:done") == 1, message="the listener, which nobody has cancelled")


@pytest.mark.parametrize("end", ["close", "reset", "half_close"])
def test_receive_tells_of_a_client_that_left(server: ServerProcess, end: str) -> None:
    client = start(server, "/until_disconnect", end)
    getattr(client, end)()
    wait_until(lambda: seen(server).get(f"disconnect:{end}") == 1, message="http.disconnect")
    client.close()


def test_a_response_after_a_half_close_still_arrives(server: ServerProcess) -> None:
    client = server.connect()
    client.send(b"GET /until_disconnect/answering?answer HTTP/1.1\r\nHost: t\r\n\r\n")
    wait_until(lambda: seen(server).get("waiting:answering") == 1, message="the request at the application")
    with client:
        client.half_close()
        assert client.read_response().body == b"answered after disconnect"


@pytest.mark.parametrize("end", ["close", "reset"])
def test_send_raises_an_os_error_once_the_client_is_gone(server: ServerProcess, end: str) -> None:
    client = start(server, "/until_error", end)
    getattr(client, end)()
    wait_until(lambda: seen(server).get(f"error:{end}:ClientDisconnected") == 1, message="an OSError")
    assert "ClientDisconnected" not in server.stderr  # a client that leaves is no error of the application


def test_the_application_runs_on_unless_told_otherwise(server: ServerProcess) -> None:
    client = server.connect()
    client.send(b"GET /after?s=0 HTTP/1.1\r\nHost: t\r\n\r\n")
    before = seen(server).get("after", 0)
    client.send(b"GET /sleep?s=0.3 HTTP/1.1\r\nHost: t\r\n\r\nGET /after?s=0 HTTP/1.1\r\nHost: t\r\n\r\n")
    client.close()
    assert before >= 0
    # A pipelined request of a client that left may or may not run; the server goes on either way.
    time.sleep(0.5)
    assert seen(server)


@pytest.mark.parametrize("path", ["/until_disconnect", "/until_error"])
@pytest.mark.parametrize("end", ["close", "reset"])
def test_cancel_on_disconnect_cancels_the_task(cancelling: ServerProcess, path: str, end: str) -> None:
    name = f"{path[1:]}-{end}"
    client = start(cancelling, path, name)
    getattr(client, end)()
    wait_until(
        lambda: (
            seen(cancelling).get(f"cancelled:{name}") == 1
            or seen(cancelling).get(f"error:{name}:ClientDisconnected") == 1
        ),
        message="the cancellation",
    )
    assert "Exception in" not in cancelling.stderr


def test_cancel_on_disconnect_leaves_finished_requests_alone(cancelling: ServerProcess) -> None:
    before = seen(cancelling).get("after", 0)
    with cancelling.connect() as client:
        assert client.get("/after?s=0.2").body == b"done"
    wait_until(lambda: seen(cancelling).get("after", 0) == before + 1, message="the work after the response")


def test_a_disconnect_does_not_swallow_pipelined_requests(server: ServerProcess) -> None:
    """The server watches for the hang-up while the application runs; what it reads on the way is not lost."""
    with server.connect() as client:
        client.send(b"GET /sleep?s=0.2 HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.05)
        client.send(b"GET /pipelined HTTP/1.1\r\nHost: t\r\n\r\n")
        client.half_close()
        assert client.read_response().body == b"s=0.2"
        assert client.read_response().body == b"hello /pipelined"
        client.wait_closed()


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_client_that_leaves_is_logged_as_499_and_is_no_error_of_the_application(
    server: ServerProcess, end: str
) -> None:
    client = start(server, "/until_disconnect", f"logged-{end}")
    getattr(client, end)()
    server.wait_for_stdout(rf'path="/until_disconnect/logged-{end}" .*status=499')
    assert f"logged-{end}" not in server.stderr
