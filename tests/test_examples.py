"""Every example runs with the command that its first lines print, and answers."""

import ast
import shlex
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support.server import REPOSITORY, ServerProcess

EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))


def commands(path: Path) -> list[str]:
    """The `server ...` lines of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return [line for line in docstring.splitlines() if line.startswith("server ")]


COMMANDS = [command for path in EXAMPLES for command in commands(path)]


def test_every_example_says_how_to_run_it() -> None:
    assert EXAMPLES
    assert [path.name for path in EXAMPLES if not commands(path)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_answer_when_started_as_they_say(serve: Callable[..., ServerProcess], command: str) -> None:
    server = serve(*shlex.split(command)[1:], "--workers", "1")
    response = httpx.get(server.url, timeout=30)
    assert response.status_code == 200
    assert "Hello from Ferrule." in response.text


def test_the_fastapi_example_streams_and_validates(serve: Callable[..., ServerProcess]) -> None:
    server = serve("--app-dir", "examples", "fastapi_app:app", "--workers", "1")
    with httpx.Client(base_url=server.url, timeout=30) as client:
        assert client.get("/items/7?q=x").json() == {"item_id": 7, "q": "x"}
        assert client.get("/items/seven").status_code == 422
        assert client.post("/notify").json() == {"status": "queued"}
        with client.stream("GET", "/events") as events:
            assert events.headers["content-type"].startswith("text/event-stream")
            assert next(events.iter_lines()) == "data: tick 0"


def test_the_flask_example_reads_forms_and_streams(serve: Callable[..., ServerProcess]) -> None:
    server = serve("--app-dir", "examples", "flask_app:app", "--workers", "1")
    with httpx.Client(base_url=server.url, timeout=30) as client:
        assert client.post("/greet", data={"name": "Ada"}).json() == {"message": "Hello, Ada."}
        assert client.get("/count").text.splitlines() == [str(number) for number in range(1000)]


@pytest.mark.parametrize("attribute", ["app", "asgi_app"])
def test_the_django_example_routes(serve: Callable[..., ServerProcess], attribute: str) -> None:
    server = serve("--app-dir", "examples", f"django_app:{attribute}", "--workers", "1")
    assert httpx.get(f"{server.url}/hello/Ada", timeout=30).json() == {"message": "Hello, Ada.", "method": "GET"}
