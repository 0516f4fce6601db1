"""A gRPC service on bare ASGI: length-prefixed messages in DATA, the status in trailers. Messages are opaque bytes.

As the protocol wants it, `/test.Echo/METHOD` with one method for each way that messages can flow.
"""

import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

OK, INVALID_ARGUMENT, UNIMPLEMENTED = 0, 3, 12
SEEN: Counter[str] = Counter()
"""What became of calls; `Seen` tells."""


class Call:
    """One call: messages in, messages out, then a status."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._begun = False

    async def messages(self) -> AsyncIterator[bytes]:
        """Each message of the client as soon as it is complete, however it was cut into DATA frames."""
        buffer = bytearray()
        more = True
        while more:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise ConnectionAbortedError("the client cancelled its call")
            buffer += event["body"]
            more = event["more_body"]
            while len(buffer) >= 5:
                compressed, length = struct.unpack_from(">?I", buffer)
                assert not compressed
                if len(buffer) < 5 + length:
                    break
                yield bytes(buffer[5 : 5 + length])
                del buffer[: 5 + length]
        assert not buffer, "the last message is incomplete"

    async def begin(self) -> None:
        """The initial metadata, once."""
        if not self._begun:
            self._begun = True
            headers = [(b"content-type", b"application/grpc"), (b"x-initial", b"metadata")]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})

    async def reply(self, message: bytes) -> None:
        await self.begin()
        body = struct.pack(">?I", False, len(message)) + message
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self, status: int, detail: bytes) -> None:
        """The status, in trailers; without any message, in the only header block (Trailers-Only)."""
        fields = [(b"grpc-status", str(status).encode()), (b"grpc-message", detail), (b"x-final", b"metadata")]
        if self._begun:
            await self._send({"type": "http.response.body"})
            await self._send({"type": "http.response.trailers", "headers": fields})
        else:
            fields.append((b"content-type", b"application/grpc"))
            await self._send({"type": "http.response.start", "status": 200, "headers": fields})
            await self._send({"type": "http.response.body"})


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    assert dict(scope["headers"])[b"te"] == b"trailers"
    call = Call(receive, send)
    method = scope["path"].removeprefix("/test.Echo/")
    try:
        await call.end(*await serve(method, call))
    except ConnectionAbortedError:
        SEEN[f"cancelled {method}"] += 1


async def serve(method: str, call: Call) -> tuple[int, bytes]:
    """Everything of a call but its status, which is returned."""
    match method:
        case "Unary":
            async for message in call.messages():
                await call.reply(message)
        case "ServerStream":  # as many as the request says, numbered
            async for message in call.messages():
                for number in range(int(message)):
                    await call.reply(str(number).encode())
        case "ClientStream":
            received = [message async for message in call.messages()]
            await call.reply(b" ".join(received))
        case "Chat":  # the first answer says that the call was taken up
            await call.reply(b"hello")
            async for message in call.messages():
                await call.reply(b"re: " + message)
        case "Refuse":
            return INVALID_ARGUMENT, b"not%20like%20this"
        case "FailLate":
            await call.reply(b"so far")
            return INVALID_ARGUMENT, b"too%20late"
        case "Seen":
            await call.reply(repr(sorted(SEEN.items())).encode())
        case _:
            return UNIMPLEMENTED, b""
    return OK, b""
