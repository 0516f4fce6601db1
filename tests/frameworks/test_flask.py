"""Flask's own, and WSGI beneath it: `write`, `exc_info`, `close`, `file_wrapper`, the context of streams."""

import json
import time

import httpx

from tests.frameworks.conftest import RunningSite, only, unique
from tests.frameworks.sites.shared import PARTS, WORK, purpose
from tests.frameworks.test_every_site import next_answers


@only("flask")
def test_the_request_context_lives_as_long_as_the_stream(client: httpx.Client) -> None:
    assert client.get("/stack", params={"word": "ring"}).text == "ring ring\n" * 3


@only("flask")
def test_a_response_is_closed_once(site: RunningSite, client: httpx.Client) -> None:
    before = site.count("response closed")
    assert client.get("/close").text == "".join(PARTS)
    client.head("/close")
    site.wait_for("response closed", more_than=before + 1)
    assert site.count("response closed") == before + 2


@only("flask")
def test_what_close_does_delays_no_response(site: RunningSite) -> None:
    with site.connect() as connection:
        started = time.monotonic()
        assert connection.get("/slow-close").status == 200
        assert time.monotonic() - started < WORK * 0.8
        next_answers(connection)


@only("flask")
def test_reason_and_repeated_fields_are_the_applications(site: RunningSite) -> None:
    with site.connect() as connection:
        response = connection.get("/multiple")
    assert (response.status, response.reason) == (299, "Something Else")
    assert response.values("x-repeated") == ["one", "two"]


@only("flask")
def test_a_range_of_a_file_is_sent(site: RunningSite, client: httpx.Client) -> None:
    content = site.file.read_bytes()
    response = client.get("/file", headers={"range": "bytes=100-199"})
    assert (response.status_code, response.content) == (206, content[100:200])
    etag = client.get("/file").headers["etag"]
    assert client.get("/file", headers={"if-none-match": etag}).status_code == 304


@only("flask")
def test_an_exception_that_leaves_the_application_is_500_with_its_traceback(site: RunningSite) -> None:
    number = unique()
    with site.connect() as connection:
        response = connection.get(f"/raises/{number}")
        assert response.status == 500
        assert purpose(number).encode() not in response.body
        next_answers(connection)
    site.server.wait_for_log(f'Exception in WSGI application.*path="/raises/{number}"')
    site.server.wait_for_log(f"Unhandled: {purpose(number)}")


@only("flask")
def test_the_write_callable_comes_before_the_iterable(site: RunningSite) -> None:
    with site.connect() as connection:
        assert connection.get("/written").body == b"written, written again, and returned"
        next_answers(connection)


@only("flask")
def test_a_response_replaced_before_it_was_sent_leaves_nothing(site: RunningSite) -> None:
    with site.connect() as connection:
        response = connection.get("/late")
        assert (response.status, response.body) == (503, b"the second response")
        assert response.header("x-first") is None
        next_answers(connection)


@only("flask")
def test_a_mounted_application_sees_where_it_is_mounted(client: httpx.Client) -> None:
    answer = client.get("/mounted/echo/rest").json()
    assert (answer["root"], answer["rest"]) == ("/mounted", "rest")


@only("flask")
def test_a_request_that_is_refused_unread_leaves_the_connection_usable(site: RunningSite) -> None:
    with site.connect() as connection:
        connection.send(b"POST /missing HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
        assert connection.read_response().status == 404
        assert json.loads(connection.get("/json").body) == {"message": "hello"}
