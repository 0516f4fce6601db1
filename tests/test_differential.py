"""Generated requests, whole and damaged, to a running server, to h11 and to httptools: all agree on what was said, or
the difference is one that is listed here with its reason."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import h11
import httptools
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.raw import MalformedResponseError
from tests.support.server import ServerProcess

Fields = list[tuple[bytes, bytes]]


@dataclass
class Told:
    """What a reader made of a request; `refusal` says why it made nothing of it."""

    method: bytes = b""
    target: bytes = b""
    fields: Fields = field(default_factory=list)
    body: bytes = b""
    refusal: str = ""

    @property
    def accepted(self) -> bool:
        return not self.refusal


# Refused here, by the cause that the server names, although another reader lets it pass.
STRICTER = {
    "bare LF in the head": "RFC 9112, 2.2 allows it to recipients, and allows two readers to disagree; here CRLF only",
    "bare CR in the head": "RFC 9112, 2.2: invalid",
    "control byte in the head": "RFC 9110, 5.5: such a message may be rejected",
    "obsolete line folding": "RFC 9112, 5.2: a server must reject it or replace it",
    "malformed request line": "RFC 9112, 3: single spaces; leniency is optional",
    "invalid character in the request method": "RFC 9110, 9.1: a token",
    "request methods are upper-case": "RFC 9110, 9.1: methods are case-sensitive; no lower-case one is registered",
    "malformed request target": "RFC 9112, 3.2: one of four forms, without fragment",
    "malformed authority in the request target": "RFC 9110, 4.2.4: no userinfo; uri-host[:port]",
    "request target '*' is for OPTIONS only": "RFC 9112, 3.2.4",
    "CONNECT needs a host:port target": "RFC 9112, 3.2.3",
    "malformed HTTP version": "RFC 9112, 2.3: HTTP/DIGIT.DIGIT",
    "unsupported HTTP version": "RFC 9110, 15.6.6: another major version is 505",
    "malformed Host field": "RFC 9112, 3.2: 400 for an invalid Host",
    "no Host field": "RFC 9112, 3.2: 400 without Host",
    "more than one Host field": "RFC 9112, 3.2: 400",
    "Host differs from the request target": "RFC 9112, 3.2.2: routing must not depend on which of them is read",
    "white space before the colon of a field": "RFC 9112, 5.1: 400",
    "field line without a colon": "RFC 9112, 5",
    "invalid field name": "RFC 9110, 5.1: a token",
    "ambiguous spelling of a framing or routing field": "CGI-style names would merge it with the real one",
    "malformed Content-Length": "RFC 9110, 8.6: 1*DIGIT",
    "more than one Content-Length": "RFC 9112, 6.3: identical values may be rejected as well",
    "both Transfer-Encoding and Content-Length": "RFC 9112, 6.1: may be rejected; it is the classic of smuggling",
    "Transfer-Encoding in HTTP/1.0": "RFC 9112, 6.1: to be treated as faulty framing",
    "malformed Transfer-Encoding": "RFC 9112, 6.3: 400 if chunked is not the final coding",
    "unsupported transfer coding": "RFC 9112, 6.1: 501",
    "more than one Content-Type": "RFC 9110, 8.3: a singleton; filters and applications would pick different ones",
    "unsupported expectation": "RFC 9110, 10.1.1: 417",
    "malformed chunk size": "RFC 9112, 7.1: 1*HEXDIG",
    "chunk size too large": "RFC 9112, 7.1: large numerals must not overflow",
    "malformed chunk extension": "RFC 9112, 7.1.1",
    "chunk data not followed by CRLF": "RFC 9112, 7.1",
    "field not allowed in trailers": "RFC 9110, 6.5.1: no framing, routing or authentication in trailers",
}


def looser_than_h11(wire: bytes, refusal: str) -> bool:
    """Accepted here and refused by h11: only what RFC 9112, section 2.2 asks a server to let pass."""
    return wire.startswith(b"\r\n") and "no request line" in refusal


def looser_than_httptools(told: Told, wire: bytes) -> bool:
    """Accepted here and refused by httptools, which knows a list of methods and two versions, while RFC 9110 lets both
    grow (sections 9.1 and 6.2), and which wants chunk extensions and URLs of its own grammar."""
    line = wire.lstrip(b"\r\n").split(b"\r\n", 1)[0]
    return (
        told.method.decode() not in METHODS
        or not line.endswith((b" HTTP/1.1", b" HTTP/1.0"))
        or b";" in wire
        or not told.target.startswith((b"/", b"*"))
    )


# What is generated.

METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]
TCHAR = "!#$%&'*+-.^`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
targets = st.from_regex(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]{0,12}){1,3}(\?[A-Za-z0-9=&%/?._-]{0,20})?", fullmatch=True)
names = st.text(TCHAR, min_size=1, max_size=12).map(lambda name: f"X-{name}")
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20)
bodies = st.binary(max_size=60)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request that RFC 9112 calls valid."""
    lines = [f"{draw(st.sampled_from(METHODS[:-1]))} {draw(targets)} HTTP/1.1"]
    fields = [f"Host: {draw(st.sampled_from(['a', 'example.com:80', '[::1]', '127.0.0.1:8000']))}"]
    fields += [f"{name}:{draw(st.sampled_from(['', ' ', chr(9)]))}{value}" for name, value in draw(extra_fields)]
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    body = b""
    if framing == "length":
        body = draw(bodies)
        fields.append(f"Content-Length: {len(body)}")
    elif framing == "chunked":
        fields.append("Transfer-Encoding: chunked")
        chunks = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=4))
        body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    order = draw(st.permutations(fields))
    return "\r\n".join([*lines, *order, "", ""]).encode("latin-1") + body


extra_fields = st.lists(st.tuples(names, values), max_size=4)
BYTES = [bytes([byte]) for byte in b"\r\n \t\0:;,0_#\x7f\x80aA/"] + [b"\r\n"]
LINES = [
    b"Content-Length: 0",
    b"Content-Length: +1",
    b"content_length: 5",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: xchunked",
    b"Host: b",
    b"Host: a/b",
    b"Expect: 100-continue",
    b"Connection: close",
    b"X-Folded: a\r\n b",
    b"no colon",
    b" X-Space: before",
    b"X-Space : after",
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid request, changed in one to three places."""
    wire = draw(requests())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.randoms(use_true_random=False)).randint(0, len(wire))
        match draw(st.sampled_from(["insert", "replace", "delete", "line", "feeds", "version"])):
            case "insert":
                wire = wire[:at] + draw(st.sampled_from(BYTES)) + wire[at:]
            case "replace":
                wire = wire[:at] + draw(st.sampled_from(BYTES)) + wire[at + 1 :]
            case "delete":
                wire = wire[:at] + wire[at + 1 :]
            case "line":
                first, _, rest = wire.partition(b"\r\n")
                wire = first + b"\r\n" + draw(st.sampled_from(LINES)) + b"\r\n" + rest
            case "feeds":
                wire = wire.replace(b"\r\n", b"\n", draw(st.integers(1, 3)))
            case "version":
                version = draw(st.sampled_from([b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.11"]))
                wire = wire.replace(b"HTTP/1.1", version, 1)
    return wire


# The readers.


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    options = ["--workers", "1", "--max-requests", "0", "--no-access-log"]
    with ServerProcess(*options, "--lifespan", "off", "tests.apps.wire_asgi:echo") as server:
        yield server


def by_server(server: ServerProcess, wire: bytes) -> Told:
    with server.connect(timeout=5) as client:
        client.send(wire)
        client.half_close()
        try:
            response = client.read_final_response()
        except (EOFError, ConnectionResetError, MalformedResponseError) as error:
            return Told(refusal=f"incomplete: {error}")
    if response.status != 200 or not response.body.startswith(b"{"):
        cause = response.body.decode("latin-1").strip().partition(": ")[2]
        return Told(refusal=cause or f"status {response.status}")
    told = json.loads(response.body)
    return Told(
        told["method"].encode(),
        b"",
        [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told["headers"]],
        told["body"].encode("latin-1"),
    )


def by_h11(wire: bytes) -> Told:
    connection = h11.Connection(h11.SERVER)
    told = Told(refusal="incomplete")
    try:
        connection.receive_data(wire)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                told.method, told.target, told.fields = event.method, event.target, list(event.headers)
            elif isinstance(event, h11.Data):
                told.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                told.refusal = ""
                return told
            else:
                return told
    except h11.RemoteProtocolError as error:
        return Told(refusal=str(error))


def by_httptools(wire: bytes) -> Told:
    told = Told(refusal="incomplete")

    class Protocol:
        def on_url(self, url: bytes) -> None:
            if told.refusal:
                told.target += url

        def on_header(self, name: bytes, value: bytes) -> None:
            if told.refusal:
                told.fields.append((name.lower(), value))

        def on_body(self, body: bytes) -> None:
            if told.refusal:
                told.body += body

        def on_headers_complete(self) -> None:
            if told.refusal:
                told.method = parser.get_method()

        def on_message_complete(self) -> None:
            told.refusal = ""

    parser = httptools.HttpRequestParser(Protocol())
    try:
        parser.feed_data(wire)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        if told.refusal:
            return Told(refusal=str(error) or type(error).__name__)
    return told


def same_fields(ours: Fields, theirs: Fields) -> bool:
    return [(name, value.strip(b" \t")) for name, value in theirs] == ours


def check(server: ServerProcess, wire: bytes) -> None:
    ours = by_server(server, wire)
    for reader, theirs in (("h11", by_h11(wire)), ("httptools", by_httptools(wire))):
        if ours.accepted and theirs.accepted:
            assert (ours.method, ours.body) == (theirs.method, theirs.body), reader
            assert same_fields(ours.fields, theirs.fields), (reader, ours.fields, theirs.fields)
        elif ours.accepted and reader == "h11":
            assert looser_than_h11(wire, theirs.refusal), theirs.refusal
        elif ours.accepted:
            ours.target = wire.lstrip(b"\r\n").split(b" ")[1]
            assert looser_than_httptools(ours, wire), theirs.refusal
        elif theirs.accepted:
            assert ours.refusal in STRICTER, f"{reader} accepts what was refused: {ours.refusal}"


SETTINGS = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@SETTINGS
@given(wire=requests())
def test_valid_requests_are_read_as_h11_and_httptools_read_them(server: ServerProcess, wire: bytes) -> None:
    assert by_server(server, wire).accepted
    assert by_h11(wire).accepted
    check(server, wire)


@SETTINGS
@given(wire=damaged())
def test_damaged_requests_are_read_alike_or_refused_for_a_listed_reason(server: ServerProcess, wire: bytes) -> None:
    check(server, wire)
