"""The environ is what PEP 3333 says, for every request of a connection, whatever applications do to theirs."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.raw import RawConnection
from tests.support.server import ServerProcess

BROWSER = (
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\nAccept-Encoding: gzip, br\r\n"
    b"Cookie: session=abcdef\r\nX-Own: 1\r\n"
)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("--workers", "1", "--interface", "wsgi", "tests.apps.environ:validated") as server:
        yield server


def exchange(client: RawConnection, request_line: bytes, fields: bytes = b"", body: bytes = b"") -> dict[str, Any]:
    client.send(request_line + b"\r\nHost: test\r\n" + fields + b"\r\n" + body)
    response = client.read_final_response()
    assert response.status == 200, response
    answer = json.loads(response.body)
    assert answer["type"] == "builtins.dict"
    environ = answer["environ"]
    assert isinstance(environ, dict)
    assert list(environ) == answer["keys"]
    return environ


def environ_of(server: ServerProcess, request_line: bytes, fields: bytes = b"", body: bytes = b"") -> dict[str, Any]:
    with server.connect() as client:
        return exchange(client, request_line, fields, body)


def http_variables(environ: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in environ.items() if key.startswith(("HTTP_", "CONTENT_"))}


def test_environ_of_a_plain_request(server: ServerProcess) -> None:
    with server.connect() as client:
        host, port = client.socket.getsockname()
        environ = exchange(client, b"GET / HTTP/1.1")
    given = {key: value for key, value in environ.items() if not (isinstance(value, str) and value.startswith("<"))}
    software = given.pop("SERVER_SOFTWARE")
    assert software.lower().startswith("ferrule")
    assert given == {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "RAW_URI": "/",
        "REQUEST_URI": "/",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(server.port),
        "REMOTE_ADDR": host,
        "REMOTE_PORT": str(port),
        "HTTP_HOST": "test",
        "wsgi.version": [1, 0],
        "wsgi.url_scheme": "http",
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    assert environ.keys() - given.keys() == {
        "SERVER_SOFTWARE",
        "wsgi.input",
        "wsgi.errors",
        "wsgi.file_wrapper",
        "wsgi.early_hints",
        "ferrule.draining",
    }


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a%20b/c", "/a b/c", ""),
        (b"/%C3%A9", "/\xc3\xa9", ""),  # UTF-8 on the wire, one character per byte here
        (b"/a%2Fb%2f", "/a/b/", ""),
        (b"/a?b=%20&c", "/a", "b=%20&c"),
        (b"/a?", "/a", ""),
        (b"/a?b?c", "/a", "b?c"),
        (b"/100%", "/100%", ""),
        (b"/%zz%4", "/%zz%4", ""),
        (b"/%2541", "/%41", ""),  # decoded once
        (b"//a//b", "//a//b", ""),
        (b"http://test/a?b", "/a", "b"),
        (b"http://test", "/", ""),
    ],
)
def test_path_is_decoded_and_the_target_kept_raw(server: ServerProcess, target: bytes, path: str, query: str) -> None:
    environ = environ_of(server, b"GET " + target + b" HTTP/1.1")
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (path, query)
    assert environ["RAW_URI"] == environ["REQUEST_URI"] == target.decode()


def test_path_of_an_asterisk_target_is_the_root(server: ServerProcess) -> None:
    environ = environ_of(server, b"OPTIONS * HTTP/1.1")
    assert (environ["PATH_INFO"], environ["RAW_URI"]) == ("/", "*")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_method_and_version_are_the_clients(server: ServerProcess, method: str) -> None:
    environ = environ_of(server, method.encode() + b" / HTTP/1.0", b"Content-Length: 0\r\n")
    assert (environ["REQUEST_METHOD"], environ["SERVER_PROTOCOL"]) == (method, "HTTP/1.0")


def test_field_values_are_latin_1_and_may_be_empty(server: ServerProcess) -> None:
    environ = environ_of(server, b"GET / HTTP/1.1", b"X-Latin: \xe9\xff\r\nX-Empty:\r\nAccept: \t a b\t \r\n")
    assert http_variables(environ) == {
        "HTTP_HOST": "test",
        "HTTP_X_LATIN": "\xe9\xff",
        "HTTP_X_EMPTY": "",
        "HTTP_ACCEPT": "a b",
    }


def test_repeated_fields_are_joined(server: ServerProcess) -> None:
    fields = b"X-A: 1\r\nAccept: a\r\nCookie: a=1\r\nx-a:\r\nACCEPT: b\r\ncookie: b=2\r\nX-A: 3\r\n"
    assert http_variables(environ_of(server, b"GET / HTTP/1.1", fields)) == {
        "HTTP_HOST": "test",
        "HTTP_X_A": "1,,3",
        "HTTP_ACCEPT": "a,b",
        "HTTP_COOKIE": "a=1; b=2",
    }


def test_names_with_underscores_cannot_pass_for_others(server: ServerProcess) -> None:
    fields = b"X_Forwarded_For: evil\r\nX-Forwarded-For: good\r\nx_own: evil\r\nContent_Type: evil\r\n"
    assert http_variables(environ_of(server, b"GET / HTTP/1.1", fields)) == {
        "HTTP_HOST": "test",
        "HTTP_X_FORWARDED_FOR": "good",
    }


def test_content_type_and_length_have_no_prefix(server: ServerProcess) -> None:
    fields = b"Content-Type: text/plain\r\nContent-Length: 2\r\n"
    assert http_variables(environ_of(server, b"POST / HTTP/1.1", fields, b"ab")) == {
        "HTTP_HOST": "test",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "2",
    }


def test_long_names_are_whole(server: ServerProcess) -> None:
    for length in (57, 58, 59, 60, 200):
        environ = environ_of(server, b"GET / HTTP/1.1", b"x" * length + b"-y: 1\r\n")
        assert environ["HTTP_" + "X" * length + "_Y"] == "1"


@pytest.mark.parametrize("root_path", ["/api", "/api/"])
def test_root_path_is_taken_off_where_it_stands(serve: Callable[..., ServerProcess], root_path: str) -> None:
    server = serve("--workers", "1", "--root-path", root_path, "tests.apps.environ:validated")
    for target, path in [
        (b"/api/x", "/x"),
        (b"/api/", "/"),
        (b"/api", ""),
        (b"/%61pi/x", "/x"),
        (b"/apix", "/apix"),  # not a segment of its own
        (b"/x", "/x"),  # the proxy took it off
    ]:
        environ = environ_of(server, b"GET " + target + b" HTTP/1.1")
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/api", path), target


def test_unix_socket_has_no_client_address(serve: Callable[..., ServerProcess], tmp_path: Path) -> None:
    path = tmp_path / "s"
    serve("--workers", "1", "--bind", f"unix:{path}", "tests.apps.environ:validated")
    with RawConnection(str(path)) as client:
        environ = exchange(client, b"GET / HTTP/1.1")
    assert environ["REMOTE_ADDR"] == ""
    # PEP 3333: never empty.
    assert environ["SERVER_NAME"] != ""
    assert environ["SERVER_PORT"] != ""


def test_repeated_heads_of_a_connection_see_nothing_of_each_other(serve: Callable[..., ServerProcess]) -> None:
    server = serve("--workers", "1", "--interface", "wsgi", "tests.apps.environ:vandal")
    requests = [
        (b"GET /1 HTTP/1.1", BROWSER, b""),
        (b"GET /2?q HTTP/1.1", BROWSER, b""),
        (b"POST /3 HTTP/1.1", BROWSER + b"Content-Type: a/b\r\nContent-Length: 2\r\n", b"ab"),
        (b"GET /4 HTTP/1.1", BROWSER.replace(b"session=abcdef", b"session=ABCDEF"), b""),
        (b"GET /5 HTTP/1.0", BROWSER + b"Connection: keep-alive\r\n", b""),
        (b"GET /6 HTTP/1.1", b"", b""),
    ]

    def without_port(environ: dict[str, Any]) -> list[tuple[str, Any]]:
        return [(key, value) for key, value in environ.items() if key != "REMOTE_PORT"]

    alone = [without_port(environ_of(server, *request)) for request in requests]
    order = [0, 0, 0, 1, 0, 2, 2, 2, 1, 3, 3, 0, 4, 4, 4, 0, 0, 5, 5, 5, 3, 1, 1, 1, 0, 1]
    with server.connect() as client:
        together = [without_port(exchange(client, *requests[number])) for number in order]
    assert together == [alone[number] for number in order]
