"""ASGI applications run in real asyncio tasks: contexts, time limits, cancellation, threads, work afterwards."""

import asyncio
import hashlib
import json
import time
from typing import Any

import httpx
import pytest

from tests.frameworks.conftest import RunningSite, only, unique
from tests.frameworks.sites.shared import PARTS, TICK, WORK, purpose
from tests.frameworks.test_every_site import next_answers
from tests.support.tries import best_of

# A quarter of what must not be waited for: room for a busy machine.
AT_ONCE = WORK * 0.8


def ask_at_once(site: RunningSite, paths: list[str]) -> list[Any]:
    async def ask() -> list[Any]:
        async with httpx.AsyncClient(base_url=site.url, timeout=20, trust_env=False) as client:
            responses = await asyncio.gather(*(client.get(path) for path in paths))
        return [response.json() for response in responses]

    return asyncio.run(ask())


# Tasks and contexts.


@only("starlette")
def test_the_current_task_is_right_from_the_first_line(site: RunningSite, client: httpx.Client) -> None:
    answer = client.get("/first-line").json()
    assert answer == {"task": True, "same": True, "known": True, "loop": site.site.loop}


@only("starlette")
def test_time_limits_can_be_entered_on_the_first_line(client: httpx.Client) -> None:
    assert client.get("/first-line-timeout").json() == {"entered": True}


@only("starlette")
def test_every_kind_of_time_limit_ends_a_wait_for_the_client(client: httpx.Client) -> None:
    kinds = ("timeout", "sleeping", "wait_for", "fail_after", "expired", "move_on_after")
    assert client.get("/timeouts").json() == {**dict.fromkeys(kinds, "timed out"), "cancelling": 0}


@only("starlette")
def test_task_groups_and_cancel_scopes_work(client: httpx.Client) -> None:
    assert client.get("/groups").json() == {"anyio": True, "asyncio": True, "shielded": True, "outer": True}


@only("starlette")
def test_receive_and_send_can_be_made_tasks(client: httpx.Client) -> None:
    answer = client.post("/receive-as-task", content=b"body").json()
    assert answer == {"size": 4, "pending": 1, "cancelled": 1}


@only("starlette", stacked=False)
def test_a_body_read_under_time_limits_loses_nothing(client: httpx.Client) -> None:
    data = b"".join(b"%015d\n" % number for number in range(500_000))
    assert client.post("/impatient", content=data).json() == {"sha256": hashlib.sha256(data).hexdigest()}


@only("starlette")
@pytest.mark.parametrize("size", [131_071, 131_072, 131_073, 196_608, 262_144])
def test_a_body_read_late_ends(client: httpx.Client, size: int) -> None:
    """Sizes around what the server holds for an application that does not read yet."""
    assert client.post("/late", content=b"x" * size).json() == {"size": size}


@only("starlette")
def test_context_variables_are_a_requests_own(site: RunningSite) -> None:
    """Those set at import and in the lifespan are seen; those of another request are not."""
    answers = ask_at_once(site, [f"/context/{number}" for number in range(50)])
    for number, answer in enumerate(answers):
        assert answer == {
            "import": "import",
            "lifespan": "lifespan",
            "before": "nothing",
            **dict.fromkeys(("after", "thread", "child"), str(number)),
        }


@only("starlette")
def test_context_variables_do_not_stay_on_a_connection(client: httpx.Client) -> None:
    for number in range(3):
        answer = client.get(f"/context/{number}").json()
        assert (answer["before"], answer["after"]) == ("nothing", str(number))


@only("starlette")
def test_the_state_of_the_lifespan_is_copied_for_each_request(client: httpx.Client) -> None:
    first, second = client.get("/state").json(), client.get("/state").json()
    assert first["word"] == second["word"] == "from lifespan"
    assert second["visits"] == first["visits"] + 1  # the objects in it are shared
    assert (first["had"], second["had"]) == (False, False)  # what a request adds is not


# Threads.


@only("starlette")
def test_synchronous_endpoints_run_on_threads_with_the_context(client: httpx.Client) -> None:
    answer = client.get("/thread").json()
    assert answer["main"] is False
    assert answer["lifespan"] == "lifespan"


@only("fastapi")
def test_synchronous_endpoints_run_side_by_side(site: RunningSite) -> None:
    def seconds() -> float:
        started = time.monotonic()
        answers = ask_at_once(site, [f"/thread?number={number}" for number in range(20)])
        assert answers == [{"number": number, "main": False} for number in range(20)]
        return time.monotonic() - started

    one_after_the_other = 20 * 0.1
    assert best_of(5, seconds, lambda took: took < one_after_the_other) < one_after_the_other


@only("starlette")
@pytest.mark.parametrize("path", ["/thread/stream", "/views"])
def test_streams_from_threads_and_of_views_arrive(client: httpx.Client, path: str) -> None:
    assert client.get(path).text == "".join(PARTS)


@only("fastapi")
def test_an_exception_on_a_thread_is_500_with_its_traceback(site: RunningSite, client: httpx.Client) -> None:
    number = unique()
    assert client.get(f"/thread/fail/{number}").status_code == 500
    site.server.wait_for_log(f"RuntimeError: {purpose(number)}")


# Work after the response.


@only("starlette fastapi")
def test_background_tasks_do_not_delay_the_next_request(site: RunningSite) -> None:
    name = unique("background")
    with site.connect() as connection:
        next_answers(connection)
        started = time.monotonic()
        assert connection.get(f"/background/{name}").status == 200
        for _ in range(3):
            next_answers(connection)
        assert time.monotonic() - started < AT_ONCE
        assert site.count(f"{name} began") == 1
        assert site.count(f"{name} ended") == 0
    site.wait_for(f"{name} ended")


@only("fastapi")
def test_background_tasks_on_threads_do_not_delay_the_next_request(site: RunningSite) -> None:
    name = unique("background")
    with site.connect() as connection:
        next_answers(connection)
        started = time.monotonic()
        assert connection.get(f"/background/thread/{name}").status == 200
        next_answers(connection)
        assert time.monotonic() - started < AT_ONCE
    site.wait_for(f"{name} ended")


@only("starlette")
def test_a_background_task_that_fails_is_logged_with_its_request(site: RunningSite) -> None:
    number = unique()
    with site.connect() as connection:
        assert connection.get(f"/background-fail/{number}").status == 200
        next_answers(connection)
    site.server.wait_for_log(f"RuntimeError: {purpose(number)}")
    site.server.wait_for_log(f'Exception in ASGI application.*path="/background-fail/{number}"')


# Clients that leave.


@only("starlette", stacked=False)
def test_is_disconnected_says_so_once_the_client_is_gone(site: RunningSite) -> None:
    name = unique("gone")
    with site.connect() as connection:
        connection.send(f"GET /gone/{name} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        site.wait_for(f"{name} began")
        time.sleep(3 * TICK)
        assert site.count(f"{name} ended") == 0
    site.wait_for(f"{name} ended")
    assert site.count(f"{name} gone") == 1


@only("starlette")
def test_is_disconnected_says_no_while_the_client_is_there(client: httpx.Client) -> None:
    for _ in range(3):
        assert client.post("/here", content=b"body").json() == {"disconnected": [False] * 3}


@only("starlette")
def test_a_pipelined_request_is_no_disconnect(site: RunningSite) -> None:
    with site.connect() as connection:
        connection.send(b"GET /here HTTP/1.1\r\nHost: test\r\n\r\n" * 2)
        for _ in range(2):
            assert json.loads(connection.read_response().body) == {"disconnected": [False] * 3}


@only("starlette", stacked=False)
@pytest.mark.parametrize("ending", ["close", "reset"])
def test_receive_wakes_when_the_client_goes(site: RunningSite, ending: str) -> None:
    name, said = unique("listening"), site.server.stderr
    with site.connect() as connection:
        connection.send(f"GET /listening/{name} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        site.wait_for(f"{name} began")
        getattr(connection, ending)()
        site.wait_for(f"{name} http.disconnect")
    # It returned without its last body message, to nobody's harm.
    assert site.server.stderr.removeprefix(said) == ""


@only("starlette", stacked=False)
def test_send_raises_when_the_client_is_gone_and_that_is_no_error(site: RunningSite) -> None:
    name, said = unique("writing"), site.server.stderr
    with site.connect() as connection:
        connection.send(f"GET /writing/{name} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        connection.socket.recv(100)
    site.wait_for(f"{name} OSError")
    assert site.server.stderr.removeprefix(said) == ""


@only("starlette")
def test_an_upload_that_is_given_up_is_no_error(site: RunningSite) -> None:
    name, said = unique("upload"), site.server.stderr
    with site.connect() as connection:
        connection.send(f"POST /abandoned/{name} HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\npart".encode())
        site.wait_for(f"{name} began")
    site.wait_for(f"{name} ended")
    site.server.wait_for_log(f'after its client had gone away.*path="/abandoned/{name}"')
    assert "Traceback" not in site.server.stderr.removeprefix(said)


# Files, hints, trailers, and what stands in front of an application.


@only("starlette")
def test_a_range_of_a_file_is_sent(site: RunningSite, client: httpx.Client) -> None:
    content = site.file.read_bytes()
    response = client.get("/file", headers={"range": "bytes=100-199"})
    assert (response.status_code, response.content) == (206, content[100:200])
    assert client.get("/file").content == content


@only("starlette", stacked=False)
def test_parts_of_open_files_are_sent(site: RunningSite) -> None:
    content = site.file.read_bytes()
    with site.connect() as connection:
        assert connection.get("/zero-copy").body == content[10:20] + content[100_000:]
        next_answers(connection)


@only("starlette", stacked=False)
def test_early_hints_come_before_the_response(site: RunningSite) -> None:
    with site.connect() as connection:
        connection.send(b"GET /early-hint HTTP/1.1\r\nHost: test\r\n\r\n")
        hint = connection.read_response()
        assert (hint.status, hint.header("link")) == (103, "</style.css>; rel=preload")
        assert connection.read_response().status == 200
        next_answers(connection)


@only("starlette", stacked=False)
def test_trailers_follow_the_content(site: RunningSite) -> None:
    with site.connect() as connection:
        connection.send(b"GET /trailers HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nConnection: close\r\n\r\n")
        assert connection.read_to_end().endswith(b"7\r\ncontent\r\n0\r\nx-sum: seven\r\n\r\n")


@pytest.mark.parametrize("path", ["/large", "/stream", "/file"])
@only("starlette", stacked=True)
def test_middleware_compresses(site: RunningSite, client: httpx.Client, path: str) -> None:
    plain = client.get(path)
    packed = client.get(path, headers={"accept-encoding": "gzip"})
    assert plain.headers["x-middleware"] == packed.headers["x-middleware"] == "seen"
    assert packed.content == plain.content
    if path == "/large":
        assert packed.headers["content-encoding"] == "gzip"


@only("starlette", stacked=True)
def test_middleware_answers_for_the_application(site: RunningSite, client: httpx.Client) -> None:
    asked = {"origin": "https://example.org", "access-control-request-method": "POST"}
    response = client.options("/json", headers=asked)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "https://example.org"
    assert "POST" in response.headers["access-control-allow-methods"]
    assert client.get("/json", headers={"origin": "https://example.org"}).headers["vary"].endswith("Origin")


@only("starlette", stacked=False)
def test_a_mounted_application_sees_where_it_is_mounted(site: RunningSite, client: httpx.Client) -> None:
    answer = client.get("/mounted/echo/rest").json()
    assert (answer["root"], answer["rest"]) == ("/mounted", "rest")


# FastAPI.


@only("fastapi")
def test_models_are_read_and_refused(client: httpx.Client) -> None:
    item = {"name": "ferrule", "price": 1.5}
    assert client.put("/items/7?q=word", json=item).json() == {"number": 7, "item": item, "q": "word"}
    refused = client.put("/items/seven", json={"name": "ferrule"})
    assert refused.status_code == 422
    assert {tuple(error["loc"]) for error in refused.json()["detail"]} == {("path", "number"), ("body", "price")}


@only("fastapi")
def test_http_exceptions_keep_their_status_and_fields(client: httpx.Client) -> None:
    response = client.get("/teapot")
    assert (response.status_code, response.headers["x-spout"]) == (418, "yes")
    assert response.json() == {"detail": "short and stout"}


@only("fastapi")
def test_dependencies_are_torn_down(site: RunningSite, client: httpx.Client) -> None:
    before = site.count("resource ended"), site.count("thread resource ended")
    assert client.get("/depends").json() == {"values": ["resource", "thread resource"], "context": "dependency"}
    site.wait_for("resource ended", more_than=before[0])
    site.wait_for("thread resource ended", more_than=before[1])


@only("fastapi")
def test_the_state_of_the_lifespan_is_there(client: httpx.Client) -> None:
    assert client.get("/state").json() == {"word": "from lifespan"}
    assert client.get("/openapi.json").json()["openapi"].startswith("3.")
