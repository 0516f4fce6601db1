"""Header blocks over a real connection, with Python's hpack at the other end: every form of RFC 7541 that a client may
choose is read, and whatever is written is read by another's decoder."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import pytest
from hpack.hpack import encode_integer
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.table import HeaderTable
from hyperframe.frame import ContinuationFrame, HeadersFrame, SettingsFrame
from hypothesis import given
from hypothesis import strategies as st

from tests.support.generated import FIELD_VALUES, HTTP2_FIELD_NAMES, over_the_wire
from tests.support.h2 import MAX_FRAME, H2Connection
from tests.support.server import ServerProcess

TABLE_SIZE = 4096  # octets; what a server allows that does not say otherwise (RFC 9113 section 6.5.2)


class Form(Enum):
    """How a literal is marked (RFC 7541 section 6.2): its first bits, and the length of the prefix of its name."""

    INDEXED = (0x40, 6)
    PLAIN = (0x00, 4)
    NEVER = (0x10, 4)


@dataclass(frozen=True)
class Line:
    """A field and the way it is written."""

    name: bytes
    value: bytes
    form: Form
    huffman_name: bool
    huffman_value: bool
    by_index: bool
    """Refer to the tables where they have the name, or all of it."""


class BlockEncoder:
    """Writes header blocks exactly as it is told, and keeps the dynamic table that comes of it."""

    def __init__(self) -> None:
        self._table = HeaderTable()
        self._huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)

    def block(self, lines: list[Line], sizes: list[int]) -> bytes:
        """Table size updates (section 6.3), then the lines."""
        return b"".join([*map(self._size, sizes), *map(self._line, lines)])

    def _size(self, size: int) -> bytes:
        self._table.maxsize = size
        return self._integer(size, 5, 0x20)

    def _line(self, line: Line) -> bytes:
        found = self._table.search(line.name, line.value) if line.by_index else None
        if found is not None and found[2] is not None and line.form is Form.INDEXED:
            return self._integer(found[0], 7, 0x80)
        mark, prefix = line.form.value
        index = found[0] if found is not None else 0
        if line.form is Form.INDEXED:
            self._table.add(line.name, line.value)
        name = b"" if index else self._string(line.name, line.huffman_name)
        return self._integer(index, prefix, mark) + name + self._string(line.value, line.huffman_value)

    def _string(self, text: bytes, huffman: bool) -> bytes:
        octets = self._huffman.encode(text) if huffman else text
        return self._integer(len(octets), 7, 0x80 if huffman else 0) + octets

    @staticmethod
    def _integer(number: int, prefix: int, mark: int) -> bytes:
        octets = encode_integer(number, prefix)
        octets[0] |= mark
        return bytes(octets)


fields = st.lists(st.tuples(HTTP2_FIELD_NAMES, FIELD_VALUES), max_size=8)


@st.composite
def requests(draw: st.DrawFn) -> tuple[list[Line], list[int]]:
    """The lines of a valid request, and the size updates before them."""
    pseudo = [(":method", "GET"), (":scheme", "http"), (":path", "/echo"), (":authority", "test")]
    pairs = [(name.encode(), value.encode()) for name, value in draw(st.permutations(pseudo))]
    pairs += [(name.encode(), value.encode("latin-1")) for name, value in draw(fields)]
    flag = st.booleans()
    lines = [
        Line(name, value, draw(st.sampled_from(Form)), draw(flag), draw(flag), draw(flag)) for name, value in pairs
    ]
    return lines, draw(st.lists(st.sampled_from([0, 40, 100, 1000, TABLE_SIZE]), max_size=2))


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    options = ["--workers", "1", "--max-requests", "0", "--no-access-log", "--lifespan", "off"]
    with ServerProcess(*options, "tests.apps.wire_asgi:app") as server:
        yield server


def send_in_pieces(client: H2Connection, data: bytes, cuts: list[int]) -> None:
    """In segments of their own, cut anywhere."""
    client.settle()  # nothing of the client's own may come between two pieces
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(bounds):
        if start < end:
            client.send(data[start:end])


@over_the_wire
@given(
    heads=st.lists(requests(), min_size=1, max_size=4),
    fragments=st.lists(st.integers(0, 400), max_size=3),
    cuts=st.lists(st.integers(0, 2000), max_size=5),
)
def test_every_form_of_a_header_block_is_read_as_it_was_meant(
    server: ServerProcess, heads: list[tuple[list[Line], list[int]]], fragments: list[int], cuts: list[int]
) -> None:
    encoder = BlockEncoder()
    with H2Connection(server.address) as client:
        for lines, sizes in heads:
            block = encoder.block(lines, sizes)
            stream = client.next_stream()
            whole_frames = range(0, len(block), MAX_FRAME)
            bounds = sorted([*whole_frames, *(cut % (len(block) + 1) for cut in fragments), len(block)])
            parts = [block[start:end] for start, end in pairwise(bounds)]
            frames: list[HeadersFrame | ContinuationFrame] = [HeadersFrame(stream, parts[0], flags=["END_STREAM"])]
            frames += [ContinuationFrame(stream, part) for part in parts[1:]]
            frames[-1].flags.add("END_HEADERS")
            send_in_pieces(client, b"".join(frame.serialize() for frame in frames), cuts)
            response = client.response(stream)
            assert response.status == 200, response
            told = [
                (name.encode("latin-1"), value.encode("latin-1"))
                for name, value in json.loads(response.body)["headers"]
            ]
            assert told == [(b"host", b"test")] + [(line.name, line.value) for line in lines if line.name[:1] != b":"]


@over_the_wire
@given(
    heads=st.lists(st.tuples(fields, st.sampled_from([None, 0, 40, 100, TABLE_SIZE, 65536])), min_size=1, max_size=6)
)
def test_whatever_is_answered_is_decoded_by_another(
    server: ServerProcess, heads: list[tuple[list[tuple[str, str]], int | None]]
) -> None:
    with H2Connection(server.address) as client:
        client.settle()
        for given_fields, table_size in heads:
            if table_size is not None:
                client.settle({SettingsFrame.HEADER_TABLE_SIZE: table_size})
                # From here on a block of an encoder that did not shrink its table is an error to the decoder.
                client.decoder.max_allowed_table_size = table_size
            wanted = {"status": 200, "headers": given_fields, "body": ["body"]}
            response = client.post("/response", json.dumps(wanted).encode())
            assert (response.status, bytes(response.body)) == (200, b"body")
            own = {"date", "server", "content-length"} - {name for name, _ in given_fields}
            told = [(name, value) for name, value in response.raw_fields if name not in {":status", *own}]
            assert told == given_fields
