"""What a start may import: each of these modules costs the first answer milliseconds that nothing there needs."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support.server import ServerProcess, wait_until

Serve = Callable[..., ServerProcess]

HEAVY = {
    "argparse": "arguments are read by the table of settings",
    "asyncio": "only ASGI workers have a loop",
    "dataclasses": "imports inspect; records do without",
    "difflib": "for mistakes only",
    "importlib.metadata": "scans all installed packages; only for names that are not built in",
    "inspect": "only for applications that are no plain functions",
    "json": "for the runtime directory, once the server is ready",
    "logging": "the server's log does without",
    "pathlib": "os.path does",
    "random": "one number is drawn, from os.urandom",
    "shutil": "imports compression modules; for the runtime directory",
    "ssl": "only where a listener speaks TLS",
    "subprocess": "for nothing",
    "tempfile": "imports random and shutil",
    "tomllib": "only where there is a file to read",
    "traceback": "only for errors",
    "typing": "for type checkers only",
}

CONFIGURATION = """
def pre_fork(server, worker):
    import sys
    with open("arbiter", "a") as file:
        file.write("\\n".join(sys.modules) + "\\n\\n")
"""
APPLICATION = """
import sys
def app(environ, start_response):
    start_response("200 OK", [])
    return ["\\n".join(sys.modules).encode()]
"""
ASGI_APPLICATION = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "settings.py").write_text(CONFIGURATION)
    (tmp_path / "web.py").write_text(APPLICATION)
    return tmp_path


def test_neither_the_arbiter_nor_a_wsgi_worker_imports_what_a_start_does_not_need(site: Path, serve: Serve) -> None:
    code = "import runpy, sys; print('\\n'.join(sys.modules))"
    bare = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    server = serve("-w", "1", "-c", "settings.py", "web:app", cwd=site)
    in_worker = httpx.get(server.url, timeout=30).text.split()
    in_arbiter = (site / "arbiter").read_text().split()
    assert "ferrule.arbiter.arbiter" in in_arbiter
    assert "ferrule.worker.wsgi" in in_worker
    for modules in (in_arbiter, in_worker):
        assert {name: why for name, why in HEAVY.items() if name in modules and name not in bare} == {}


def test_replacements_of_an_asgi_worker_inherit_the_event_loop(site: Path, serve: Serve) -> None:
    (site / "web.py").write_text(ASGI_APPLICATION)
    server = serve("-w", "1", "-c", "settings.py", "web:app", cwd=site)
    server.wait_for_log("Ready")
    first = server.workers()
    server.send_signal(signal.SIGHUP)
    wait_until(lambda: server.workers() != first and len(server.workers()) == 1, message="another worker")
    before, after = (site / "arbiter").read_text().split("\n\n")[:2]
    assert "asyncio" not in before.split()
    assert "asyncio" in after.split()
    assert {"web", "ferrule._core"}.isdisjoint(after.split())
