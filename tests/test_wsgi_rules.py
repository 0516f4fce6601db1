"""PEP 3333 at its edges: what becomes of applications that are late, wrong, or end in odd ways."""

from collections.abc import Iterator

import pytest

from tests.support.raw import RawConnection
from tests.support.server import ServerProcess, wait_until


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", "--interface", "wsgi", "tests.apps.wsgi_rules:app") as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RawConnection]:
    with server.connect() as client:
        yield client


def events(server: ServerProcess) -> str:
    """What was noted since this was last asked."""
    with server.connect() as client:
        return client.get("/events").body.decode()


def wait_for_events(server: ServerProcess) -> str:
    """As `events`, once there are any: a response may arrive before what comes after it is done on its thread."""
    noted: list[str] = []

    def any_noted() -> bool:
        noted.append(events(server))
        return bool(noted[-1])

    wait_until(any_noted, message="an event")
    return noted[-1]


def test_the_server_satisfies_wsgiref(client: RawConnection) -> None:
    for _ in range(3):
        assert client.get("/validated").body == b"GET 0"
        client.send(b"POST /validated HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello")
        assert client.read_response().body == b"POST 5"
        client.send(b"HEAD /validated HTTP/1.1\r\nHost: test\r\n\r\n")
        assert client.read_response(method="HEAD").status == 200


def test_an_iterable_is_closed_after_its_last_item(server: ServerProcess, client: RawConnection) -> None:
    events(server)
    assert client.get("/closable").body == b"one two"
    assert wait_for_events(server) == "closed"


def test_an_iterable_that_raises_is_closed_too(server: ServerProcess, client: RawConnection) -> None:
    events(server)
    assert client.get("/raising").status == 500
    assert wait_for_events(server) == "closed"
    server.wait_for_log("ValueError: while iterating")


def test_an_iterable_whose_client_has_gone_is_closed_without_a_word(server: ServerProcess) -> None:
    events(server)
    before = server.stderr.count("Exception in WSGI application")
    with server.connect() as client:
        client.send(b"GET /endless HTTP/1.1\r\nHost: test\r\n\r\n")
        client.socket.recv(1000)
        client.reset()
    wait_until(lambda: events(server) == "closed", message="the iterable is closed")
    assert server.stderr.count("Exception in WSGI application") == before


def test_an_error_in_close_is_logged_and_the_response_stands(server: ServerProcess, client: RawConnection) -> None:
    assert client.get("/bad_close").body == b"done"
    server.wait_for_log("ValueError: while closing")
    assert client.get("/validated").status == 200


def test_a_generator_may_start_its_response_with_its_first_item_and_is_closed(
    server: ServerProcess, client: RawConnection
) -> None:
    events(server)
    assert client.get("/generator").body == b"late start"
    assert wait_for_events(server) == "cleaned"


def test_write_comes_before_what_is_returned(client: RawConnection) -> None:
    assert client.get("/write").body == b"written twice, then returned"


def test_exc_info_replaces_a_head_that_has_not_gone_out(client: RawConnection) -> None:
    response = client.get("/error_in_time")
    assert (response.status, response.reason, response.body) == (503, "Try Later", b"sorry")
    assert response.header("content-type") == "text/html"
    assert response.header("x-first") is None


def test_exc_info_is_raised_again_once_the_head_is_out(server: ServerProcess) -> None:
    events(server)
    with server.connect() as client:
        client.send(b"GET /error_too_late HTTP/1.1\r\nHost: test\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.read_to_end()
    assert wait_for_events(server) == "raised again: noticed too late"


def test_a_second_start_response_without_exc_info_is_refused_and_the_first_holds(client: RawConnection) -> None:
    response = client.get("/twice")
    assert (response.status, response.body) == (200, b"the first one holds")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("never_started", "before it called start_response"),
        ("nothing", "TypeError"),
        ("str", "yields bytes, not str"),
        ("exit", "SystemExit: 3"),
        ("interrupt", "KeyboardInterrupt"),
        ("caught_bad_header", "before it called start_response"),
        ("unknown", "KeyError"),
    ],
)
def test_what_is_no_response_is_a_logged_500_and_the_connection_goes_on(
    server: ServerProcess, client: RawConnection, path: str, said: str
) -> None:
    assert client.get("/" + path).status == 500
    server.wait_for_log(said)
    server.wait_for_log(f'Exception in WSGI application method=GET path="/{path}"')
    assert client.get("/validated").status == 200


def test_file_wrapper_sends_what_reading_gives_not_what_the_descriptor_holds(client: RawConnection) -> None:
    assert client.get("/gzip").body == b"plain content"


def test_file_wrapper_begins_where_the_file_stands_and_keeps_to_the_length(client: RawConnection) -> None:
    assert client.get("/rest_of_file").body == b"567"


def test_file_wrapper_reads_and_closes_what_is_no_file(server: ServerProcess, client: RawConnection) -> None:
    events(server)
    assert client.get("/file_object").body == b"x" * 100_000
    assert wait_for_events(server) == "file closed"
