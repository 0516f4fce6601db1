"""From MODULE:ATTR to an application: what is found, what it speaks, and what a wrong name is told."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ferrule.config import Settings
from ferrule.errors import AppError
from ferrule.importer import discover, load_app


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Write the module `sample`, importable for the length of the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(text: str) -> None:
        (tmp_path / "sample.py").write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


ASGI = "async def app(scope, receive, send): pass\n"
WSGI = "def app(environ, start_response): return []\n"

DETECTED = [
    (ASGI, "asgi"),
    (WSGI, "wsgi"),
    ("class A:\n    async def __call__(self, scope, receive, send): pass\napp = A()\n", "asgi"),
    ("class A:\n    def __call__(self, environ, start_response): pass\napp = A()\n", "wsgi"),
    ("class A:\n    async def __call__(self, scope, receive, send): pass\napp = A\n", "asgi"),
    ("class app:\n    def __init__(self, scope, receive, send): pass\n    def __await__(self): yield\n", "asgi"),
    ("class app:\n    def __init__(self, environ, start_response): pass\n    def __iter__(self): yield b''\n", "wsgi"),
    ("def app(scope, receive, send): return inner(scope, receive, send)\n", "asgi"),
    ("import functools\nasync def f(x, scope, receive, send): pass\napp = functools.partial(f, 1)\n", "asgi"),
    ("def app(*args): pass\n", "wsgi"),
    ("class A:\n    async def serve(self, scope, receive, send): pass\napp = A().serve\n", "asgi"),
    ("import functools\n@functools.lru_cache\ndef app(environ, start_response): return []\n", "wsgi"),
]


@pytest.mark.parametrize(("text", "interface"), DETECTED)
def test_the_interface_is_detected(module: Callable[[str], None], text: str, interface: str) -> None:
    module(text)
    assert load_app(Settings(app="sample:app")).interface == interface


def test_a_class_of_asgi_applications_is_instantiated(module: Callable[[str], None]) -> None:
    module("class A:\n    async def __call__(self, scope, receive, send): pass\n")
    assert type(load_app(Settings(app="sample:A")).call).__name__ == "A"


def test_frameworks_are_detected(module: Callable[[str], None]) -> None:
    module("from starlette.applications import Starlette\nfrom flask import Flask\nasgi=Starlette()\nwsgi=Flask('x')\n")
    assert load_app(Settings(app="sample:asgi")).interface == "asgi"
    assert load_app(Settings(app="sample:wsgi")).interface == "wsgi"


def test_a_factory_makes_the_application_by_flag_or_parentheses(module: Callable[[str], None]) -> None:
    module(f"def make():\n    {ASGI.strip()}\n    return app\n")
    assert load_app(Settings(app="sample:make", factory=True)).interface == "asgi"
    assert load_app(Settings(app="sample:make()")).interface == "asgi"


def test_dotted_attributes_and_missing_ones_are_resolved(module: Callable[[str], None]) -> None:
    module(f"{WSGI}class holder: inner = None\nholder.inner = app\n")
    assert load_app(Settings(app="sample:holder.inner")).interface == "wsgi"
    assert load_app(Settings(app="sample")).name == "sample"


def test_a_stated_interface_is_believed(module: Callable[[str], None]) -> None:
    module(WSGI)
    assert load_app(Settings(app="sample:app", interface="asgi")).interface == "asgi"


WRONG = [
    ("nope:app", "", "no module named nope in "),
    ("nope.deeper:app", "", "no module named nope in "),
    ("sample:ap", WSGI, "module sample has no attribute ap; did you mean app?"),
    ("sample:app.x.y", WSGI, "sample:app has no attribute x"),
    ("sample", "x = 1\n", "module sample has neither app nor application; say sample:ATTR"),
    ("sample:holder.app.z", f"class holder:\n    {WSGI}", "sample:holder.app has no attribute z"),
    ("sample:x", "x = 1\n", "sample:x is not callable: it is an int"),
    ("sample.py:app", WSGI, "sample.py:app: expected MODULE:ATTR, a module and not a file; try sample:app"),
    ("src/sample.py", WSGI, "src/sample.py: expected MODULE:ATTR, a module and not a file; try src.sample:app"),
    (":app", "", ":app: expected MODULE:ATTR"),
    ("sample:app", "def app(): pass\n", "sample:app takes no arguments, so it is no application"),
    ("sample:app", "def app(scope): pass\n", "sample:app speaks ASGI 2"),
    (
        "sample:app",
        "class app:\n    def __init__(self, scope): pass\n    async def __call__(self, receive, send): pass\n",
        "sample:app speaks ASGI 2",
    ),
    ("sample:app()", "def app(x): pass\n", "sample:app is not a factory: it needs 1 argument"),
    ("sample:app()", ASGI, "sample:app is not a factory: it is a coroutine function; is it the application itself?"),
    ("sample:app", "import sys\nsys.exit(4)\n", "sample cannot be imported: it called sys.exit(4)"),
]


@pytest.mark.parametrize(("name", "text", "message"), WRONG)
def test_a_wrong_name_gets_one_line_and_no_traceback(
    module: Callable[[str], None], name: str, text: str, message: str
) -> None:
    module(text)
    with pytest.raises(AppError) as caught:
        load_app(Settings(app=name))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert caught.value.traceback is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("sample:app", "import wsgiref\n1/0\n", "sample cannot be imported: ZeroDivisionError: division by zero"),
        ("sample:app", "x = (\n", "sample cannot be imported: SyntaxError: "),
        ("sample:app", "import missing_thing\n", "sample cannot be imported: ModuleNotFoundError: "),
        ("sample:app()", "def app(): raise KeyError('k')\n", "factory sample:app failed: KeyError: 'k'"),
    ],
)
def test_an_error_in_the_users_code_shows_the_users_traceback_only(
    module: Callable[[str], None], name: str, text: str, message: str
) -> None:
    module(text)
    with pytest.raises(AppError) as caught:
        load_app(Settings(app=name))
    assert str(caught.value).startswith(message)
    assert caught.value.traceback is not None
    assert "sample.py" in caught.value.traceback
    assert "importer.py" not in caught.value.traceback
    assert "importlib" not in caught.value.traceback


def test_no_application_at_all_is_explained() -> None:
    with pytest.raises(AppError, match=r"^no application: give MODULE:ATTR, or name it app in one of main\.py"):
        load_app(Settings())


def test_usual_files_are_found_by_their_text_without_running_them(tmp_path: Path) -> None:
    assert discover(str(tmp_path)) is None
    (tmp_path / "wsgi.py").write_text("raise SystemExit('imported')\napplication = 1\n")
    assert discover(str(tmp_path)) == "wsgi:application"
    (tmp_path / "app.py").write_text("def helper(): pass\n")
    assert discover(str(tmp_path)) == "wsgi:application"
    (tmp_path / "main.py").write_text("broken = (\n")
    assert discover(str(tmp_path)) == "wsgi:application"
    for text in ("app: object = 1\n", "from x import y as app\n", "if True:\n    app = 1\n", "async def app(): pass\n"):
        (tmp_path / "main.py").write_text(text)
        assert discover(str(tmp_path)) == "main:app"
