"""gRPC, the most demanding user of HTTP/2: a real client, and an application that speaks it on bare ASGI."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from grpclib.client import (
    Channel,
    StreamStreamMethod,
    StreamUnaryMethod,
    UnaryStreamMethod,
    UnaryUnaryMethod,
)
from grpclib.const import Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError

from tests.support.server import ServerProcess
from tests.support.tls import Authority

pytestmark = pytest.mark.anyio
DEADLINE = 30.0  # s, for hangs


class Bytes(CodecBase):
    """Messages are what they are. The name is that of plain `application/grpc`."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: type[Any]) -> bytes:
        return message

    def decode(self, data: bytes, message_type: type[Any]) -> bytes:
        return data


@dataclass(frozen=True)
class Service:
    address: tuple[str, int]
    trust: ssl.SSLContext | None


@pytest.fixture(scope="module", params=["clear", "tls"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    flags = authority.issue().flags if request.param == "tls" else ()
    with ServerProcess("--workers", "1", "--max-requests", "0", *flags, "tests.apps.grpc:app") as server:
        yield Service(server.address, authority.client(alpn=("h2",)) if flags else None)


@asynccontextmanager
async def channel(server: Service) -> AsyncIterator[Channel]:
    async with asyncio.timeout(DEADLINE):
        async with Channel(*server.address, ssl=server.trust, codec=Bytes()) as channel:
            yield channel
            assert channel._protocol is not None
            transport = channel._protocol.processor.connection._transport
        # The channel says goodbye and does not wait: under TLS its socket would be open when the loop ends.
        transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)


def unary(channel: Channel, name: str) -> UnaryUnaryMethod[bytes, bytes]:
    return UnaryUnaryMethod(channel, f"/test.Echo/{name}", bytes, bytes)


def chat(channel: Channel) -> StreamStreamMethod[bytes, bytes]:
    return StreamStreamMethod(channel, "/test.Echo/Chat", bytes, bytes)


async def test_a_unary_call_gets_its_message_and_its_metadata(server: Service) -> None:
    async with channel(server) as client:
        async with unary(client, "Unary").open() as stream:
            await stream.send_message(b"ping", end=True)
            await stream.recv_initial_metadata()
            assert await stream.recv_message() == b"ping"
            await stream.recv_trailing_metadata()
            assert stream.initial_metadata is not None
            assert stream.initial_metadata["x-initial"] == "metadata"
            assert stream.trailing_metadata is not None
            assert stream.trailing_metadata["x-final"] == "metadata"


@pytest.mark.parametrize("size", [0, 1, 16_384, 3_000_000])
async def test_messages_of_every_size_survive_their_frames(server: Service, size: int) -> None:
    message = (bytes(range(251)) * (size // 251 + 1))[:size]
    async with channel(server) as client:
        assert await unary(client, "Unary")(message) == message


async def test_a_server_streams_its_messages_in_order(server: Service) -> None:
    async with channel(server) as client:
        method: UnaryStreamMethod[bytes, bytes] = UnaryStreamMethod(client, "/test.Echo/ServerStream", bytes, bytes)
        assert await method(b"1000") == [str(number).encode() for number in range(1000)]


async def test_a_client_streams_its_messages_in_order(server: Service) -> None:
    sent = [str(number).encode() for number in range(1000)]
    async with channel(server) as client:
        method: StreamUnaryMethod[bytes, bytes] = StreamUnaryMethod(client, "/test.Echo/ClientStream", bytes, bytes)
        assert await method(sent) == b" ".join(sent)


async def test_each_message_is_answered_before_the_next_is_sent(server: Service) -> None:
    async with channel(server) as client:
        async with chat(client).open() as stream:
            # Before any message of ours: the head of the request is enough to be heard.
            await stream.send_request()
            assert await stream.recv_message() == b"hello"
            for number in range(100):
                await stream.send_message(b"%d" % number)
                assert await stream.recv_message() == b"re: %d" % number
            await stream.end()
            assert await stream.recv_message() is None


async def test_calls_share_a_connection_and_keep_apart(server: Service) -> None:
    async with channel(server) as client:

        async def converse(caller: int) -> None:
            async with chat(client).open() as stream:
                await stream.send_request()
                assert await stream.recv_message() == b"hello"
                for number in range(20):
                    await stream.send_message(b"%d:%d" % (caller, number), end=number == 19)
                    assert await stream.recv_message() == b"re: %d:%d" % (caller, number)

        await asyncio.gather(*(converse(caller) for caller in range(50)))


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("Refuse", Status.INVALID_ARGUMENT, "not like this"),
        ("FailLate", Status.INVALID_ARGUMENT, "too late"),
        ("Unknown", Status.UNIMPLEMENTED, None),
    ],
)
async def test_a_status_other_than_ok_reaches_the_caller(
    server: Service, name: str, status: Status, message: str | None
) -> None:
    async with channel(server) as client:
        with pytest.raises(GRPCError) as caught:
            await unary(client, name)(b"")
    assert (caught.value.status, caught.value.message or None) == (status, message)


async def test_a_cancelled_call_ends_in_the_application_and_leaves_the_others(server: Service) -> None:
    async with channel(server) as client:
        async with chat(client).open() as other:
            await other.send_request()
            assert await other.recv_message() == b"hello"
            async with chat(client).open() as stream:
                await stream.send_request()
                assert await stream.recv_message() == b"hello"
                await stream.cancel()
            while b"cancelled Chat" not in (await unary(client, "Seen")(b"") or b""):
                pass
            await other.send_message(b"still there", end=True)
            assert await other.recv_message() == b"re: still there"
