"""What every framework's users do every day works behind Ferrule: the same pages on each, through httpx and sockets."""

import asyncio
import hashlib
import json
from typing import Any

import httpx
import pytest

from tests.frameworks.conftest import RunningSite, only, unique
from tests.frameworks.sites.shared import LARGE, PARTS, purpose
from tests.support.raw import MalformedResponseError, RawConnection, Response


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def next_answers(connection: RawConnection) -> None:
    """The connection serves another request."""
    assert json.loads(connection.get("/json").body) == {"message": "hello"}


# Requests: JSON, forms, uploads.


def test_json_goes_both_ways(client: httpx.Client) -> None:
    response = client.get("/json")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"message": "hello"}
    sent = {"text": "ünïcode \N{SNOWMAN}", "list": [1, 2.5, None, True], "nested": {"empty": {}}}
    assert client.post("/json", json=sent).json() == {"received": sent}


def test_a_large_json_response_arrives_whole(client: httpx.Client) -> None:
    response = client.get("/large")
    assert int(response.headers["content-length"]) == len(response.content)
    assert response.json() == LARGE


def test_a_large_json_request_arrives_whole(client: httpx.Client) -> None:
    assert client.post("/json", json=LARGE).json() == {"received": LARGE}


@pytest.mark.parametrize("size", [0, 1, 16_384, 65_536, 1_000_000, 8_000_000])
def test_a_body_of_any_size_arrives_as_it_was_sent(client: httpx.Client, size: int) -> None:
    data = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
    answer = client.post("/digest", content=data).json()
    assert answer == {"size": size, "sha256": sha256(data)}


def test_a_chunked_body_arrives_as_it_was_sent(site: RunningSite, client: httpx.Client) -> None:
    parts = [b"first ", b"x" * 100_000, b" last"]
    answer = client.post("/digest", content=iter(parts)).json()
    whole = b"".join(parts)
    if site.site.name.startswith("django-wsgi"):
        # Django's WSGI handler reads what Content-Length declares, and takes a body without one for empty.
        whole = b""
    assert answer == {"size": len(whole), "sha256": sha256(whole)}


def test_a_form_is_read(client: httpx.Client) -> None:
    answer = client.post("/form", data={"name": "Ada & Söhne", "tag": ["one", "two"]}).json()
    assert answer == {"name": "Ada & Söhne", "tags": ["one", "two"]}


def test_a_multipart_upload_is_read(client: httpx.Client) -> None:
    small, large = b"a small file\r\n--", bytes(range(256)) * 16_384
    files = [("file", ("small.txt", small, "text/plain")), ("file", ("lärge.bin", large, "application/x-large"))]
    answer = client.post("/upload", data={"note": "both"}, files=files).json()
    assert answer == {
        "note": "both",
        "files": [
            {"name": "small.txt", "type": "text/plain", "size": len(small), "sha256": sha256(small)},
            {"name": "lärge.bin", "type": "application/x-large", "size": len(large), "sha256": sha256(large)},
        ],
    }


def test_an_upload_that_waits_for_100_continue_is_told_to_go_on(site: RunningSite) -> None:
    with site.connect() as connection:
        head = "POST /digest HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        connection.send(head.encode())
        assert connection.read_response().status == 100
        connection.send(b"body")
        assert json.loads(connection.read_response().body) == {"size": 4, "sha256": sha256(b"body")}
        next_answers(connection)


def test_paths_queries_and_fields_reach_the_application(site: RunningSite, client: httpx.Client) -> None:
    answer = client.get("/echo/a%20b/%C3%BC/c", params={"q": "1 & 2", "r": "ü"}, headers={"X-Sent": "a, b"}).json()
    assert answer == {
        "rest": "a b/ü/c",
        "root": "",
        "query": "q=1+%26+2&r=%C3%BC",
        "header": "a, b",
        "client": "127.0.0.1",
        "url": answer["url"],
    }
    assert answer["url"].startswith(f"{site.url}/echo/a")


# Responses: cookies, redirects, statuses without content, files.


def test_cookies_are_set_one_by_one_and_come_back(site: RunningSite) -> None:
    with site.client() as client:
        first = client.get("/cookies")
        assert first.json() == {}
        set_cookies = first.headers.get_list("set-cookie")
        assert [cookie.partition(";")[0] for cookie in set_cookies] == ["first=one", "second=two"]
        assert "httponly" in set_cookies[1].lower()
        assert client.get("/cookies").json() == {"first": "one", "second": "two"}


def test_a_session_lasts_over_requests(site: RunningSite) -> None:
    with site.client() as client:
        assert [client.get("/visits").json()["visits"] for _ in range(3)] == [1, 2, 3]


def test_a_redirect_leads_on(client: httpx.Client) -> None:
    response = client.get("/redirect")
    assert (response.status_code, response.headers["location"]) == (303, "/json")
    assert client.get("/redirect", follow_redirects=True).json() == {"message": "hello"}


def test_head_has_the_fields_of_get_and_no_content(site: RunningSite) -> None:
    with site.connect() as connection:
        got = connection.get("/json")
        connection.send(b"HEAD /json HTTP/1.1\r\nHost: test\r\n\r\n")
        head = connection.read_response(method="HEAD")
        assert (head.status, head.header("content-length")) == (200, got.header("content-length"))
        next_answers(connection)


def test_204_has_neither_content_nor_framing(site: RunningSite) -> None:
    with site.connect() as connection:
        connection.send(b"DELETE /nothing HTTP/1.1\r\nHost: test\r\n\r\n")
        response = connection.read_response()
        assert response.status == 204
        assert response.header("content-length") is None
        assert response.header("transfer-encoding") is None
        next_answers(connection)


def test_304_answers_a_conditional_request(site: RunningSite) -> None:
    with site.connect() as connection:
        assert connection.get("/etag").body == b"the page"
        response = connection.get("/etag", fields='If-None-Match: "version-1"\r\n')
        assert (response.status, response.header("etag")) == (304, '"version-1"')
        next_answers(connection)


def test_a_file_is_sent_whole(site: RunningSite, client: httpx.Client) -> None:
    response = client.get("/file")
    assert response.headers["content-type"] == "application/octet-stream"
    assert int(response.headers["content-length"]) == site.file.stat().st_size
    assert response.content == site.file.read_bytes()


def test_many_files_go_out_on_one_connection(site: RunningSite) -> None:
    content = site.file.read_bytes()
    with site.connect() as connection:
        connection.send(b"GET /file HTTP/1.1\r\nHost: test\r\n\r\n" * 3)
        for _ in range(3):
            assert connection.read_response().body == content
        next_answers(connection)


def test_a_client_that_leaves_within_a_file_harms_nobody(site: RunningSite) -> None:
    said = site.server.stderr
    with site.connect() as connection:
        connection.send(b"GET /file HTTP/1.1\r\nHost: test\r\n\r\n")
        connection.socket.recv(1000)
    with site.connect() as connection:
        next_answers(connection)
    assert "Traceback" not in site.server.stderr.removeprefix(said)


def test_server_and_date_are_said_once(client: httpx.Client) -> None:
    response = client.get("/json")
    assert len(response.headers.get_list("date")) == 1
    assert response.headers.get_list("server") == ["ferrule"]


# Streams.


def test_a_stream_arrives_in_order_and_keeps_the_connection(site: RunningSite) -> None:
    with site.connect() as connection:
        response = connection.get("/stream")
        assert response.header("transfer-encoding") == "chunked"
        assert response.body.decode() == "".join(PARTS)
        next_answers(connection)


def test_a_stream_reaches_an_http_1_0_client(site: RunningSite) -> None:
    with site.connect() as connection:
        connection.send(b"GET /stream HTTP/1.0\r\nHost: test\r\n\r\n")
        response = connection.read_response()
        assert response.header("transfer-encoding") is None
        assert response.body.decode() == "".join(PARTS)


def test_events_arrive_while_the_stream_goes_on(site: RunningSite) -> None:
    with site.client() as client, client.stream("GET", f"/events/{unique('events')}") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        expected = [line for number in range(3) for line in (f"id: {number}", "data: tick", "")]
        assert [next(lines) for _ in expected] == expected


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_an_event_stream_ends_when_its_client_goes(site: RunningSite, ending: str) -> None:
    name = unique("gone")
    said = site.server.stderr
    with site.connect() as connection:
        connection.send(f"GET /events/{name} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        received = b""
        while b"id: 3" not in received:
            received += connection.socket.recv(4096)
        assert site.count(f"{name} ended") == 0
        getattr(connection, ending)()
        site.wait_for(f"{name} ended")
    assert site.count(f"{name} began") == 1
    # A client that leaves is everyday life: no error, no traceback.
    assert site.server.stderr.removeprefix(said) == ""


# Exceptions.


def test_an_exception_is_500_with_its_traceback_in_the_log_and_the_connection_goes_on(site: RunningSite) -> None:
    number = unique()
    with site.connect() as connection:
        response = connection.get(f"/fail/{number}")
        assert response.status == 500
        assert b"Traceback" not in response.body
        next_answers(connection)
    site.server.wait_for_log(f"RuntimeError: {purpose(number)}")
    said = site.server.stderr
    assert said.rindex("Traceback (most recent call last)") < said.rindex(purpose(number))


# Starlette's BaseHTTPMiddleware itself ends the stream of an application that failed (`more_body` False).
@only(stacked=False)
def test_an_exception_in_a_stream_never_looks_like_its_end(site: RunningSite) -> None:
    number = unique()
    with site.connect() as connection, pytest.raises((MalformedResponseError, ConnectionResetError, EOFError)):
        connection.get(f"/stream/fail/{number}")
    site.server.wait_for_log(f"RuntimeError: {purpose(number)}")
    with site.connect() as connection:
        next_answers(connection)


# Many at once.


def test_200_requests_at_a_time_each_get_their_own_answer(site: RunningSite) -> None:
    async def ask() -> list[Any]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=site.url, limits=limits, timeout=30, trust_env=False) as client:
            responses = await asyncio.gather(*(client.get("/sleep", params={"number": n}) for n in range(200)))
        return [response.json()["number"] for response in responses]

    assert asyncio.run(ask()) == list(range(200))


def test_pipelined_requests_are_answered_in_order(site: RunningSite) -> None:
    with site.connect() as connection:
        connection.send(b"".join(b"GET /sleep?number=%d HTTP/1.1\r\nHost: test\r\n\r\n" % n for n in range(10)))
        responses: list[Response] = [connection.read_response() for _ in range(10)]
    assert [json.loads(response.body)["number"] for response in responses] == list(range(10))


def test_the_access_log_has_a_line_for_each_response(site: RunningSite, client: httpx.Client) -> None:
    name = unique("logged")
    client.get(f"/echo/{name}", headers={"user-agent": f"agent-{name}"})
    # Soon on any machine: it must not wait for the end of the connection, which idles for 75 s.
    line = site.server.wait_for_stdout(rf"^.*/echo/{name}\b.*$", timeout=5)[0]
    assert "method=GET" in line
    assert "status=200" in line
    assert f"agent-{name}" in line
