"""Event loops behind the port: chosen by really importing, brought along by packages, the same for every server."""

import asyncio
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from ferrule.errors import AppError
from ferrule.loops import choose_event_loop, new_event_loop
from tests.support.packages import hiding, install
from tests.support.server import ServerProcess, run_to_exit, wait_until

Serve = Callable[..., ServerProcess]

APP = "tests.apps.anywhere:asgi"
LOOPS = [
    name for name in ("uvloop", "asyncio", "winloop") if name == "asyncio" or importlib.util.find_spec(name) is not None
]

PACKAGE = """
import asyncio

class SlowLoop(asyncio.SelectorEventLoop):
    pass

class Loops:
    name = "mine"

    def new_event_loop(self):
        return SlowLoop()

class Nameless:
    def new_event_loop(self): ...
"""


@pytest.mark.parametrize("name", LOOPS)
def test_every_kind_makes_loops_that_run(name: str) -> None:
    port, passed_over = choose_event_loop(name)
    assert (port.name, passed_over) == (name, None)
    with asyncio.Runner(loop_factory=port.new_event_loop) as runner:
        assert runner.run(asyncio.sleep(0, "ran")) == "ran"
        assert type(runner.get_loop()).__module__.partition(".")[0] == name


def test_no_policy_is_set() -> None:
    before = sys.modules["asyncio.events"].__dict__["_event_loop_policy"]
    for name in ("auto", *LOOPS):
        new_event_loop(name).close()
    assert sys.modules["asyncio.events"].__dict__["_event_loop_policy"] is before


def test_auto_is_the_fastest_that_can_be_imported() -> None:
    assert choose_event_loop("auto").port.name == "uvloop"


def test_auto_falls_back_and_says_so_once(serve: Serve, tmp_path: Path) -> None:
    server = serve("-w", "2", APP, env=hiding(tmp_path, "uvloop"))
    server.wait_for_log("Worker ready", count=2)
    server.wait_for_log(r"Ready .* loop=asyncio because=\"uvloop cannot be imported: No module named 'uvloop'\"")
    assert httpx.get(f"{server.url}/loop", timeout=30).text == "asyncio.unix_events"
    assert server.stderr.count("cannot be imported") == 1


def test_auto_really_imports(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "uvloop.py").write_text("raise OSError('libuv is of another version')\n")
    server = serve("-w", "1", APP, env={"PYTHONPATH": str(tmp_path)})
    server.wait_for_log(r"loop=asyncio because=\"uvloop cannot be imported: libuv is of another version\"")


def test_auto_says_so_under_another_server_too(serve: Serve, tmp_path: Path) -> None:
    server = serve("--server", "uvicorn", "-w", "1", APP, env=hiding(tmp_path, "uvloop"))
    server.wait_for_log(r"\[INFO\] uvloop cannot be imported: No module named 'uvloop'; using asyncio\n")


@pytest.mark.parametrize("server", ["native", "uvicorn"])
def test_a_loop_that_is_not_installed_is_one_line_that_helps(server: str, tmp_path: Path) -> None:
    env = hiding(tmp_path, "uvloop")
    result = run_to_exit("--server", server, "--loop", "uvloop", "-w", "1", "-b", "127.0.0.1:0", APP, env=env)
    assert result.returncode == 3
    expected = "[ERROR] --loop uvloop: cannot be imported: No module named 'uvloop'; pip install 'ferrule[uvloop]'"
    assert result.stderr.splitlines().count(expected) == 1


@pytest.fixture
def package(tmp_path: Path) -> dict[str, str]:
    points = {"mine": "loops_of_mine:Loops", "nameless": "loops_of_mine:Nameless"}
    return install(tmp_path, "loops_of_mine", PACKAGE, {"ferrule.event_loops": points})


@pytest.mark.parametrize("name", ["native", "granian", "uvicorn", "hypercorn"])
def test_every_server_runs_on_a_loop_of_another_package(name: str, serve: Serve, package: dict[str, str]) -> None:
    if name == "granian" and sys.version_info >= (3, 14):
        pytest.skip("granian's workers are not forked here")
    server = serve("--server", name, "--loop", "mine", "-w", "1", APP, env=package)
    wait_until(lambda: answer(server) == "loops_of_mine", timeout=30, message="the loop of the package")


def answer(server: ServerProcess) -> str:
    try:
        return httpx.get(f"{server.url}/loop", timeout=20).text
    except httpx.TransportError:
        return ""


def test_several_workers_of_hypercorn_have_no_other_loops(package: dict[str, str]) -> None:
    result = run_to_exit("--server", "hypercorn", "--loop", "mine", "-w", "2", "-b", "127.0.0.1:0", APP, env=package)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == (
        "[ERROR] --loop: several workers of hypercorn run on asyncio or uvloop only"
    )


def test_an_unknown_loop_is_one_line_that_lists_the_known(package: dict[str, str]) -> None:
    known = "auto, uvloop, asyncio, winloop, mine, nameless"
    for command in ((), ("check",)):
        result = run_to_exit(*command, "--loop", "uvlop", APP, env=package)
        assert result.stderr == f"[ERROR] --loop: uvlop is not known; did you mean uvloop? (known: {known})\n"
        assert result.returncode == 2


def test_a_broken_kind_of_loop_is_one_line_that_names_its_package(package: dict[str, str]) -> None:
    result = run_to_exit("check", "--loop", "nameless", APP, env=package)
    where = "nameless (ferrule.event_loops of loops_of_mine: loops_of_mine:Nameless)"
    assert result.stderr == f"[ERROR] {where} is no such adapter: it has no name\n"
    assert result.returncode == 2


def test_a_kind_that_cannot_be_used_is_an_error_of_its_own() -> None:
    with pytest.raises(AppError, match=re.escape("--loop: no-such is not known")):
        choose_event_loop("no-such")
