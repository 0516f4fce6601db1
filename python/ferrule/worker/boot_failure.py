"""What a worker serves under `--reload` when the application cannot be loaded: its traceback, until a file changes."""

from __future__ import annotations

import html
from collections.abc import Callable

from ..errors import AppError
from ..importer import Application

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Application failed to load</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;margin:3rem auto;max-width:60rem;padding:0 1rem}}
h1{{font-size:1.3rem;color:#a11}}pre{{background:#f5f5f5;padding:1rem;overflow:auto}}</style></head>
<body><h1>{message}</h1><pre>{traceback}</pre><p>This page goes away when the code is fixed.</p></body></html>
"""


def failure_page(error: AppError) -> Application:
    """A WSGI application that answers every request with 500 and what went wrong."""
    page = _PAGE.format(message=html.escape(str(error)), traceback=html.escape(error.traceback or ""))
    body = page.encode(errors="replace")

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        fields = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response("500 Internal Server Error", [*fields, ("Cache-Control", "no-store")])
        return [body]

    return Application(application, "wsgi", "traceback page")
