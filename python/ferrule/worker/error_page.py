"""The page that `--debug` shows for an exception of the application: traceback, source lines and the request.

Knows nothing of how the page is sent. Everything shown is escaped; credentials are masked.
"""

from __future__ import annotations

import html
import linecache
import traceback
from collections.abc import Iterable

MASKED = frozenset({"authorization", "cookie", "proxy-authorization"})
CONTEXT = 4
"""Source lines shown before and after the line of each frame."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h2 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
pre { background: #f6f6f4; border: 1px solid #ddd; border-radius: 4px; padding: .6rem; overflow-x: auto; }
pre b { background: #ffe9a8; display: inline-block; min-width: 100%; font-weight: inherit; }
table { border-collapse: collapse; } td { border: 1px solid #ddd; padding: .2rem .6rem; overflow-wrap: anywhere; }
"""


def error_page(exception: BaseException, request_line: str, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """An HTML page, UTF-8, for `exception` raised while serving `request_line` with the header `fields`."""
    title = html.escape("".join(traceback.format_exception_only(exception)).strip())
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>",
        f"<h1>{title}</h1><p><code>{html.escape(request_line)}</code></p>",
        *(_frame(frame) for frame in reversed(traceback.extract_tb(exception.__traceback__))),
        "<h2>Request headers</h2><table>",
        *(_field(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields),
        "</table><h2>Traceback</h2><pre>",
        html.escape("".join(traceback.format_exception(exception))),
        "</pre></html>",
    ]
    return "".join(parts).encode("utf-8", "backslashreplace")


def _frame(frame: traceback.FrameSummary) -> str:
    at = frame.lineno or 0
    lines = []
    for number in range(max(1, at - CONTEXT), at + CONTEXT + 1):
        text = linecache.getline(frame.filename, number).rstrip("\n")
        if not text and number != at:
            continue
        line = html.escape(f"{number:5}  {text}")
        lines.append(f"<b>{line}</b>" if number == at else line)
    where = html.escape(f"{frame.filename}, line {at}, in {frame.name}")
    return f"<h2>{where}</h2><pre>{chr(10).join(lines)}</pre>"


def _field(name: str, value: str) -> str:
    shown = "(masked)" if name.lower() in MASKED else value
    return f"<tr><td>{html.escape(name)}<td>{html.escape(shown)}"
