"""ASGI messages: every mistake of the application has a name and never becomes a response that looks complete."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.raw import MalformedResponseError, RawConnection, Response
from tests.support.server import ServerProcess, wait_until

APP = "tests.apps.wire_asgi:app"
START = {"type": "http.response.start", "status": 200}
BODY = {"type": "http.response.body", "body": "x"}
PART = {**BODY, "more_body": True}
TRAILERS = {"type": "http.response.trailers"}
HINT = {"type": "http.response.early_hint", "links": []}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", "--max-requests", "0", APP) as server:
        yield server


def ask(client: RawConnection, path: str, content: Any) -> None:
    body = json.dumps(content).encode()
    client.send(f"POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def seen(server: ServerProcess, name: str) -> int:
    with server.connect() as client:
        return int(json.loads(client.get("/seen").body).get(name, 0))


BEFORE_START: dict[str, tuple[list[Any], str]] = {
    "body first": ([BODY], "http.response.body was sent before http.response.start"),
    "trailers first": ([TRAILERS], "http.response.trailers is sent after"),
    "start twice": ([START, START], "http.response.start was sent twice"),
    "hint after start": ([START, HINT], "http.response.early_hint is sent before http.response.start"),
    "start alone": ([START], "returned before its response was complete"),
    "nothing": ([], "returned without a response"),
}


@pytest.mark.parametrize("name", BEFORE_START)
def test_a_mistake_before_the_response_is_out_is_a_500_and_says_which_rule(server: ServerProcess, name: str) -> None:
    messages, rule = BEFORE_START[name]
    before = server.stderr.count(rule)
    with server.connect() as client:
        ask(client, "/messages", messages)
        assert client.read_response().status == 500
        assert client.get("/next").body == b"hello /next"
    server.wait_for_log(rule, count=before + 1)


AFTER_START: dict[str, tuple[list[Any], str]] = {
    "start after body": ([START, PART, START], "http.response.start was sent twice"),
    "trailers not announced": ([START, PART, TRAILERS], "of a response started with trailers: True"),
    "trailers early": ([{**START, "trailers": True}, PART, TRAILERS], "is sent after the last body message"),
    "body for trailers": ([{**START, "trailers": True}, BODY, BODY], "http.response.trailers is due"),
    "no trailers": ([{**START, "trailers": True}, BODY], "returned before its response was complete"),
    "no end": ([START, PART], "returned before its response was complete"),
    "forbidden trailer": (
        [{**START, "trailers": True}, PART, BODY, {**TRAILERS, "headers": [["content-length", "5"]]}],
        "bytes",  # JSON has none: the type is wrong before the name is
    ),
}


@pytest.mark.parametrize("name", AFTER_START)
def test_a_mistake_within_the_response_never_looks_complete(server: ServerProcess, name: str) -> None:
    messages, rule = AFTER_START[name]
    before = server.stderr.count(rule)
    with server.connect() as client:
        ask(client, "/messages", messages)
        with pytest.raises((MalformedResponseError, OSError, EOFError)):
            client.read_response()
    server.wait_for_log(rule, count=before + 1)


def test_a_message_after_the_response_is_an_error_in_the_log_and_harms_nobody(server: ServerProcess) -> None:
    with server.connect() as client:
        ask(client, "/messages", [START, BODY, BODY])
        assert client.read_response().body == b"x"
        server.wait_for_log("was sent after the response was complete")
        ask(client, "/messages", [START, BODY, START])
        assert client.read_response().body == b"x"
        assert client.get("/next").body == b"hello /next"


@pytest.mark.parametrize(
    ("mistake", "rule"),
    [
        ("not-a-dict", "an ASGI message is a dict"),
        ("no-type", "`type`"),
        ("bytes-type", "the type of an ASGI message is a str"),
        ("no-status", "`status`"),
        ("text-status", "status is an integer"),
        ("text-header", "bytes, not str"),
        ("header-of-three", "a header is a pair"),
        ("headers-not-iterable", "not iterable"),
        ("unknown-type", "does not send"),
        ("surrogate-type", "Exception in ASGI application"),
        ("huge-status", "status"),
        ("negative-status", "status"),
    ],
)
def test_a_message_of_the_wrong_type_is_a_500_and_says_so(server: ServerProcess, mistake: str, rule: str) -> None:
    already = len(server.stderr)
    with server.connect() as client:
        assert client.get(f"/misuse?what={mistake}").status == 500
        assert client.get("/next").body == b"hello /next"
    wait_until(lambda: rule in server.stderr[already:], message=f"{rule} in the log")


def test_a_text_body_is_a_500(server: ServerProcess) -> None:
    with server.connect() as client:
        assert client.get("/text_body").status == 500
    server.wait_for_log("bytes, not str")


def test_an_exception_after_the_response_is_logged_and_the_connection_stays(server: ServerProcess) -> None:
    with server.connect() as client:
        response = client.get("/crash?when=complete")
        assert (response.status, response.body) == (200, b"part")
        assert client.get("/next").body == b"hello /next"
    server.wait_for_log("RuntimeError: crashed complete")


def test_work_after_the_response_does_not_hold_the_connection(server: ServerProcess) -> None:
    with server.connect() as client:
        before = seen(server, "after")
        began = time.monotonic()
        assert client.get("/after?s=2").body == b"done"
        assert client.get("/next").body == b"hello /next"
        assert time.monotonic() - began < 1.9
    wait_until(lambda: seen(server, "after") == before + 1, message="the end of the work in the background")


# receive() and send(), in every way that frameworks use them.


def exchange(server: ServerProcess, path: str, body: bytes = b"body") -> Response:
    with server.connect() as client:
        client.send(b"POST %s HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(body)))
        time.sleep(0.03)  # so that the first `receive` has to wait
        client.send(body)
        return client.read_response()


@pytest.mark.parametrize("way", ["task", "wait_for", "shield", "gather"])
def test_receive_may_be_run_like_a_coroutine(server: ServerProcess, way: str) -> None:
    assert exchange(server, f"/receive_task?way={way}").body == b"body"


def test_a_receive_that_was_given_up_takes_nothing_with_it(server: ServerProcess) -> None:
    assert exchange(server, "/receive_task?way=timeout").body == b"body timeout cancelled"


def test_a_listener_for_the_disconnect_runs_beside_the_response(server: ServerProcess) -> None:
    before = seen(server, "watch:done")
    assert exchange(server, "/receive_task?way=watch").body == b".....body"
    wait_until(lambda: seen(server, "watch:done") == before + 1, message="the listener's http.disconnect")


def test_reading_and_writing_go_on_at_the_same_time(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(b"POST /duplex HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"3\r\none\r\n")
        wanted = b"3\r\none\r\n"
        received = b""
        while not received.endswith(wanted):  # the answer to the first part is here before the second is sent
            data = client.socket.recv(65536)
            assert data, received
            received += data
        client.send(b"3\r\ntwo\r\n0\r\n\r\n")
        rest = b""
        while not rest.endswith(b"0\r\n\r\n"):
            data = client.socket.recv(65536)
            assert data, rest
            rest += data
        assert rest == b"3\r\ntwo\r\n0\r\n\r\n"


# Extensions.


def test_trailers_follow_a_chunked_body(server: ServerProcess) -> None:
    with server.connect() as client:
        fields = [[["X-Sum", "7"]], [["X-More", "8"]]]
        ask(client, "/response", {"trailers": True, "body": ["one", "two"], "trailer_fields": fields})
        wire = b""
        while not wire.endswith(b"\r\n\r\n") or b"0\r\n" not in wire:
            data = client.socket.recv(65536)
            assert data, wire
            wire += data
        assert b"transfer-encoding: chunked" in wire
        assert wire.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\nX-Sum: 7\r\nX-More: 8\r\n\r\n")
        assert client.get("/next").body == b"hello /next"


@pytest.mark.parametrize("field", [["Content-Length", "3"], ["X-A", "b\r\nX-C: d"], ["Host", "evil"], ["", "x"]])
def test_a_trailer_that_frames_or_forges_ends_the_connection(server: ServerProcess, field: list[str]) -> None:
    with server.connect() as client:
        ask(client, "/response", {"trailers": True, "body": ["one"], "trailer_fields": [[field]]})
        with pytest.raises((MalformedResponseError, OSError, EOFError)):
            client.read_response()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "content"
    path.write_bytes(bytes(range(256)) * 20_000)  # 5 MB: many calls of sendfile
    return path


@pytest.mark.parametrize("options", [[], ["--no-sendfile"]], ids=["sendfile", "read"])
def test_pathsend_sends_a_whole_file(options: list[str], file: Path) -> None:
    content = file.read_bytes()
    with ServerProcess("--workers", "1", *options, APP) as server, server.connect() as client:
        for _ in range(2):
            response = client.get(f"/pathsend?file={file}")
            assert response.header("content-length") == str(len(content))
            assert response.body == content
        response = client.get(f"/pathsend?file={file}&length={len(content)}")
        assert response.body == content
        client.send(f"HEAD /pathsend?file={file} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        assert client.read_response(method="HEAD").header("content-length") == str(len(content))
        assert client.get("/next").body == b"hello /next"
        assert client.get("/pathsend?file=/nonexistent").status == 500
        assert client.get(f"/pathsend?file={file.parent}").status == 500
        os.mkfifo(file.parent / "fifo")
        assert client.get(f"/pathsend?file={file.parent}/fifo").status == 500
        (file.parent / "fifo").unlink()
        assert client.get("/next").body == b"hello /next"


@pytest.mark.parametrize("options", [[], ["--no-sendfile"]], ids=["sendfile", "read"])
def test_zerocopysend_sends_parts_of_an_open_file(options: list[str], file: Path) -> None:
    content = file.read_bytes()
    with ServerProcess("--workers", "1", *options, APP) as server, server.connect() as client:
        expected = {
            "0-": content,
            "-": content,
            "100-50": content[100:150],
            "0-10,1000-10,4000000-": content[:10] + content[1000:1010] + content[4_000_000:],
        }
        for parts, part in expected.items():
            assert client.get(f"/zerocopysend?file={file}&parts={parts}").body == part
        assert client.get(f"/zerocopysend?file={file}&parts=-&seek=4999999").body == content[4_999_999:]
        assert client.get("/next").body == b"hello /next"


def test_a_file_shorter_than_its_declared_length_is_a_500(server: ServerProcess, file: Path) -> None:
    with server.connect() as client:
        assert client.get(f"/pathsend?file={file}&length=99999999").status == 500
        assert client.get("/next").body == b"hello /next"
    server.wait_for_log("response body shorter than its Content-Length")


def test_a_file_that_shrinks_on_its_way_ends_the_connection(server: ServerProcess) -> None:
    with RawConnection(server.address, receive_buffer=65536) as client:
        client.send(b"GET /shrinking HTTP/1.1\r\nHost: t\r\n\r\n")
        time.sleep(0.3)
        with pytest.raises((MalformedResponseError, OSError, EOFError)):
            client.read_response()
    server.wait_for_log("became shorter")
