"""The protocols of service managers: socket activation, notification, watchdog."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from ferrule.arbiter.systemd import Notifier, inherited_descriptors
from tests.support.server import ServerProcess

APP = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""

# Does what a service manager does between fork and exec: the sockets become descriptors 3 and up, LISTEN_PID is the
# process itself.
ACTIVATE = """\
import os, sys
descriptors = [int(each) for each in sys.argv[1].split(",")]
for target, descriptor in enumerate(descriptors, 3):
    os.dup2(descriptor, target, inheritable=True)
os.environ |= {"LISTEN_FDS": str(len(descriptors)), "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "web.py").write_text(APP)
    return tmp_path


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(10)

    def next(self, skip: str = "WATCHDOG") -> dict[str, str]:
        """The next message that is not of kind `skip`, as a mapping."""
        while True:
            message = dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())
            if skip not in message:
                return message

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def test_inherited_descriptors_count_only_for_the_process_they_name() -> None:
    def given(**variables: str) -> list[int]:
        environ = {**variables, "LISTEN_FDNAMES": "a:b", "OTHER": "x"}
        found = inherited_descriptors(environ, 42)
        assert environ == {"OTHER": "x"}  # children must not take them for theirs
        return found

    assert given(LISTEN_PID="42", LISTEN_FDS="2") == [3, 4]
    assert given(LISTEN_PID="43", LISTEN_FDS="2") == []
    assert given(LISTEN_PID="42", LISTEN_FDS="x") == []
    assert given() == []


def test_the_watchdog_is_fed_only_by_the_process_it_is_meant_for() -> None:
    assert Notifier({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "42"}, 42).watchdog_interval == 2.0
    assert Notifier({"WATCHDOG_USEC": "4000000"}, 42).watchdog_interval == 2.0
    assert Notifier({"WATCHDOG_USEC": "0"}, 42).watchdog_interval is None  # off, and not as often as possible
    assert Notifier({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "41"}, 42).watchdog_interval is None
    assert Notifier({}, 42).watchdog_interval is None


def test_an_abstract_notify_socket_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        name = f"ferrule-test-{os.getpid()}"
        receiver.bind("\0" + name)
        receiver.settimeout(5)
        environ = {"NOTIFY_SOCKET": "@" + name}
        Notifier(environ, 1).stopping()
        assert environ == {}
        assert receiver.recv(100) == b"STOPPING=1"


def test_a_server_serves_the_sockets_it_was_activated_with(site: Path, serve: Callable[..., ServerProcess]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(site / "s"))
        unix.listen()
        for each in (tcp, unix):
            os.set_inheritable(each.fileno(), True)
        port = tcp.getsockname()[1]
        command = [sys.executable, "-c", ACTIVATE, f"{tcp.fileno()},{unix.fileno()}"]
        process = subprocess.Popen(
            [*command, sys.executable, "-m", "ferrule", "-w", "1", "web:app"],
            cwd=site,
            pass_fds=(tcp.fileno(), unix.fileno()),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert httpx.get(f"http://127.0.0.1:{port}/", timeout=30).text == "ok"
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(site / "s")), timeout=30) as client:
                assert client.get("http://x/", timeout=10).text == "ok"
        finally:
            process.terminate()
            _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert f"Listening url=http://127.0.0.1:{port}" in said
    assert f"Listening url=unix:{site / 's'}" in said
    assert (site / "s").exists()  # it belongs to the service manager


def test_the_service_manager_hears_of_every_turn(
    site: Path, manager: Manager, serve: Callable[..., ServerProcess]
) -> None:
    server = serve("-w", "1", "web:app", cwd=site, env={"NOTIFY_SOCKET": manager.path})
    assert manager.next() == {"READY": "1", "STATUS": "1 workers serve web:app"}
    server.send_signal(signal.SIGHUP)
    reloading = manager.next()
    assert reloading["RELOADING"] == "1"
    assert int(reloading["MONOTONIC_USEC"]) > 0
    assert manager.next()["READY"] == "1"
    assert server.stop() == 0
    assert manager.next() == {"STOPPING": "1"}


def test_a_failed_reload_ends_with_ready_too(site: Path, manager: Manager, serve: Callable[..., ServerProcess]) -> None:
    server = serve("-w", "1", "web:app", cwd=site, env={"NOTIFY_SOCKET": manager.path})
    assert manager.next()["READY"] == "1"
    (site / "web.py").write_text("broken = (\n")
    server.send_signal(signal.SIGHUP)
    assert "RELOADING" in manager.next()
    assert manager.next()["READY"] == "1"
    server.wait_for_log("Reload failed")


def test_the_watchdog_is_fed_twice_per_interval(
    site: Path, manager: Manager, serve: Callable[..., ServerProcess]
) -> None:
    serve("-w", "1", "web:app", cwd=site, env={"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "200000"})
    for _ in range(4):
        while "WATCHDOG" not in manager.next(skip=""):
            pass


def test_workers_do_not_inherit_what_is_meant_for_the_arbiter(
    site: Path, manager: Manager, serve: Callable[..., ServerProcess]
) -> None:
    (site / "web.py").write_text(
        "import os\n"
        "def app(environ, start_response):\n"
        "    found = [name for name in os.environ if name.startswith(('NOTIFY_', 'WATCHDOG_', 'LISTEN_'))]\n"
        "    start_response('200 OK', [])\n"
        "    return [repr(found).encode()]\n"
    )
    env = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "2000000"}
    server = serve("-w", "1", "web:app", cwd=site, env=env)
    assert httpx.get(server.url, timeout=30).text == "[]"
