"""The command line, as processes: exit codes, one clear line each, help, check, status."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support.server import REPOSITORY, ServerProcess, run_to_exit, wait_until

Serve = Callable[..., ServerProcess]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "web.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', '2')])\n"
        "    return [b'ok']\n"
        "number = 3\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("web:ap",), 3, "[ERROR] module web has no attribute ap; did you mean app?"),
        (("web:number",), 3, "[ERROR] web:number is not callable: it is an int"),
        (("webb:app",), 3, "[ERROR] no module named webb in "),
        (("--workers", "x", "web:app"), 2, "[ERROR] --workers: expected an integer from 0 to 4096, got 'x'"),
        (("--wrokers", "1", "web:app"), 2, "[ERROR] no such option: --wrokers; did you mean --workers?"),
        (("--bind", "here", "web:app"), 2, "[ERROR] --bind: expected HOST:PORT, [V6]:PORT, unix:/PATH or fd://N"),
        (("--bind", "203.0.113.7:1", "web:app"), 1, "[ERROR] cannot listen on 203.0.113.7:1: no interface"),
        (("--static", "/s=.", "web:app"), 2, "[ERROR] --static: not available in this version"),
        (("--reload", "--preload", "web:app"), 2, "[ERROR] --reload and --preload cannot be used together"),
        (("--user", "no-such-user", "web:app"), 2, "[ERROR] --user: no such user: no-such-user"),
        (("--log-file", "/no/such/dir/log", "web:app"), 2, "[ERROR] log-file: cannot open /no/such/dir/log: No such"),
        (("memory", "leaks"), 2, "[ERROR] server memory: not available in this version"),
        (("-c", "nope.toml", "web:app"), 2, "[ERROR] nope.toml: cannot be read: No such file or directory"),
    ],
)
def test_a_mistake_is_one_clear_line_and_the_documented_exit_code(
    site: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    where = () if "--bind" in arguments or arguments[0] == "memory" else ("--bind", "127.0.0.1:0")
    command = (arguments[0], *arguments[1:-1], *where, arguments[-1]) if len(arguments) > 1 else (*where, *arguments)
    result = run_to_exit(*command, cwd=site)
    assert result.returncode == code, result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("[ERROR]")]
    assert len(errors) == 1
    assert errors[0].startswith(message)
    assert "Traceback" not in result.stderr


def test_an_error_of_the_users_code_shows_its_traceback_once_whatever_the_number_of_workers(site: Path) -> None:
    (site / "web.py").write_text("def broken():\n    return 1 / 0\nbroken()\n")
    result = run_to_exit("-w", "3", "--bind", "127.0.0.1:0", "web:app", cwd=site)
    assert result.returncode == 3
    assert result.stderr.count("ZeroDivisionError: division by zero\n") == 2  # in the line, and under the traceback
    assert result.stderr.count("Traceback") == 1
    assert "ferrule/" not in result.stderr


def test_a_failing_lifespan_start_is_a_boot_failure(site: Path) -> None:
    (site / "web.py").write_text(
        "async def app(scope, receive, send):\n"
        "    if scope['type'] == 'lifespan':\n"
        "        await receive()\n"
        "        await send({'type': 'lifespan.startup.failed', 'message': 'the database is away'})\n"
    )
    result = run_to_exit("-w", "1", "--bind", "127.0.0.1:0", "web:app", cwd=site)
    assert result.returncode == 3
    assert "[ERROR] application failed to start: the database is away" in result.stderr


def test_a_worker_that_takes_too_long_to_start_is_a_boot_failure(site: Path) -> None:
    (site / "web.py").write_text("import time\ntime.sleep(60)\n")
    options = ("-w", "1", "--worker-boot-timeout", "0.5", "--bind", "127.0.0.1:0")
    result = run_to_exit(*options, "web:app", cwd=site)
    assert result.returncode == 3
    assert "[ERROR] worker was not ready within 0.5 s" in result.stderr


def test_a_port_in_use_is_exit_1(site: Path, serve: Serve) -> None:
    server = serve("-w", "1", "web:app", cwd=site)
    result = run_to_exit("--bind", f"127.0.0.1:{server.port}", "web:app", cwd=site)
    assert result.returncode == 1
    assert result.stderr == f"[ERROR] cannot listen on 127.0.0.1:{server.port}: the address is in use\n"


def test_the_application_is_found_without_being_named(site: Path, serve: Serve) -> None:
    (site / "web.py").rename(site / "wsgi.py")
    server = serve("-w", "1", cwd=site)
    assert httpx.get(server.url, timeout=30).text == "ok"
    result = run_to_exit("--bind", "127.0.0.1:0", cwd=REPOSITORY / "tests")
    assert result.returncode == 2
    assert result.stderr.startswith("[ERROR] no application: give MODULE:ATTR, or define app in one of main.py")


def test_the_start_names_address_process_workers_interface_and_version(site: Path, serve: Serve) -> None:
    server = serve("-w", "1", "--threads", "3", "web:app", cwd=site)
    server.wait_for_log(rf"^\[INFO\] Listening url=http://127\.0\.0\.1:{server.port}$")
    server.wait_for_log(rf"^\[INFO\] Ready pid={server.pid} workers=1 interface=wsgi threads=3 version=\d+\.\d+\.\d+$")


def test_app_dir_is_entered_and_imported_from(site: Path, serve: Serve, tmp_path: Path) -> None:
    (site / "web.py").write_text(
        "import os\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [os.getcwd().encode()]\n"
    )
    server = serve("-w", "1", "--app-dir", str(site), "web:app", cwd=REPOSITORY)
    assert httpx.get(server.url, timeout=30).text == str(site)


def test_an_env_file_reaches_the_application(site: Path, serve: Serve) -> None:
    (site / ".env").write_text("GREETING=hello there\nFERRULE_WORKERS=1\n")
    (site / "web.py").write_text(
        "import os\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [os.environ['GREETING'].encode()]\n"
    )
    server = serve("--env-file", ".env", "web:app", cwd=site)
    assert httpx.get(server.url, timeout=30).text == "hello there"
    server.wait_for_log("Ready .*workers=1 ")


def test_check_prints_every_setting_with_its_origin(site: Path) -> None:
    (site / "server.toml").write_text("threads = 2\n")
    result = run_to_exit("check", "--workers", "3", "web:app", cwd=site, env={"FERRULE_TIMEOUT": "9"})
    assert result.returncode == 0, result.stderr
    lines = dict(re.split(r"\s+= ", line, maxsplit=1) for line in result.stdout.splitlines())
    assert re.fullmatch(r"3 +# --workers", lines["workers"])
    assert re.fullmatch(r"2 +# server\.toml: threads", lines["threads"])
    assert re.fullmatch(r"9 +# FERRULE_TIMEOUT", lines["timeout"])
    assert re.fullmatch(r"2048 +# default", lines["backlog"])
    assert lines["application"] == "web:app (wsgi)"


def test_check_fails_with_2_for_settings_and_application(site: Path) -> None:
    assert run_to_exit("check", "--workers", "x", "web:app", cwd=site).returncode == 2
    result = run_to_exit("check", "web:nope", cwd=site)
    assert result.returncode == 2
    assert "[ERROR] module web has no attribute nope" in result.stderr


def test_help_is_grouped_and_fits_100_columns() -> None:
    result = run_to_exit("--help", env={"COLUMNS": "200"})
    assert result.returncode == 0
    assert max(len(line) for line in result.stdout.splitlines()) <= 100
    for group in ("Application:", "Listening:", "Processes:", "Time-outs:", "Recycling:", "Logs:", "Operation:"):
        assert f"\n{group}\n" in result.stdout
    assert "--max-requests N " in result.stdout
    assert "--static" not in result.stdout  # not in this version


def test_version_is_printed() -> None:
    assert re.fullmatch(r"ferrule \d+\.\d+\.\d+\n", run_to_exit("--version").stdout)


def test_the_settings_page_is_that_of_the_table() -> None:
    command = [sys.executable, "-m", "ferrule.config.docs", "--check", "docs/settings.md"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_status_shows_workers_rates_and_restarts(site: Path, serve: Serve, tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    env = {"XDG_RUNTIME_DIR": str(runtime)}
    assert run_to_exit("status", env=env).returncode == 1
    server = serve("-w", "2", "web:app", cwd=site, env=env)
    server.wait_for_log("Worker ready", count=2)
    for _ in range(5):
        assert httpx.get(server.url, timeout=30).status_code == 200
    os.kill(server.workers()[0], signal.SIGKILL)
    server.wait_for_log("Worker ready", count=3)
    result = run_to_exit("status", "--pid", str(server.pid), env=env)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert re.fullmatch(rf"ferrule \S+  pid {server.pid}  web:app  {re.escape(server.url)}", lines[0])
    rows = [line.split() for line in lines if re.match(r" +\d+ +\d+  ready", line)]
    assert sorted(int(row[1]) for row in rows) == sorted(server.workers())
    assert "2 of 2 workers ready" in result.stdout
    assert re.search(r"ago  worker \d+ \(pid \d+\): crash, signal SIGKILL", result.stdout)


def test_status_can_be_watched_until_the_server_ends(site: Path, serve: Serve, tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    env = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "PYTHONUNBUFFERED": "1"}
    server = serve("-w", "1", "web:app", cwd=site, env={"XDG_RUNTIME_DIR": str(runtime)})
    wait_until((runtime / "ferrule" / str(server.pid) / "server.json").exists, message="server.json")
    command = [sys.executable, "-m", "ferrule", "status", "--watch"]
    seen = tmp_path / "seen"
    with seen.open("w") as output, subprocess.Popen(command, stdout=output, env=env) as watching:
        try:
            wait_until(lambda: seen.read_text().count("workers ready") == 1, message="a table")
            for _ in range(30):
                assert httpx.get(server.url, timeout=30).status_code == 200
            wait_until(lambda: seen.read_text().count("workers ready") >= 3, message="two more tables")
            assert server.stop() == 0
            assert watching.wait(10) == 0
        finally:
            watching.kill()
    tables = seen.read_text().split("ferrule ")[1:]
    rates = [int(rate) for rate in re.findall(r"1 of 1 workers ready, (\d+) requests/s", seen.read_text())]
    # Each table shows the time since the one before: on a busy machine more than a second, so fewer per second.
    assert sum(rates) in range(3, 40)
    assert len(tables) >= 3
    assert seen.read_text().endswith("The server has ended.\n")


def test_an_interrupted_watch_is_no_failure(site: Path, serve: Serve, tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    env = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "PYTHONUNBUFFERED": "1"}
    server = serve("-w", "1", "web:app", cwd=site, env={"XDG_RUNTIME_DIR": str(runtime)})
    wait_until((runtime / "ferrule" / str(server.pid) / "server.json").exists, message="server.json")
    command = [sys.executable, "-m", "ferrule", "status", "--watch", "--pid", str(server.pid)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as watching:
        try:
            assert watching.stdout is not None
            assert watching.stdout.readline().startswith("ferrule ")
            watching.send_signal(signal.SIGINT)
            _, said = watching.communicate(timeout=30)
        finally:
            watching.kill()
    assert (watching.returncode, said) == (0, "")


def test_status_asks_which_server_when_there_are_several(site: Path, serve: Serve, tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    env = {"XDG_RUNTIME_DIR": str(runtime)}
    servers = [serve("-w", "1", "web:app", cwd=site, env=env) for _ in range(2)]
    for server in servers:
        wait_until((runtime / "ferrule" / str(server.pid) / "server.json").exists, message="server.json")
    result = run_to_exit("status", env=env)
    assert result.returncode == 1
    for server in servers:
        assert str(server.pid) in result.stderr


def test_status_clears_away_what_a_dead_server_left(site: Path, serve: Serve, tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    stale = runtime / "ferrule" / "4194305"  # above the largest pid_max of Linux
    stale.mkdir(parents=True, mode=0o700)
    (runtime / "ferrule").chmod(0o700)
    result = run_to_exit("status", env={"XDG_RUNTIME_DIR": str(runtime)})
    assert "no server of this user is running" in result.stderr
    assert not stale.exists()


def test_run_may_be_said_or_left_out(site: Path) -> None:
    for command in (("run", "--workers", "x"), ("--workers", "x")):
        assert run_to_exit(*command, cwd=site).stderr.startswith("[ERROR] --workers: expected an integer")


def test_ferrule_run_serves_as_the_command_does(site: Path) -> None:
    (site / "script.py").write_text(
        "import ferrule, sys\n"
        "try:\n"
        "    code = ferrule.run('web:app', workers=1, bind='127.0.0.1:0')\n"
        "    print('returned', code)\n"
        "except TypeError as error:\n"
        "    print(error)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "script.py"], cwd=site, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        url = first.strip().partition("url=")[2]
        assert httpx.get(url, timeout=30).text == "ok"
    finally:
        process.terminate()
    out, _ = process.communicate(timeout=20)
    assert out.splitlines()[-1] == "returned 0"


def test_ferrule_run_names_an_unknown_setting() -> None:
    code = "import ferrule\nferrule.run('web:app', wrokers=1)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "TypeError: no such setting: wrokers; did you mean workers?" in result.stderr
