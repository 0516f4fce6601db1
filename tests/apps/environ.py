"""WSGI applications that answer with the environ they were given, as JSON."""

import json
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.validate import validator

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


def describe(environ: Environ) -> dict[str, Any]:
    """Strings, numbers and tuples as they are; of everything else its type. And the keys in their order."""
    plain = {
        key: value if isinstance(value, str | int | tuple) else f"<{type(value).__name__}>"
        for key, value in environ.items()
    }
    return {"type": f"{type(environ).__module__}.{type(environ).__name__}", "keys": list(environ), "environ": plain}


def answer(content: Any, start_response: StartResponse) -> Iterable[bytes]:
    body = json.dumps(content).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(describe(environ), start_response)


def vandal(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Describes its environ, and then leaves nothing of it as it was."""
    described = describe(environ)
    for key in list(environ):
        environ[key] = "vandalised"
    environ["HTTP_X_VANDAL"] = "was here"
    del environ["REQUEST_METHOD"]
    return answer(described, start_response)


def _validated(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(describe(environ), start_response)


validated = validator(_validated)
