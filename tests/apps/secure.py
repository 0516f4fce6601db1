"""Applications that tell what they know of the connection: scheme, and the client's certificate."""

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

Message = dict[str, Any]


async def asgi(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    assert scope["type"] == "http"
    client = scope["extensions"].get("tls", {}).get("client_cert_name")
    body = json.dumps({"scheme": scope["scheme"], "client": client}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ: Message, start_response: Callable[..., Any]) -> Iterable[bytes]:
    client = environ.get("SSL_CLIENT_S_DN")
    body = json.dumps({"scheme": environ["wsgi.url_scheme"], "client": client}).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
