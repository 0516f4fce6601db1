"""Django's own: static files, compression, views of both kinds in each interface, the end of a request."""

import gzip
from pathlib import Path

import httpx
import pytest

from tests.frameworks.conftest import RunningSite, only, unique
from tests.frameworks.sites import shared
from tests.frameworks.test_asgi_tasks import ask_at_once


@only("django")
def test_static_files_are_served(client: httpx.Client) -> None:
    source = Path(shared.__file__)
    response = client.get("/static/shared.py")
    assert response.content == source.read_bytes()
    since = response.headers["last-modified"]
    assert client.get("/static/shared.py", headers={"if-modified-since": since}).status_code == 304
    assert client.get("/static/missing.css").status_code == 404


@only("django")
@pytest.mark.parametrize("path", ["/large", "/stream", "/cached"])
def test_middleware_compresses(client: httpx.Client, path: str) -> None:
    with client.stream("GET", path, headers={"accept-encoding": "gzip"}) as packed:
        assert packed.headers["content-encoding"] == "gzip"
        # Some versions of Django make a gzip member of each part, of which httpx would decode the first.
        content = gzip.decompress(b"".join(packed.iter_raw()))
    assert content == client.get(path).content


@only("django")
def test_every_request_is_finished(site: RunningSite, client: httpx.Client) -> None:
    """`close` of a response sends the signal that gives connections to databases back."""
    before = site.count("request finished")
    for path in ("/json", "/stream", "/file", "/missing"):
        client.get(path)
    client.head("/stream")
    # Five, and the request that asked for the first number.
    site.wait_for("request finished", more_than=before + 5)


@only("django")
def test_synchronous_views_run_beside_the_loop(site: RunningSite, client: httpx.Client) -> None:
    answer = client.get("/where").json()
    if site.site.interface == "asgi":
        # The asynchronous view of that name runs on the loop's own thread.
        assert answer == {"thread": answer["main"], "main": answer["main"], "task": True}
    else:
        assert answer["thread"].startswith("ferrule-app-")


@only("django")
def test_asynchronous_views_keep_their_context(site: RunningSite) -> None:
    answers = ask_at_once(site, [f"/context/{number}" for number in range(20)])
    assert [answer["after"] for answer in answers] == [str(number) for number in range(20)]
    if site.site.interface == "asgi":
        # Under WSGI a thread keeps its context from one request to the next, as under every server.
        assert {answer["before"] for answer in answers} == {"none"}


@only("django")
def test_time_limits_work_in_asynchronous_views(client: httpx.Client) -> None:
    assert client.get("/timeout").json() == {"timed out": True}


@only("django", interface="asgi")
def test_a_view_whose_client_leaves_is_cancelled(site: RunningSite) -> None:
    name, said = unique("cancelled"), site.server.stderr
    with site.connect() as connection:
        connection.send(f"GET /cancelled/{name} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        site.wait_for(f"{name} began")
    site.wait_for(f"{name} cancelled")
    assert "Traceback" not in site.server.stderr.removeprefix(said)


@only("django")
def test_an_unknown_page_is_404_and_a_forbidden_method_405_or_served(client: httpx.Client) -> None:
    assert client.get("/missing").status_code == 404
    assert client.options("/json").status_code == 200
