"""The same request over HTTP/1.1 and over HTTP/2: one answer, or one refusal. The rules of both are one policy."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.generated import FIELD_VALUES, HTTP2_FIELD_NAMES, over_the_wire
from tests.support.h2 import Exchange, H2Connection
from tests.support.raw import Response
from tests.support.server import ServerProcess

Pairs = list[tuple[bytes, bytes]]
INTERFACES = {"asgi": "tests.apps.wire_asgi:app", "wsgi": "tests.apps.wire_wsgi:app"}
LIMIT_BODY = 100_000
PROTOCOL_ERROR = 1

# What differs by version and says nothing of the message.
OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "date", ":status"}


@dataclass(frozen=True)
class Ask:
    """A request, from which both versions are written. None leaves a field out."""

    method: bytes = b"POST"
    path: bytes = b"/echo"
    host: bytes | None = b"test"
    fields: Pairs = field(default_factory=list)
    body: bytes = b""
    length: bytes | None = b"right"
    """The Content-Length: by default that of the body."""
    authority: bytes | None = None
    """Beside `host`: of an absolute-form target, `:authority` in HTTP/2."""
    trailers: Pairs = field(default_factory=list)

    def _fields(self) -> Pairs:
        length = b"%d" % len(self.body) if self.length == b"right" else self.length
        return [*self.fields, *([(b"content-length", length)] if length is not None else [])]

    def http1(self) -> bytes:
        target = self.path if self.authority is None else b"http://" + self.authority + self.path
        head = [b"%s %s HTTP/1.1" % (self.method, target)]
        head += [b"host: " + self.host] if self.host is not None else []
        head += [name + b": " + value for name, value in self._fields()]
        if self.length is not None:
            return b"\r\n".join([*head, b"", self.body])
        head += [b"transfer-encoding: chunked"]
        chunk = b"%x\r\n%s\r\n" % (len(self.body), self.body) if self.body else b""
        trailers = [name + b": " + value for name, value in self.trailers]
        return b"\r\n".join([*head, b"", chunk + b"0", *trailers, b"", b""])

    def http2(self) -> Pairs:
        pseudo = [(b":method", self.method), (b":scheme", b"http"), (b":path", self.path)]
        if self.authority is not None:
            pseudo.append((b":authority", self.authority))
        elif self.host is not None:
            pseudo.append((b":authority", self.host))
        host = [(b"host", self.host)] if self.authority is not None and self.host is not None else []
        return [*pseudo, *host, *((name.lower(), value) for name, value in self._fields())]


@pytest.fixture(scope="module", params=INTERFACES)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    options = ["--workers", "1", "--max-requests", "0", "--no-access-log", "--limit-request-body", str(LIMIT_BODY)]
    with ServerProcess(*options, INTERFACES[request.param]) as server:
        yield server


def by_http1(server: ServerProcess, ask: Ask) -> Response | None:
    """None: nothing came back, because the server waits for more."""
    with server.connect() as client:
        client.send(ask.http1())
        client.half_close()
        try:
            return client.read_final_response(method=ask.method.decode("latin-1"))
        except EOFError:
            return None


def by_http2(server: ServerProcess, ask: Ask) -> Exchange:
    """The exchange; its connection must be good for another afterwards."""
    with H2Connection(server.address) as client:
        bare = not ask.body and not ask.trailers
        stream = client.open(ask.http2(), end=bare)  # type: ignore[arg-type]
        if ask.body or ask.trailers:
            client.data(stream, ask.body, end=not ask.trailers)
        if ask.trailers and not client.exchanges[stream].over:
            client.trailers(stream, ask.trailers)  # type: ignore[arg-type]
        answer = client.response(stream)
        assert client.get("/still-there").body == b"hello /still-there"
        return answer


def told(answer: Response | Exchange) -> tuple[int, list[tuple[str, str]], object]:
    """Status, fields and content, as far as they should not depend on the version."""
    fields = answer.fields if isinstance(answer, Response) else list(answer.raw_fields)
    kept = sorted((name.lower(), value) for name, value in fields if name.lower() not in OF_THE_CONNECTION)
    content: object = bytes(answer.body)
    if answer.body.startswith(b"{"):
        seen = json.loads(answer.body)
        seen.pop("http_version", None)
        seen.pop("client", None)
        headers = seen["headers"]
        if isinstance(headers, dict):
            # A body of unknown length is chunked in one version, and simply not over in the other.
            headers.pop("HTTP_TRANSFER_ENCODING", None)
        else:
            seen["headers"] = sorted(pair for pair in headers if pair[0] != "transfer-encoding")
        content = seen
        kept = [(name, value) for name, value in kept if name != "content-length"]  # of what was just left out
    return answer.status, kept, content


ANSWERED = {
    "get": Ask(b"GET", length=None),
    "head": Ask(b"HEAD", b"/there", length=None),
    "options of the server": Ask(b"OPTIONS", b"*", length=None),
    "another method": Ask(b"PURGE"),
    "a body": Ask(body=b"content"),
    "a body of unknown length": Ask(body=b"content", length=None),
    "an empty body that is declared": Ask(length=b"0"),
    "a query": Ask(path=b"/echo/a%20b;c?x=1&y=%2F&&"),
    "a path with everything": Ask(path=b"/echo/" + bytes(byte for byte in range(0x21, 0x7F) if byte not in b"#?")),
    "an address with a port": Ask(host=b"[::1]:8000"),
    "obs-text in a value": Ask(fields=[(b"x-text", bytes(range(0x80, 0x100)))]),
    "white space in a value": Ask(fields=[(b"x-text", b"a  b\tc")]),
    "an empty value": Ask(fields=[(b"x-empty", b"")]),
    "every token byte in a name": Ask(fields=[(b"x-!#$%&'*+.^`|~09", b"1")]),
    "repeated fields": Ask(fields=[(b"x-one", b"1"), (b"x-two", b"2"), (b"x-one", b"3")]),
    "expecting to continue": Ask(fields=[(b"expect", b"100-continue")], body=b"content"),
    "trailers": Ask(body=b"content", length=None, trailers=[(b"x-checksum", b"1")]),
    "no content": Ask(path=b"/response", body=b'{"status": 204}'),
    "not modified": Ask(path=b"/response", body=b'{"status": 304}'),
    "an unknown status": Ask(path=b"/response", body=b'{"status": 599, "body": ["odd"]}'),
    "fields of the answer": Ask(
        path=b"/response", body=b'{"headers": [["X-Upper", "1"], ["set-cookie", "a"], ["set-cookie", "b"]]}'
    ),
    "fields of the connection in an answer": Ask(
        path=b"/response", body=b'{"headers": [["connection", "x-a"], ["keep-alive", "5"], ["x-a", "1"]]}'
    ),
    "an answer in parts": Ask(path=b"/response", body=b'{"body": ["one", "", "two"]}'),
    "a large answer": Ask(b"GET", b"/stream?size=300000", length=None),
    "a field that no answer may have": Ask(path=b"/response", body=b'{"headers": [["x-a", "1\\r\\nx-b: 2"]]}'),
    "a failing application": Ask(b"GET", b"/crash?when=before", length=None),
}


@pytest.mark.parametrize("ask", ANSWERED.values(), ids=ANSWERED)
def test_a_request_is_answered_alike(server: ServerProcess, ask: Ask) -> None:
    old = by_http1(server, ask)
    assert old is not None
    assert told(by_http2(server, ask)) == told(old)


fields = st.lists(st.tuples(HTTP2_FIELD_NAMES, FIELD_VALUES), max_size=6).map(
    lambda pairs: [(name.encode(), value.encode("latin-1")) for name, value in pairs]
)
paths = st.from_regex(rb"/echo(/[!$-.0-;=@-Z_a-z~]{0,8}){0,3}(\?[!$-;=?-Z_a-z~]{0,12})?", fullmatch=True)


@over_the_wire
@given(fields=fields, path=paths, body=st.binary(max_size=300), declared=st.booleans())
def test_any_valid_request_is_answered_alike(
    server: ServerProcess, fields: Pairs, path: bytes, body: bytes, declared: bool
) -> None:
    ask = Ask(path=path, fields=fields, body=body, length=b"right" if declared else None)
    old = by_http1(server, ask)
    assert old is not None
    assert old.status == 200
    assert told(by_http2(server, ask)) == told(old)


def value(text: bytes) -> Ask:
    return Ask(fields=[(b"x-a", text)])


def name(text: bytes) -> Ask:
    return Ask(fields=[(text, b"1")])


MALFORMED = {
    **{f"value {text!r}": value(text) for text in (b"a\0b", b"a\rb", b"a\nb", b"a\r\nb", b"\x01", b"\x7f", b"\x1f")},
    **{
        f"name {text!r}": name(text)
        for text in (
            b"",
            b"x a",
            b"x-a ",
            b"x\ta",
            b"x\0",
            b"x\r\ny",
            b"x(",
            b"x\x80",
            b"content_length",
            b"ho_st",
        )
    },
    **{
        f"host {text!r}": Ask(host=text)
        for text in (
            b"",
            b"a b",
            b"a,b",
            b"user@a",
            b"a/b",
            b"a:b",
            b"a:65536",
            b"[::1",
            b"a\0",
            b"\xe4",
            b"a?b",
            b"a#b",
        )
    },
    "no host": Ask(host=None),
    "another host": Ask(fields=[(b"host", b"other")]),
    "the same host again": Ask(fields=[(b"host", b"test"), (b"host", b"test")]),
    "disagreeing authorities": Ask(host=b"test", authority=b"other"),
    "disagreeing ports": Ask(host=b"test:81", authority=b"test"),
    **{f"method {text!r}": Ask(text) for text in (b"", b"GE\0T", b"G(T", b"GE\tT", b"G\x80T", b"G\r\nT")},
    **{
        f"path {text!r}": Ask(path=text)
        for text in (b"", b"echo", b"*", b"/a\0", b"/a\x7f", b"/a#b", b"/a\x80", b"/a\tb", b"/a\r\nb", b"?a")
    },
    **{
        f"length {text!r}": Ask(body=b"content", length=text)
        for text in (b"", b"+7", b"-7", b"0x7", b"7,7", b"7, 7", b"7a", b"7.0", b"1" * 30, b"\xb2")
    },
    "length twice": Ask(body=b"content", fields=[(b"content-length", b"7")]),
    "length twice and different": Ask(body=b"content", fields=[(b"content-length", b"8")]),
    "content type twice": Ask(fields=[(b"content-type", b"a/b"), (b"content-type", b"c/d")]),
    **{
        f"trailer {text!r}": Ask(body=b"content", length=None, trailers=[(text, b"1")])
        for text in (b"content-length", b"host", b"authorization", b"content_length", b"x a", b"transfer-encoding")
    },
    "trailer value": Ask(body=b"content", length=None, trailers=[(b"x-a", b"a\0b")]),
}


@pytest.mark.parametrize("ask", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_is_refused_by_both(server: ServerProcess, ask: Ask) -> None:
    old = by_http1(server, ask)
    assert old is not None
    assert old.status == 400
    new = by_http2(server, ask)
    assert (new.reset, new.has_head) == (PROTOCOL_ERROR, False)


# Well-formed, and not served: HTTP/2 has an answer for these, the same one.
NOT_SERVED = {
    "a method in lower case": (501, Ask(b"get")),
    "an unknown expectation": (417, Ask(fields=[(b"expect", b"200-maybe")], body=b"content")),
    "too many fields": (431, Ask(fields=[(b"x-%d" % number, b"1") for number in range(101)])),
    "a field too large": (431, value(b"a" * 8190)),
    "a head too large": (431, Ask(fields=[(b"x-%d" % number, b"a" * 8000) for number in range(9)])),
    "a path too long": (414, Ask(path=b"/" + b"a" * 8190)),
    "a body declared too large": (413, Ask(length=b"%d" % (LIMIT_BODY + 1), body=b"a" * (LIMIT_BODY + 1))),
    "a body that grows too large": (413, Ask(length=None, body=b"a" * (LIMIT_BODY + 1))),
}


@pytest.mark.parametrize(("status", "ask"), NOT_SERVED.values(), ids=NOT_SERVED)
def test_what_is_not_served_has_one_status(server: ServerProcess, status: int, ask: Ask) -> None:
    old = by_http1(server, ask)
    assert old is not None
    new = by_http2(server, ask)
    assert (new.status, old.status) == (status, status)
    assert bytes(new.body) == old.body


# Of HTTP/2 alone: RFC 9113 sections 8.1 to 8.5.
PSEUDO = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"test")]
ONLY_HTTP2 = {
    "no method": PSEUDO[1:],
    "no scheme": [PSEUDO[0], *PSEUDO[2:]],
    "no path": [*PSEUDO[:2], PSEUDO[3]],
    "no authority": PSEUDO[:3],
    "method twice": [*PSEUDO, (b":method", b"GET")],
    "path twice": [*PSEUDO, (b":path", b"/other")],
    "authority twice": [*PSEUDO, (b":authority", b"test")],
    "an unknown pseudo-header": [*PSEUDO, (b":unknown", b"1")],
    "a pseudo-header of responses": [*PSEUDO, (b":status", b"200")],
    "a pseudo-header after a field": [*PSEUDO[:3], (b"x-a", b"1"), PSEUDO[3]],
    "another scheme": [(b":method", b"GET"), (b":scheme", b"ftp"), *PSEUDO[2:]],
    "a name in upper case": [*PSEUDO, (b"X-Upper", b"1")],
    "a colon in a name": [*PSEUDO, (b"x:a", b"1")],
    "a field within a value": [*PSEUDO, (b"x-a", b"1\r\nx-b: 2")],
    "white space before a value": [*PSEUDO, (b"x-a", b" 1")],
    "white space after a value": [*PSEUDO, (b"x-a", b"1\t")],
    "connection": [*PSEUDO, (b"connection", b"close")],
    "keep-alive": [*PSEUDO, (b"keep-alive", b"timeout=5")],
    "proxy-connection": [*PSEUDO, (b"proxy-connection", b"keep-alive")],
    "transfer-encoding": [*PSEUDO, (b"transfer-encoding", b"chunked")],
    "upgrade": [*PSEUDO, (b"upgrade", b"websocket")],
    "te other than trailers": [*PSEUDO, (b"te", b"trailers, deflate")],
    "connect with a path": [(b":method", b"CONNECT"), *PSEUDO[1:]],
    "connect without authority": [(b":method", b"CONNECT")],
    "a protocol without connect": [*PSEUDO, (b":protocol", b"websocket")],
}


@pytest.mark.parametrize("head", ONLY_HTTP2.values(), ids=ONLY_HTTP2)
def test_what_only_http2_can_get_wrong_is_refused(server: ServerProcess, head: Pairs) -> None:
    with H2Connection(server.address) as client:
        refused = client.response(client.open(head, end=True))  # type: ignore[arg-type]
        assert (refused.reset, refused.has_head) == (PROTOCOL_ERROR, False)
        assert client.get("/still-there").body == b"hello /still-there"


@pytest.mark.parametrize(("length", "sent"), [(b"8", b"content"), (b"6", b"content"), (b"1", b""), (b"0", b"content")])
def test_content_that_is_not_of_its_declared_length_is_refused(
    server: ServerProcess, length: bytes, sent: bytes
) -> None:
    assert by_http2(server, Ask(length=length, body=sent)).reset == PROTOCOL_ERROR


def test_authorities_that_differ_in_spelling_alone_agree(server: ServerProcess) -> None:
    ask = Ask(host=b"test:80", authority=b"TEST")
    old = by_http1(server, ask)
    assert old is not None
    assert (old.status, by_http2(server, ask).status) == (200, 200)
