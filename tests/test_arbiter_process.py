"""What makes the server a good citizen: hooks, preload, identity, names, reload for development, control socket."""

import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support.gauges import wait_in_flight
from tests.support.server import ServerProcess, run_to_exit, wait_until

Serve = Callable[..., ServerProcess]

ANSWER = """
def app(environ, start_response):
    body = str(answer()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "web.py").write_text("def answer(): return 1\n" + ANSWER)
    return tmp_path


def test_every_hook_is_called_at_its_moment(site: Path, serve: Serve) -> None:
    (site / "conf.py").write_text(
        "def note(*words):\n"
        "    with open('hooks', 'a') as file: print(*words, file=file)\n"
        "def on_starting(server): note('on_starting', server.cfg.workers)\n"
        "def when_ready(server): note('when_ready', server.address[0].startswith('http://'))\n"
        "def pre_fork(server, worker): note('pre_fork', worker.age, worker.pid)\n"
        "def post_fork(server, worker): server.log.info('forked %s', worker.age); note('post_fork', worker.pid > 0)\n"
        "def post_worker_init(worker): note('post_worker_init', worker.age)\n"
        "def worker_exit(server, worker): note('worker_exit', worker.age)\n"
        "def child_exit(server, worker): note('child_exit', worker.age)\n"
        "def nworkers_changed(server, new, old): note('nworkers_changed', new, old)\n"
        "def on_exit(server): note('on_exit')\n"
        "workers = 1\n"
    )
    server = serve("-c", "conf.py", "web:app", cwd=site)
    server.wait_for_log("Worker ready")
    server.send_signal(signal.SIGTTIN)
    server.wait_for_log("Worker ready", count=2)
    assert server.stop() == 0
    called = (site / "hooks").read_text().splitlines()
    assert called[:6] == [
        "on_starting 1",
        "pre_fork 1 0",
        "post_fork True",
        "post_worker_init 1",
        "when_ready True",
        "nworkers_changed 2 1",
    ]
    assert {"worker_exit 1", "worker_exit 2", "child_exit 1", "child_exit 2"} <= set(called)
    assert called[-1] == "on_exit"
    assert "[INFO] forked 1" in server.stderr


def test_a_quick_stop_and_a_timeout_call_their_hooks(site: Path, serve: Serve) -> None:
    (site / "conf.py").write_text(
        "def worker_int(worker): worker.log.warning('interrupted')\n"
        "def worker_abort(worker): worker.log.warning('aborted')\n"
    )
    (site / "web.py").write_text("import time\ndef answer(): time.sleep(60)\n" + ANSWER)
    server = serve("-c", "conf.py", "-w", "1", "--threads", "1", "--timeout", "1", "web:app", cwd=site)
    server.wait_for_log("Worker ready")
    with server.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        server.wait_for_log(r"\[WARNING\] aborted", timeout=10)
    server.wait_for_log("Worker ready", count=2)
    assert server.stop() == 0

    server = serve("-c", "conf.py", "-w", "1", "web:app", cwd=site)
    server.wait_for_log("Worker ready")
    assert server.stop(signal.SIGINT) == 0
    assert "[WARNING] interrupted" in server.stderr


def test_a_failing_hook_of_the_arbiter_is_logged_and_the_server_goes_on(site: Path, serve: Serve) -> None:
    (site / "conf.py").write_text("def when_ready(server): raise KeyError('oops')\n")
    server = serve("-c", "conf.py", "-w", "1", "web:app", cwd=site)
    server.wait_for_log(r"\[ERROR\] Hook when_ready failed")
    assert httpx.get(server.url, timeout=30).text == "1"


def test_a_failing_hook_of_a_worker_is_a_boot_failure(site: Path) -> None:
    (site / "conf.py").write_text("def post_fork(server, worker): raise KeyError('oops')\n")
    result = run_to_exit("-c", "conf.py", "-w", "1", "--bind", "127.0.0.1:0", "web:app", cwd=site)
    assert result.returncode == 3
    assert "worker failed to start: KeyError: 'oops'" in result.stderr


def test_preload_imports_once_and_reports_what_the_import_left_behind(site: Path, serve: Serve) -> None:
    (site / "web.py").write_text(
        "import asyncio, os, sys, threading\n"
        "sys.stderr.write('imported\\n')\n"
        "where = os.getpid()\n"
        "threading.Thread(target=threading.Event().wait, daemon=True, name='stray').start()\n"
        "loop = asyncio.new_event_loop()\n"
        "def answer(): return where\n" + ANSWER
    )
    server = serve("--preload", "-w", "2", "web:app", cwd=site)
    server.wait_for_log("Worker ready", count=2)
    assert server.stderr.count("imported") == 1
    assert httpx.get(server.url, timeout=30).text == str(server.pid)
    assert "the application started 1 thread(s) that workers will lack: stray" in server.stderr
    assert "the application left 1 open event loop(s)" in server.stderr


def test_a_preloaded_application_that_does_not_import_is_exit_3(site: Path) -> None:
    (site / "web.py").write_text("1 / 0\n")
    result = run_to_exit("--preload", "--bind", "127.0.0.1:0", "web:app", cwd=site)
    assert result.returncode == 3
    assert "[ERROR] web cannot be imported: ZeroDivisionError" in result.stderr
    assert "ferrule/" not in result.stderr


def _can_run_python(user: str) -> bool:
    try:
        probe = subprocess.run([sys.executable, "-c", "import json, ferrule"], user=user, cwd="/", check=False)
    except PermissionError:
        return False
    return probe.returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run workers as somebody else")
def test_workers_run_as_the_user_and_own_the_socket_file(site: Path, serve: Serve) -> None:
    nobody = pwd.getpwnam("nobody")
    for directory in (site, *list(site.parents)[:2]):
        directory.chmod(0o755)
    if not _can_run_python("nobody"):
        pytest.skip("the interpreter is installed where only its owner can read it")
    (site / "web.py").write_text("import os\ndef answer(): return os.getuid(), os.getgid(), os.getgroups()\n" + ANSWER)
    path = site / "s"
    server = serve("-w", "1", "-u", "nobody", "-b", f"unix:{path}?mode=600", "web:app", cwd=site)
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=30) as client:
        answer = client.get("http://x/").text
    assert answer.startswith(f"({nobody.pw_uid}, {nobody.pw_gid}, ")
    assert "[0" not in answer
    found = path.stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (nobody.pw_uid, 0o600)
    assert server.stop() == 0
    assert not path.exists()


def test_the_umask_shapes_the_socket_file_and_the_workers(site: Path, serve: Serve) -> None:
    (site / "web.py").write_text("import os\ndef answer():\n    open('made', 'w')\n    return 1\n" + ANSWER)
    path = site / "s"
    serve("-w", "1", "-m", "027", "-b", f"unix:{path}", "web:app", cwd=site)
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=30) as client:
        assert client.get("http://x/").status_code == 200
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert stat.S_IMODE((site / "made").stat().st_mode) == 0o640


def test_processes_are_named(site: Path, serve: Serve) -> None:
    server = serve("-w", "1", "web:app", cwd=site)
    server.wait_for_log("Worker ready")
    assert Path(f"/proc/{server.pid}/comm").read_text() == "ferrule-arbiter\n"
    assert Path(f"/proc/{server.workers()[0]}/comm").read_text() == "ferrule-w1\n"


def test_a_stale_pid_file_is_replaced_and_one_of_a_living_process_refused(site: Path, serve: Serve) -> None:
    path = site / "pid"
    path.write_text("4194305\n")  # above the largest pid_max of Linux
    server = serve("-w", "1", "-p", str(path), "web:app", cwd=site)
    assert path.read_text() == f"{server.pid}\n"
    result = run_to_exit("-p", str(path), "--bind", "127.0.0.1:0", "web:app", cwd=site)
    assert result.returncode == 1
    assert f"[ERROR] --pid: {path}: process {server.pid} runs already" in result.stderr
    assert path.read_text() == f"{server.pid}\n"
    assert server.stop() == 0
    assert not path.exists()


def test_an_inherited_listener_is_served(site: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, fd = listener.getsockname()[1], listener.fileno()
        process = subprocess.Popen(
            [sys.executable, "-m", "ferrule", "-w", "1", "-b", f"fd://{fd}", "web:app"],
            cwd=site, pass_fds=(fd,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert httpx.get(f"http://127.0.0.1:{port}/", timeout=30).text == "1"
        finally:
            process.terminate()
            assert process.wait(20) == 0


def test_a_reload_may_change_addresses_and_workers(site: Path, serve: Serve) -> None:
    (site / "conf.toml").write_text(f"app = 'web:app'\nbind = ['unix:{site}/a']\nworkers = 1\n")
    server = serve("-c", "conf.toml", cwd=site, default_bind=False)
    server.wait_for_log("Worker ready")
    (site / "conf.toml").write_text(f"app = 'web:app'\nbind = ['unix:{site}/b']\nworkers = 2\n")
    server.send_signal(signal.SIGHUP)
    server.wait_for_log("Worker ready", count=3)
    wait_until(lambda: not (site / "a").exists(), message="the first address to be given up")
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(site / "b")), timeout=30) as client:
        assert client.get("http://x/").text == "1"
    assert server.stop() == 0
    assert not (site / "b").exists()


WATCHERS = pytest.mark.parametrize("watcher", ["events", "polling"])


@WATCHERS
def test_reload_serves_changed_code_and_shows_a_broken_import(site: Path, serve: Serve, watcher: str) -> None:
    env = {}
    if watcher == "polling":
        (site / "hidden").mkdir()
        (site / "hidden" / "watchfiles.py").write_text("raise ImportError\n")
        env = {"PYTHONPATH": str(site / "hidden")}
    server = serve("--reload", "web:app", cwd=site, env=env)
    server.wait_for_log("Worker ready")
    assert httpx.get(server.url, timeout=30).text == "1"
    (site / "web.py").write_text("def answer(): return 22\n" + ANSWER)
    wait_until(lambda: httpx.get(server.url, timeout=30).text == "22", message="the new code")
    (site / "web.py").write_text("def answer(: return 3\n" + ANSWER)
    wait_until(lambda: httpx.get(server.url, timeout=30).status_code == 500, message="the traceback page")
    page = httpx.get(server.url, timeout=30)
    assert "SyntaxError" in page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    (site / "web.py").write_text("def answer(): return 4444\n" + ANSWER)
    wait_until(lambda: httpx.get(server.url, timeout=30).text == "4444", message="the fixed code")
    assert server.stop() == 0


def test_reload_does_not_wait_for_an_open_stream(site: Path, serve: Serve) -> None:
    (site / "web.py").write_text(
        "import asyncio\n"
        "version = 1\n"
        "async def app(scope, receive, send):\n"
        "    if scope['type'] != 'http': raise RuntimeError\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': str(version).encode(), 'more_body': True})\n"
        "    if scope['path'] == '/stream': await asyncio.sleep(3600)\n"
        "    await send({'type': 'http.response.body'})\n"
    )
    server = serve("--reload", "web:app", cwd=site)
    server.wait_for_log("Worker ready")
    old = set(server.workers())
    with server.connect() as client:
        client.send(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_in_flight(server, 1)
        (site / "web.py").write_text((site / "web.py").read_text().replace("version = 1", "version = 2000"))
        wait_until(lambda: httpx.get(server.url, timeout=30).text == "2000", message="the new code")
        server.wait_for_log("Worker left .*cause=reload", timeout=20)  # instead of 30: the grace
    assert len(set(server.workers()) - old) == 1


def test_files_that_do_not_matter_are_not_watched(site: Path, serve: Serve) -> None:
    (site / ".cache").mkdir()
    server = serve("--reload", "--reload-include", "*.html", "--reload-exclude", "skip*", "web:app", cwd=site)
    server.wait_for_log("Worker ready")
    for name in ("notes.txt", "skip.html", "web2.py"):
        (site / name).write_text("x")
    time.sleep(1)
    assert "Change detected" not in server.stderr
    (site / "page.html").write_text("x")
    server.wait_for_log(r"Change detected path=\S+page\.html")
