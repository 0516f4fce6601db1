"""Every server behind the port, as real processes: the same application, the same command line, the same promises."""

import grp
import multiprocessing
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support.packages import hiding, install
from tests.support.ports import unused_port
from tests.support.server import ServerProcess, run_to_exit, wait_until

Serve = Callable[..., ServerProcess]

SERVERS = ("native", "granian", "uvicorn", "hypercorn")
PEERS = SERVERS[1:]
ASGI = "tests.apps.anywhere:asgi"
WSGI = "tests.apps.anywhere:wsgi"
STREAMED = b"".join(b"part %d\n" % number for number in range(50))


def check_answers(url: str, interface: str) -> None:
    with httpx.Client(base_url=url, timeout=20) as client:
        assert client.get("/path").text == f"hello from {interface} at /path"
        body = os.urandom(100_000)
        assert client.post("/echo", content=body).content == body
        assert client.get("/stream").content == STREAMED


def check_graceful_stop(server: ServerProcess, marks: Path) -> None:
    """A request in flight is answered in full, and only then the server ends, in good order."""
    answers: list[httpx.Response] = []
    slow = threading.Thread(target=lambda: answers.append(httpx.get(f"{server.url}/slow", timeout=20)))
    slow.start()
    wait_until(lambda: marks.exists() and "slow" in marks.read_text(), message="the request in the application")
    code = server.stop()
    slow.join(20)
    assert [answer.text for answer in answers] == ["slow but whole"], server.stderr
    assert code == 0, server.stderr


def wait_until_it_answers(server: ServerProcess) -> None:
    """For servers whose workers accept before their application is there, or whose sockets are Ferrule's already."""

    def answers() -> bool:
        try:
            return httpx.get(server.url, timeout=20).status_code == 200
        except httpx.TransportError:
            return False

    wait_until(answers, timeout=30, message="an answer")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("name", SERVERS)
def test_every_server_serves_asgi_on_every_loop(name: str, loop: str, serve: Serve, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    server = serve("--server", name, "--loop", loop, "-w", "1", ASGI, env={"MARKS": str(marks)})
    wait_until_it_answers(server)
    check_answers(server.url, "asgi")
    assert httpx.get(f"{server.url}/loop", timeout=30).text.partition(".")[0] == loop
    assert httpx.get(f"{server.url}/state", timeout=30).text == "yes"
    assert marks.read_text().startswith("startup ")
    check_graceful_stop(server, marks)
    assert [line.split()[0] for line in marks.read_text().splitlines()] == ["startup", "slow", "shutdown"]
    assert "cannot honour" not in server.stderr


@pytest.mark.parametrize("name", SERVERS)
def test_every_server_serves_wsgi(name: str, serve: Serve, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    server = serve("--server", name, "-w", "1", WSGI, env={"MARKS": str(marks)})
    wait_until_it_answers(server)
    check_answers(server.url, "wsgi")
    check_graceful_stop(server, marks)


@pytest.mark.parametrize("name", SERVERS)
def test_every_server_keeps_several_workers(name: str, serve: Serve, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    server = serve("--server", name, "-w", "2", ASGI, env={"MARKS": str(marks)})
    wait_until_it_answers(server)
    wait_until(lambda: marks.read_text().count("startup") == 2, timeout=30, message="two workers")
    started = {int(line.split()[1]) for line in marks.read_text().splitlines()}
    assert len(started) == 2
    assert server.pid not in started
    check_answers(server.url, "asgi")
    assert server.stop() == 0, server.stderr
    # A server's first process may be gone before the last word of its workers.
    wait_until(lambda: marks.read_text().count("shutdown") == 2, message="two workers shut down")
    # Where processes are spawned, a helper of Python's own notices a moment later that they are gone.
    wait_until(lambda: not server.survivors(), message="no process left")


@pytest.mark.parametrize("name", SERVERS)
def test_every_server_listens_on_a_unix_socket_of_the_given_mode(name: str, serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    server = serve("--server", name, "-w", "1", "--bind", f"unix:{path}?mode=660", ASGI)
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://unix", timeout=20) as client:
        assert client.get("/there").text == "hello from asgi at /there"
    assert path.stat().st_mode & 0o777 == 0o660
    assert server.stop() == 0, server.stderr
    assert not path.exists()


@pytest.mark.parametrize("name", PEERS)
def test_the_command_line_means_the_same(name: str, serve: Serve, tmp_path: Path) -> None:
    """Application directory, factory, environment file, pid file, log files: what Ferrule does around every server."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "site_of_mine.py").write_text(
        "import os\n"
        "def make():\n"
        "    async def app(scope, receive, send):\n"
        "        if scope['type'] != 'http': raise NotImplementedError\n"
        "        await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "        answer = scope.get('root_path', '') + os.environ['FROM_FILE'] + os.getcwd()\n"
        "        await send({'type': 'http.response.body', 'body': answer.encode()})\n"
        "    return app\n"
    )
    (tmp_path / "env").write_text("FROM_FILE=' set '\n")
    server = serve(
        *("--server", name, "-w", "1", "--app-dir", "project", "--factory", "--env-file", "env", "--pid", "pid"),
        *("--root-path", "/api", "--access-log-file", "access.log", "site_of_mine:make"),
        cwd=tmp_path,
    )
    wait_until_it_answers(server)
    assert httpx.get(f"{server.url}/api/x", timeout=30).text == f"/api set {project}"
    assert (tmp_path / "pid").read_text() == f"{server.pid}\n"
    wait_until(lambda: "/api/x" in (tmp_path / "access.log").read_text(), message="the access line in its file")
    assert server.stop() == 0, server.stderr
    assert not (tmp_path / "pid").exists()
    assert server.stdout == ""


@pytest.mark.parametrize("name", PEERS)
def test_an_application_that_does_not_load_is_one_line_and_exit_3(name: str) -> None:
    for workers in ("1", "2"):
        result = run_to_exit("--server", name, "-w", workers, "-b", "127.0.0.1:0", "tests.apps.anywhere:nope")
        assert result.stderr.splitlines()[-1:] == ["[ERROR] module tests.apps.anywhere has no attribute nope"]
        assert result.returncode == 3


@pytest.mark.parametrize("name", PEERS)
def test_a_failed_lifespan_ends_the_server_with_a_failure(name: str) -> None:
    env = {"FAIL_LIFESPAN": "1"}
    result = run_to_exit("--server", name, "--lifespan", "auto", "-w", "1", "-b", "127.0.0.1:0", ASGI, env=env)
    assert result.returncode in {1, 3}
    assert re.search(r"no database|lifespan startup failed", result.stderr), result.stderr


@pytest.mark.parametrize("name", PEERS)
def test_an_address_in_use_is_one_line_and_exit_1(name: str, serve: Serve) -> None:
    address = f"127.0.0.1:{serve('-w', '1', ASGI).port}"
    result = run_to_exit("--server", name, "-w", "1", "-b", address, ASGI)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == f"[ERROR] cannot listen on {address}: the address is in use"


def test_options_of_a_server_reach_it(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "server.toml").write_text(
        "server = 'uvicorn'\n[uvicorn]\nheaders = [['x-from', 'the table']]\nhttp = 'h11'\n"
        "[granian]\nno-such-option = 1\n"  # of another server: not looked at
    )
    server = serve("-w", "1", "-c", str(tmp_path / "server.toml"), ASGI)
    wait_until_it_answers(server)
    assert httpx.get(server.url, timeout=30).headers["x-from"] == "the table"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run workers as somebody else")
@pytest.mark.parametrize("name", PEERS)
def test_privileges_are_given_up_before_the_application_runs(name: str, serve: Serve) -> None:
    group = grp.getgrnam("nogroup" if Path("/etc/debian_version").exists() else "nobody").gr_gid
    for workers in ("1", "2") if name != "granian" else ("1",):
        server = serve("--server", name, "-w", workers, "-g", str(group), ASGI)
        wait_until_it_answers(server)
        assert httpx.get(f"{server.url}/group", timeout=30).text == f"{group} [{group}]"
        assert server.stop() == 0
        wait_until(lambda: not server.survivors(), message="no process left")  # noqa: B023 - waited for in this turn


# auto


def test_auto_is_the_native_server(serve: Serve) -> None:
    server = serve("-w", "1", ASGI)
    server.wait_for_log("Ready")
    assert "using" not in server.stderr
    assert httpx.get(server.url, timeout=30).headers["server"] == "ferrule"


def test_the_arbiter_has_not_got_the_core_that_auto_has_tried(serve: Serve) -> None:
    server = serve("-w", "1", ASGI)
    server.wait_for_log("Ready")
    assert "_core" not in Path(f"/proc/{server.pid}/maps").read_text()
    assert "_core" in Path(f"/proc/{server.workers()[0]}/maps").read_text()


def test_auto_serves_with_the_first_that_can_be_imported_and_says_so(serve: Serve, tmp_path: Path) -> None:
    server = serve("-w", "1", ASGI, env=hiding(tmp_path, "ferrule._core"))
    wait_until_it_answers(server)
    assert "[WARNING] native core cannot be imported: No module named 'ferrule._core'; using granian" in server.stderr
    check_answers(server.url, "asgi")


@pytest.mark.parametrize(
    ("hidden", "served_by"),
    [
        (("ferrule._core", "granian"), "uvicorn"),
        (("ferrule._core", "granian", "uvicorn"), "hypercorn"),
    ],
)
def test_auto_goes_on_until_one_can_be_imported(hidden: tuple[str, ...], served_by: str, tmp_path: Path) -> None:
    result = run_to_exit("check", ASGI, env=hiding(tmp_path, *hidden))
    assert result.returncode == 0, result.stderr
    assert f"; using {served_by}\n" in result.stderr
    assert re.search(rf"^served by += {served_by} \d", result.stdout, re.MULTILINE)


def test_auto_really_imports(tmp_path: Path) -> None:
    """A package that is there but broken is passed over like one that is not there."""
    env = hiding(tmp_path, "ferrule._core")
    (tmp_path / "granian").mkdir()
    (tmp_path / "granian" / "__init__.py").write_text("raise RuntimeError('built for another machine')\n")
    result = run_to_exit("check", ASGI, env=env)
    assert "granian: built for another machine; using uvicorn\n" in result.stderr
    assert result.returncode == 0


def test_no_server_at_all_is_one_line(tmp_path: Path) -> None:
    env = hiding(tmp_path, "ferrule._core", "granian", "uvicorn", "hypercorn")
    result = run_to_exit("-w", "1", ASGI, env=env)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(
        "[ERROR] no server can be imported: native core cannot be imported: No module named"
    )
    for name in PEERS:
        assert f"; {name}: No module named '{name}'" in result.stderr


@pytest.mark.parametrize("name", PEERS)
def test_a_named_server_that_is_not_installed_is_one_line_that_helps(name: str, tmp_path: Path) -> None:
    result = run_to_exit("--server", name, ASGI, env=hiding(tmp_path, name))
    expected = f"--server: {name} cannot be imported: No module named '{name}'; pip install 'ferrule[{name}]'"
    assert (result.returncode, result.stderr) == (2, f"[ERROR] {expected}\n")


# Servers of other packages

ADAPTER = """
from http.server import BaseHTTPRequestHandler, HTTPServer
import signal
from ferrule.servers import ServerInfo

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"from a package")

class Server:
    server_info = ServerInfo("mine", "1.0")

    def serve(self, app, config):
        bind = config.settings.bind[0]
        httpd = HTTPServer((bind.host, bind.port), Handler)
        url = f"http://{bind.host}:{httpd.server_port}"
        config.log.info("Listening", url=url, app=app, threads=config.given["threads"])
        signal.signal(signal.SIGTERM, lambda *_: exit(0))
        httpd.serve_forever()
        return 0

    async def serve_async(self, app, config): ...
    def shutdown(self): ...

class HalfAServer:
    def serve(self, app, config): ...

def raising():
    raise RuntimeError("no licence")
"""


@pytest.fixture
def package(tmp_path: Path) -> dict[str, str]:
    points = {
        "mine": "adapter_of_mine:Server",
        "half": "adapter_of_mine:HalfAServer",
        "raising": "adapter_of_mine:raising",
        "gone": "no_such_module:Server",
    }
    return install(tmp_path, "adapter_of_mine", ADAPTER, {"ferrule.servers": points})


def test_a_server_of_another_package_is_found_by_its_name(serve: Serve, package: dict[str, str]) -> None:
    server = serve("--server", "mine", "--threads", "2", ASGI, env=package)
    assert httpx.get(server.url, timeout=30).text == "from a package"
    assert f"app={ASGI} threads=--threads" in server.stderr


def test_check_shows_a_server_of_another_package(package: dict[str, str]) -> None:
    result = run_to_exit("check", "--server", "mine", ASGI, env=package)
    assert result.returncode == 0, result.stderr
    assert re.search(r"^served by += mine 1\.0 on \w+$", result.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "half",
            "adapter_of_mine:HalfAServer) is no such adapter: it has no serve_async and no shutdown and no server_info",
        ),
        ("raising", "adapter_of_mine:raising) cannot be loaded: RuntimeError: no licence"),
        ("gone", "no_such_module:Server) cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_broken_adapter_is_one_line_that_names_its_package(name: str, said: str, package: dict[str, str]) -> None:
    result = run_to_exit("--server", name, ASGI, env=package)
    assert result.stderr == f"[ERROR] {name} (ferrule.servers of adapter_of_mine: {said}\n"
    assert result.returncode == 2


def test_an_unknown_server_is_one_line_that_lists_the_known(package: dict[str, str]) -> None:
    known = "auto, native, granian, uvicorn, hypercorn, gone, half, mine, raising"
    result = run_to_exit("--server", "granain", ASGI, env=package)
    assert result.stderr == f"[ERROR] --server: granain is not known; did you mean granian? (known: {known})\n"
    assert result.returncode == 2


# The port itself

SCRIPT = """
import asyncio, importlib, os, sys, threading, urllib.request
from ferrule.api import prepare
from ferrule.config.load import from_keywords
from tests.apps.anywhere import asgi

how, name = sys.argv[1:]
address = f"127.0.0.1:{sys.stdin.readline().strip()}"
keywords = {"app": "tests.apps.anywhere:asgi", "server": name, "workers": 1, "bind": address, "access_log": False}
server, config = prepare(from_keywords(keywords), None)
assert server.stats is None
server.shutdown()  # without effect
url = f"http://127.0.0.1:{config.settings.bind[0].port}/"

def use():
    for _ in range(200):
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                print("answer", response.status, flush=True)
            break
        except OSError:
            threading.Event().wait(0.05)
    info = server.server_info
    told = info.port == config.settings.bind[0].port
    print("info", info.name, info.workers, info.host, told, server.stats.uptime > 0)
    server.shutdown()

user = threading.Thread(target=use)
user.start()
if how == "async":
    asyncio.run(server.serve_async(asgi, config))
elif how == "object":
    print("code", server.serve(asgi, config))
else:
    print("code", server.serve(config.settings.app, config))
user.join()
print("after", server.stats)
"""


def run_script(how: str, name: str, tmp_path: Path) -> list[str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    port = unused_port()
    command = [sys.executable, str(script), how, name]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(command, input=f"{port}\n", capture_output=True, text=True, env=env, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_stops_when_it_is_told_to_from_another_thread(name: str, tmp_path: Path) -> None:
    assert run_script("name", name, tmp_path) == [
        *("answer 200", f"info {name} 1 127.0.0.1 True True"),
        *("code 0", "after None"),
    ]


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_runs_inside_an_event_loop(name: str, tmp_path: Path) -> None:
    assert run_script("async", name, tmp_path) == [
        *("answer 200", f"info {name} 1 127.0.0.1 True True"),
        "after None",
    ]


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_takes_the_application_itself(name: str, tmp_path: Path) -> None:
    if name == "granian" and multiprocessing.get_start_method() != "fork":
        pytest.skip("granian's workers are not forked here, and cannot be handed an object")
    assert run_script("object", name, tmp_path) == [
        *("answer 200", f"info {name} 1 127.0.0.1 True True"),
        *("code 0", "after None"),
    ]
