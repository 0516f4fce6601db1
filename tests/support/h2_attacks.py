"""HTTP/2 frames in numbers and shapes that no honest client sends. Each attack yields bytes for one connection, for as
long as its victim takes them; none of them knows what the right answer is."""

import itertools
from collections.abc import Callable, Iterator

Attack = Callable[[], Iterator[bytes]]

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE, UNKNOWN = 0x10, 0xBB
END_STREAM, END_HEADERS, PADDED = 0x1, 0x4, 0x8

# Literals without indexing, so that a block means the same on every stream.
GET = b"\x82\x86\x84\x01\x01t"
POST = b"\x83\x86\x84\x01\x01t\x0f\x0d\x0210"  # with content-length: 10, so that a WSGI thread waits for no such body

BATCH = 64  # frames, or pairs of them, per write


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def get(stream: int, more: bytes = b"") -> bytes:
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, GET + more)


def post(stream: int) -> bytes:
    return frame(HEADERS, END_HEADERS, stream, POST)


def literal(name: bytes, value: bytes) -> bytes:
    return b"\x00" + integer(len(name), 7) + name + integer(len(value), 7) + value


def integer(number: int, bits: int, first: int = 0) -> bytes:
    """RFC 7541, 5.1."""
    limit = (1 << bits) - 1
    if number < limit:
        return bytes([first | number])
    octets = [first | limit]
    number -= limit
    while number >= 128:
        octets.append(number & 127 | 128)
        number >>= 7
    return bytes([*octets, number])


def repeated(piece: bytes, batch: int = BATCH) -> Attack:
    """The same frame over and over."""
    return lambda: itertools.repeat(piece * batch)


def on_streams(make: Callable[[int], bytes]) -> Attack:
    """The same on stream after stream."""

    def attack() -> Iterator[bytes]:
        for first in itertools.count(1, 2 * BATCH):
            yield b"".join(make(stream) for stream in range(first, first + 2 * BATCH, 2))

    return attack


def after(start: bytes, attack: Attack) -> Attack:
    return lambda: itertools.chain([start], attack())


def in_blocks(stream: int, block: bytes) -> bytes:
    """A header block of any length, in HEADERS and CONTINUATION frames."""
    pieces = [block[at : at + 16384] for at in range(0, len(block), 16384)]
    out = frame(HEADERS, END_STREAM | (END_HEADERS if len(pieces) == 1 else 0), stream, pieces[0])
    for number, piece in enumerate(pieces[1:], 2):
        out += frame(CONTINUATION, END_HEADERS if number == len(pieces) else 0, stream, piece)
    return out


def settings(**values: int) -> bytes:
    names = {"table": 1, "window": 4, "frame": 5}
    pairs = [names[name].to_bytes(2) + value.to_bytes(4) for name, value in values.items()]
    return frame(SETTINGS, 0, 0, b"".join(pairs))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4))


def rapid_reset(stream: int) -> bytes:
    return get(stream) + frame(RST_STREAM, 0, stream, (8).to_bytes(4))


def drip() -> Iterator[bytes]:
    """CVE-2019-9511: a download whose windows open octet by octet."""
    yield settings(window=0) + frame(
        HEADERS, END_HEADERS | END_STREAM, 1, b"\x82\x86\x04\x15/stream?size=10000000\x01\x01t"
    )
    yield from repeated(window_update(1, 1))()


def unread_replies() -> Iterator[bytes]:
    """Everything that makes a server write, from a client that reads nothing: resets, and acknowledgements."""
    for first in itertools.count(1, 2 * BATCH):
        streams = range(first, first + 2 * BATCH, 2)
        yield b"".join(get(stream) + frame(PING, 0, 0, bytes(8)) for stream in streams)


# What must end in GOAWAY, the code of it, and what the log says.
CALM = "ENHANCE_YOUR_CALM"
# Which of these is counted first depends on how many of the frames come with one read.
RESETS = "too many (reset streams|streams beyond the limit|frames to be answered and none read)"
# A stream that the application has answered by then is not reset any more, but the frame counts all the same.
WINDOW_RESETS = f"({RESETS}|too many WINDOW_UPDATE frames)"
FLOODS: dict[str, tuple[Attack, str, str]] = {
    "rapid-reset": (on_streams(rapid_reset), CALM, RESETS),
    "made-you-reset-zero-increment": (on_streams(lambda s: post(s) + window_update(s, 0)), CALM, WINDOW_RESETS),
    "made-you-reset-overflow": (on_streams(lambda s: post(s) + window_update(s, 0x7FFFFFFF)), CALM, WINDOW_RESETS),
    "made-you-reset-data-after-end": (
        on_streams(lambda s: get(s) + frame(DATA, END_STREAM, s, b"x")),
        "(ENHANCE_YOUR_CALM|STREAM_CLOSED)",  # the stream may have ended by then
        f"({RESETS}|frame on an ended stream)",
    ),
    "made-you-reset-self-dependency": (
        on_streams(lambda s: frame(HEADERS, END_HEADERS | END_STREAM | 0x20, s, s.to_bytes(4) + b"\0" + GET)),
        CALM,
        RESETS,
    ),
    "continuation-empty": (
        after(frame(HEADERS, END_STREAM, 1, GET), repeated(frame(CONTINUATION, 0, 1))),
        CALM,
        "too many CONTINUATION frames",
    ),
    "continuation-large": (
        after(frame(HEADERS, END_STREAM, 1, GET), repeated(frame(CONTINUATION, 0, 1, literal(b"a", b"b" * 16000)), 4)),
        CALM,
        "header block",
    ),
    "settings": (repeated(settings(window=65535)), CALM, "too many SETTINGS frames"),
    "ping": (repeated(frame(PING, 0, 0, bytes(8))), CALM, "too many PING frames"),
    "empty-data": (after(post(1), repeated(frame(DATA, 0, 1))), CALM, "too many empty DATA frames"),
    "padding": (after(post(1), repeated(frame(DATA, PADDED, 1, b"\xff" + bytes(255)))), CALM, "too many empty DATA"),
    "priority": (
        on_streams(lambda s: frame(PRIORITY, 0, s, (s + 2).to_bytes(4) + b"\xff")),
        CALM,
        "too many priority frames",
    ),
    "priority-update": (
        on_streams(lambda s: frame(PRIORITY_UPDATE, 0, 0, s.to_bytes(4) + b"u=0, i")),
        CALM,
        "too many priority frames",
    ),
    "window-drip": (drip, CALM, "too many WINDOW_UPDATE frames"),
    "empty-names": (on_streams(lambda s: get(s, literal(b"", b"") * 20)), CALM, RESETS),
    "unknown-frames": (repeated(frame(UNKNOWN, 0, 0, bytes(100))), CALM, "too many unknown frames"),
    "goaway": (repeated(frame(GOAWAY, 0, 0, bytes(8))), "(ENHANCE_YOUR_CALM|NO_ERROR)", "(too many SETTINGS|)"),
    "streams-beyond-the-limit": (on_streams(post), CALM, "too many streams beyond the limit"),
    "unread-resets": (unread_replies, CALM, "too many"),
}

# A single block each that must end the connection with COMPRESSION_ERROR.
BROKEN_BLOCKS: dict[str, bytes] = {
    "index-0": b"\x80",
    "index-beyond-the-tables": b"\xff\x80\x01",
    "index-of-an-empty-table": b"\xbe",
    "name-index-beyond-the-tables": b"\x7f\x80\x01\x01a",
    "huge-index": b"\xff" + b"\xff" * 8 + b"\x7f",
    "endless-integer": b"\xff" + b"\x80" * 100,
    "string-beyond-the-block": b"\x00\x7f\xff\xff\xff\x7f",
    "huge-string-length": b"\x00\x01a\x7f" + b"\xff" * 9 + b"\x01",
    "table-beyond-its-limit": b"\x3f\xe2\x1f",
    "table-update-inside": b"\x82\x20",
    "huffman-with-eos": b"\x00\x01a\x84\xff\xff\xff\xff",
    "huffman-with-long-padding": b"\x00\x01a\x82\x1f\xff",
}

# Requests that are malformed: their streams must be reset with PROTOCOL_ERROR, and the connection goes on.
MALFORMED: dict[str, bytes] = {
    "crlf-in-a-value": GET + literal(b"x", b"a\r\nset-cookie: b=c"),
    "lf-in-a-value": GET + literal(b"x", b"a\nb"),
    "cr-in-a-value": GET + literal(b"x", b"a\rb"),
    "nul-in-a-value": GET + literal(b"x", b"a\0b"),
    "crlf-in-a-name": GET + literal(b"x\r\ny", b"a"),
    "upper-case-name": GET + literal(b"X-Upper", b"a"),
    "space-in-a-name": GET + literal(b"x y", b"a"),
    "colon-in-a-name": GET + literal(b"x:y", b"a"),
    "empty-name": GET + literal(b"", b"a"),
    "crlf-in-the-path": b"\x82\x86" + b"\x04\x09/a\r\nb: c\r" + b"\x01\x01t",
    "space-in-the-path": b"\x82\x86" + b"\x04\x04/a b" + b"\x01\x01t",
    "crlf-in-the-method": b"\x02\x07GET /\r\n" + b"\x86\x84\x01\x01t",
    "crlf-in-the-authority": b"\x82\x86\x84" + b"\x01\x04t\r\nx",
    "transfer-encoding": GET + literal(b"transfer-encoding", b"chunked"),
    "connection": GET + literal(b"connection", b"close"),
    "two-paths": GET + b"\x84",
    "pseudo-field-last": b"\x82\x86\x84" + literal(b"a", b"b") + b"\x01\x01t",
    "no-path": b"\x82\x86\x01\x01t",
}

# Blocks that grow when they are decoded. Each must be answered with 431.
INDEXED = b"\x40" + integer(1, 7) + b"a" + integer(4000, 7) + b"b" * 4000
BOMBS: dict[str, bytes] = {
    "one-large-field-by-index": GET + INDEXED + b"\xbe" * 15_000,
    "many-fields-by-index": GET + b"\x90" * 15_000,  # accept-encoding: gzip, deflate
    "cookie-crumbs": GET + b"\x40\x06cookie\x03a=b" + b"\xbe" * 15_000,
    "empty-cookie-crumbs": GET + b"\x40\x06cookie\x00" + b"\xbe" * 15_000,
    "many-literals": GET + literal(b"a", b"") * 2000,
}
