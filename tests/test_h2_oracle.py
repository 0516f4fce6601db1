"""Python's h2 as the judge: of whole conversations, where it finds nothing wrong with what the server sends, and of
damaged ones, where server and judge agree on what was asked, or the difference is listed here with its reason."""

import hashlib
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import pytest
from hpack import Encoder
from hyperframe.frame import (
    AltSvcFrame,
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.application import numbers
from tests.support.generated import over_the_wire
from tests.support.h2 import PREFACE, ClosedError, H2Connection
from tests.support.server import ServerProcess

DEADLINE = 20.0  # s, for hangs
Pairs = list[tuple[str, str]]

# Conversations.


@dataclass
class Exchange:
    """What is asked on one stream, and what has come of it."""

    kind: str
    size: int
    piece: int
    padding: int | None
    sent: int = 0
    given_up: bool = False
    fields: dict[bytes, bytes] = field(default_factory=dict)
    trailers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    over: bool = False

    @property
    def content(self) -> bytes:
        return b"".join(numbers(self.size))

    def check(self) -> None:
        assert self.fields[b":status"] == b"200"
        match self.kind:
            case "upload" | "trailers up":
                assert self.body == f"{self.size} {hashlib.sha256(self.content).hexdigest()}".encode()
            case "download":
                assert self.body == self.content
            case "trailers down":
                assert (self.body, self.trailers[b"x-checksum"]) == (b"before trailers\n", b"abc")


class Client:
    """h2's idea of a client, on a socket. Whatever it objects to is raised."""

    def __init__(self, address: tuple[str, int], window: int) -> None:
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        self.socket = socket.create_connection(address, timeout=DEADLINE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.exchanges: dict[int, Exchange] = {}
        self.connection.initiate_connection()
        self.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.flush()

    def flush(self) -> None:
        self.socket.sendall(self.connection.data_to_send())

    def read(self) -> None:
        data = self.socket.recv(65536)
        assert data, "closed by the server"
        for event in self.connection.receive_data(data):
            stream = getattr(event, "stream_id", None)
            exchange = self.exchanges.get(stream or 0)
            if exchange is None:
                continue
            if isinstance(event, h2.events.ResponseReceived):
                exchange.fields = dict(event.headers)
            elif isinstance(event, h2.events.TrailersReceived):
                exchange.trailers = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                exchange.body += event.data
                if event.flow_controlled_length:
                    self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                raise AssertionError(f"stream {stream} was reset: {event.error_code}")
            elif isinstance(event, h2.events.StreamEnded):
                exchange.over = True
        self.flush()

    def start(self, exchange: Exchange) -> int:
        stream = self.connection.get_next_available_stream_id()
        self.exchanges[stream] = exchange
        path = {"download": f"/numbers?size={exchange.size}", "trailers down": "/trailers"}.get(exchange.kind, "/sum")
        uploads = path == "/sum"
        head = [(":method", "POST" if uploads else "GET"), (":scheme", "http"), (":authority", "test"), (":path", path)]
        self.connection.send_headers(stream, head, end_stream=not uploads)
        self.flush()
        return stream

    def advance(self, stream: int) -> bool:
        """Send the next piece of an upload; False when there is nothing more to send."""
        exchange = self.exchanges[stream]
        if exchange.kind not in {"upload", "trailers up"} or exchange.given_up:
            return False
        piece = exchange.content[exchange.sent : exchange.sent + exchange.piece]
        if piece:
            overhead = 0 if exchange.padding is None else exchange.padding + 1
            while self.connection.local_flow_control_window(stream) < len(piece) + overhead:
                self.read()
            self.connection.send_data(stream, piece, pad_length=exchange.padding)
            exchange.sent += len(piece)
        elif exchange.kind == "trailers up":
            self.connection.send_headers(stream, [("x-checksum", "abc")], end_stream=True)
        else:
            self.connection.end_stream(stream)
        self.flush()
        return bool(piece)


exchanges = st.builds(
    Exchange,
    kind=st.sampled_from(["upload", "trailers up", "download", "trailers down"]),
    size=st.sampled_from([0, 1, 1000, 16384, 70_000]),
    piece=st.sampled_from([997, 5000, 15_000]),
    padding=st.sampled_from([None, 0, 7, 255]),
)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    options = ["--workers", "1", "--max-requests", "0", "--no-access-log"]
    with ServerProcess(*options, "tests.conformance.application:asgi") as server:
        yield server


@pytest.fixture(scope="module")
def echo() -> Iterator[ServerProcess]:
    options = ["--workers", "1", "--max-requests", "0", "--no-access-log", "--lifespan", "off", "--http", "2"]
    with ServerProcess(*options, "tests.apps.wire_asgi:echo") as server:
        yield server


@over_the_wire
@given(
    asked=st.lists(exchanges, min_size=1, max_size=8),
    window=st.sampled_from([100, 5000, 65_535, 1 << 20]),
    order=st.randoms(use_true_random=False),
    given_up=st.sets(st.integers(0, 7), max_size=2),
)
def test_nothing_is_wrong_with_any_conversation(
    server: ServerProcess,
    asked: list[Exchange],
    window: int,
    order: Random,
    given_up: set[int],
) -> None:
    client = Client(server.address, window)
    with client.socket:
        streams = [client.start(exchange) for exchange in asked]
        for number in given_up & set(range(len(asked))):
            # Somewhere on its way, which is anywhere on the server's.
            client.exchanges[streams[number]].given_up = True
            client.connection.reset_stream(streams[number])
            client.flush()
        sending = list(streams)
        while sending:
            stream = order.choice(sending)
            if not client.advance(stream):
                sending.remove(stream)
            if order.random() < 0.1:
                client.connection.ping(b"12345678")
                client.flush()
        while not all(exchange.over or exchange.given_up for exchange in client.exchanges.values()):
            client.read()
    for exchange in client.exchanges.values():
        if not exchange.given_up:
            exchange.check()


# Damaged conversations.


@dataclass(frozen=True)
class RawFrame:
    """A frame as parts that may contradict each other. Its length is right, or all that follows would be another's."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    def serialize(self) -> bytes:
        return len(self.payload).to_bytes(3) + bytes([self.kind, self.flags]) + self.stream.to_bytes(4) + self.payload

    @classmethod
    def of(cls, frame: Frame) -> "RawFrame":
        octets = frame.serialize()
        return cls(octets[3], octets[4], int.from_bytes(octets[5:9]), octets[9:])


@st.composite
def conversations(draw: st.DrawFn) -> list[RawFrame]:
    """The frames of one to three valid requests, in order, among others that mean nothing to them."""
    encoder = Encoder()
    frames: list[Frame] = [SettingsFrame(0, settings={})]
    for stream in range(1, 2 * draw(st.integers(1, 3)), 2):
        body = draw(st.sampled_from([None, b"", b"content"]))
        trailers = body is not None and draw(st.booleans())
        head = [(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", f"/{stream}")]
        head += draw(st.sampled_from([[], [("x-a", "1")], [("content-length", str(len(body or b"")))]]))
        block = encoder.encode(head)
        cut = draw(st.integers(1, len(block)))
        frames.append(HeadersFrame(stream, block[:cut], flags=["END_STREAM"] if body is None else []))
        if cut < len(block):
            frames.append(ContinuationFrame(stream, block[cut:]))
        frames[-1].flags.add("END_HEADERS")
        if body is not None:
            frames.append(DataFrame(stream, body, flags=[] if trailers else ["END_STREAM"]))
        if trailers:
            frames.append(
                HeadersFrame(stream, encoder.encode([("x-checksum", "1")]), flags=["END_HEADERS", "END_STREAM"])
            )
        frames += draw(st.sampled_from([[], [], [PingFrame(0, b"12345678")], [WindowUpdateFrame(0, 1000)]]))
    return [RawFrame.of(frame) for frame in frames]


@st.composite
def damaged(draw: st.DrawFn) -> list[RawFrame]:
    """A conversation, changed in one or two places."""
    frames = draw(conversations())
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(frames) - 1))
        frame = frames[at]
        match draw(st.sampled_from(["drop", "twice", "swap", "kind", "flags", "stream", "cut", "longer", "octet"])):
            case "drop" if len(frames) > 1:
                del frames[at]
            case "twice":
                frames.insert(at, frame)
            case "swap":
                other = draw(st.integers(0, len(frames) - 1))
                frames[at], frames[other] = frames[other], frame
            case "kind":
                frames[at] = replace(frame, kind=draw(st.integers(0, 11)))
            case "flags":
                frames[at] = replace(frame, flags=frame.flags ^ draw(st.sampled_from([0x1, 0x4, 0x8, 0x20, 0x40])))
            case "stream":
                frames[at] = replace(frame, stream=draw(st.sampled_from([0, 1, 2, 3, 5, 9, 1 << 31 | 1])))
            case "cut" if frame.payload:
                frames[at] = replace(frame, payload=frame.payload[: draw(st.integers(0, len(frame.payload) - 1))])
            case "longer":
                frames[at] = replace(frame, payload=frame.payload + draw(st.binary(min_size=1, max_size=4)))
            case "octet" if frame.payload:
                place = draw(st.integers(0, len(frame.payload) - 1))
                octet = draw(st.sampled_from([0x00, 0x20, 0x3F, 0x40, 0x80, 0xFF]))
                frames[at] = replace(frame, payload=frame.payload[:place] + bytes([octet]) + frame.payload[place + 1 :])
    return frames


@dataclass
class Verdict:
    """Which requests were complete and valid, by stream, and what was objected to."""

    accepted: dict[int, tuple[str, bytes]] = field(default_factory=dict)  # path and body
    refused: dict[int, str] = field(default_factory=dict)
    broken: str = ""
    """Why the connection was given up."""
    by: RawFrame | None = None
    """The frame that did it, as far as it is known."""
    fields: dict[int, dict[bytes, bytes]] = field(default_factory=dict)
    trailers: dict[int, set[bytes]] = field(default_factory=dict)


def by_judge(frames: list[RawFrame]) -> Verdict:
    verdict = Verdict()
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
    connection.initiate_connection()
    connection.receive_data(PREFACE)
    bodies: dict[int, bytes] = {}
    for frame in frames:
        try:
            events = connection.receive_data(frame.serialize())
        except h2.exceptions.ProtocolError as error:
            verdict.broken, verdict.by = f"{type(error).__name__}: {error}", frame
            break
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                verdict.fields[event.stream_id] = dict(event.headers)
                bodies[event.stream_id] = b""
            elif isinstance(event, h2.events.DataReceived):
                bodies[event.stream_id] += event.data
            elif isinstance(event, h2.events.StreamEnded):
                path = verdict.fields[event.stream_id][b":path"].decode("latin-1")
                verdict.accepted[event.stream_id] = (path, bodies[event.stream_id])
            elif isinstance(event, h2.events.StreamReset):
                verdict.refused[event.stream_id] = f"code {event.error_code}"
            elif isinstance(event, h2.events.TrailersReceived):
                verdict.trailers[event.stream_id] = set(dict(event.headers))
            elif isinstance(event, h2.events.ConnectionTerminated):
                verdict.broken, verdict.by = "the client says goodbye", frame
                return verdict
    return verdict


def by_server(server: ServerProcess, frames: list[RawFrame]) -> Verdict:
    verdict = Verdict()
    with H2Connection(server.address, greet=False) as client:
        try:
            client.send(PREFACE + b"".join(frame.serialize() for frame in frames))
            client.sock.shutdown(socket.SHUT_WR)
        except (ClosedError, OSError):
            pass  # what was sent back before is still to be read
        client.wait_closed()
        for goaway in client.goaways:
            if goaway.error_code:
                verdict.broken = goaway.additional_data.decode()
        for stream, exchange in client.exchanges.items():
            if exchange.reset is not None:
                verdict.refused[stream] = f"code {exchange.reset}"
            elif exchange.ended and exchange.status == 200:
                told = json.loads(exchange.body)
                verdict.accepted[stream] = (told["raw_path"], told["body"].encode("latin-1"))
            elif exchange.ended:
                verdict.refused[stream] = bytes(exchange.body).decode()
    return verdict


# Refused here, by the cause that the server names, although the judge lets it pass.
STRICTER = {
    "first frame is not SETTINGS": "RFC 9113, 3.4: it must be, in the client's preface too",
    "first frame is an acknowledgement": "RFC 9113, 3.4: there is nothing yet to acknowledge",
    "bad HPACK Huffman string": "RFC 7541, 5.2: found as the block comes; the judge waits for an end that may not come",
    "bad HPACK table size update": "RFC 7541, 4.2: likewise",
    "HPACK index outside the tables": "RFC 7541, 2.3.3: likewise",
}


def stricter(fields: dict[bytes, bytes], body: bytes, trailers: set[bytes]) -> bool:
    """Refused here by a rule about single requests that the judge does not know."""
    return (
        # RFC 9113, 8.1.1. The judge does not compare lengths when a request ends with trailers.
        int(fields.get(b"content-length", len(body))) != len(body)
        # RFC 9113, 8.3.1, and RFC 3986: what a path and an authority are made of.
        or re.fullmatch(rb"/[!\"$-~]*", fields[b":path"]) is None
        or re.fullmatch(rb"[a-z]+", fields[b":authority"]) is None
        # RFC 9110, 5.1 and 6.5.1: names are tokens, and many may not stand in trailers.
        or any(re.fullmatch(rb":?[a-z-]+", name) is None for name in fields)
        or not trailers <= {b"x-a", b"x-checksum"}
        or fields[b":scheme"] not in {b"http", b"https"}
        or re.fullmatch(rb"[A-Z]+", fields[b":method"]) is None
    )


def looser(frame: RawFrame) -> bool:
    """Let pass here, and the end of the conversation to the judge."""
    return (
        # RFC 7838, 4: a server must ignore ALTSVC, whatever is in it.
        frame.kind == AltSvcFrame.type
        # RFC 9113, 6.8: it speaks of streams that the server opens.
        or frame.kind == GoAwayFrame.type
        # RFC 9113, 6.9: the reserved bit must be ignored.
        or (frame.kind == WindowUpdateFrame.type and frame.payload[:1] >= b"\x80")
    )


@settings(over_the_wire, max_examples=150)
@given(frames=damaged())
def test_damaged_conversations_are_read_alike_or_refused_for_a_listed_reason(
    echo: ServerProcess, frames: list[RawFrame]
) -> None:
    ours, theirs = by_server(echo, frames), by_judge(frames)
    # The judge gives up the connection for requests that are malformed, where RFC 9113, 8.1.1 has their stream reset.
    last = theirs.by
    for stream, request in ours.accepted.items():
        if stream in theirs.accepted:
            assert theirs.accepted[stream] == request, (ours, theirs)
        else:
            assert last is not None, (ours, theirs)
            assert last.stream != stream or looser(last), (ours, theirs)
    if ours.broken:
        assert theirs.broken or ours.broken in STRICTER, (ours, theirs)
        return
    assert last is None or last.stream in ours.refused or looser(last), (ours, theirs)
    for stream in theirs.accepted.keys() - theirs.refused.keys() - ours.accepted.keys():
        body, trailers = theirs.accepted[stream][1], theirs.trailers.get(stream, set())
        assert stricter(theirs.fields[stream], body, trailers), (ours, theirs)
