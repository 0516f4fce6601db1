"""How each server is started: one worker, uvloop where it is supported, nothing else tuned. Servers that Ferrule has an
adapter for are run through it.

Knows command lines only; processes are run elsewhere.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.applications import PLAINTEXT
from benchmarks.files import Content
from benchmarks.scenarios import Interface, Scenario, Service


@dataclass(frozen=True, slots=True)
class Launch:
    """What a command line is made from. `directory` is the server's own, empty at first."""

    bin: Path
    directory: Path
    port: int
    service: Service
    content: Content
    connections: int = 1000
    keep_alive: int = 75
    workers: int = 1

    def python(self, module: str, *arguments: str) -> list[str]:
        return [str(self.bin / "python"), "-m", module, *arguments]

    def tls(self, certificate: str, key: str) -> list[str]:
        """The two flags of a server that serves HTTPS."""
        if not self.service.tls:
            return []
        return [certificate, str(self.content.certificate), key, str(self.content.key)]


@dataclass(frozen=True, slots=True)
class Peer:
    """A server: which interfaces it has, what must be installed for it, and its command line."""

    name: str
    labels: dict[Interface, str]
    command: Callable[[Launch], list[str]]
    distribution: str | None = None
    program: str | None = None
    # Its own command line, where `command` goes through an adapter: the adapter's share is not the server's cold start.
    itself: Callable[[Launch], list[str]] | None = None

    def label(self, interface: Interface) -> str:
        return self.labels[interface]

    def takes_part(self, scenario: Scenario) -> bool:
        return self.name == "ferrule" or self.name in scenario.peers


def _ferrule(launch: Launch) -> list[str]:
    return launch.python(
        "ferrule",
        launch.service.application,
        *("--interface", launch.service.interface),
        *("--bind", f"127.0.0.1:{launch.port}"),
        *("--workers", str(launch.workers), "--threads", str(launch.service.threads)),
        *("--connections", str(launch.connections), "--keep-alive", str(launch.keep_alive)),
        *("--max-requests", "0"),
        *launch.tls("--certfile", "--keyfile"),
        "--access-log" if launch.service.access_log else "--no-access-log",
    )


def _by_adapter(name: str) -> Callable[[Launch], list[str]]:
    """Another server run by Ferrule's adapter for it: the same settings, in the same words, mean the same for each."""

    def command(launch: Launch) -> list[str]:
        service = launch.service
        # As many blocking threads as the others have for an application that blocks; its own default otherwise.
        blocks = service.application.endswith(":sleep_wsgi")
        return launch.python(
            "ferrule",
            service.application,
            *("--server", name, "--loop", "uvloop", "--interface", service.interface),
            *("--bind", f"127.0.0.1:{launch.port}", "--workers", str(launch.workers)),
            *("--backlog", str(max(1024, launch.connections))),
            *(("--keep-alive", str(launch.keep_alive)) if name != "granian" else ()),
            *(("--http", "auto" if service.http2 else "1") if name == "granian" else ()),
            *(("--threads", str(service.threads)) if blocks else ()),
            *launch.tls("--certfile", "--keyfile"),
            "--access-log" if service.access_log else "--no-access-log",
        )

    return command


def _uvicorn_itself(launch: Launch) -> list[str]:
    return launch.python(
        "uvicorn",
        launch.service.application,
        *("--host", "127.0.0.1", "--port", str(launch.port), "--loop", "uvloop", "--http", "httptools"),
        "--no-access-log",
    )


def _granian_itself(launch: Launch) -> list[str]:
    return launch.python(
        "granian",
        launch.service.application,
        *("--interface", launch.service.interface, "--host", "127.0.0.1", "--port", str(launch.port)),
        *("--workers", "1", "--http", "1", "--no-ws", "--loop", "uvloop", "--no-access-log"),
    )


def _hypercorn_itself(launch: Launch) -> list[str]:
    return launch.python(
        "hypercorn",
        launch.service.application,
        *("--bind", f"127.0.0.1:{launch.port}", "--workers", "1", "--worker-class", "uvloop"),
    )


def _gunicorn(launch: Launch) -> list[str]:
    worker_class = "gthread" if launch.service.interface == "wsgi" else "asgi"
    return launch.python(
        "gunicorn",
        launch.service.application,
        *("--bind", f"127.0.0.1:{launch.port}", "--workers", str(launch.workers)),
        *("--worker-class", worker_class, "--threads", str(launch.service.threads)),
        *("--worker-connections", str(launch.connections), "--keep-alive", str(launch.keep_alive)),
        *launch.tls("--certfile", "--keyfile"),
        *(("--access-logfile", "-") if launch.service.access_log else ()),
    )


def _fastpysgi(launch: Launch) -> list[str]:
    program = str(launch.bin / "fastpysgi")
    return [program, launch.service.application, "--host", "127.0.0.1", "--port", str(launch.port)]


def _socketify(launch: Launch) -> list[str]:
    return launch.python(
        "socketify",
        launch.service.application,
        *("--host", "127.0.0.1", "--port", str(launch.port), "--workers", "1"),
        *("--interface", launch.service.interface, "--ws", "none"),
    )


def _nginx(launch: Launch) -> list[str]:
    """A constant for `/`, cached files for `/files/`: no application server can be expected to spend less."""
    service, folder = launch.service, launch.directory
    # Started as root, nginx would give its worker to a user who may not read the temporary directory.
    user = "user root;" if os.geteuid() == 0 else ""
    access_log = folder / "access.log" if service.access_log else "off"
    listen = " ssl" * service.tls + " http2" * service.http2
    tls = f"ssl_certificate {launch.content.certificate}; ssl_certificate_key {launch.content.key};"
    configuration = folder / "nginx.conf"
    configuration.write_text(f"""
        {user}
        daemon off; worker_processes {launch.workers}; pid {folder}/nginx.pid; error_log stderr crit;
        worker_rlimit_nofile {launch.connections + 64};
        events {{ worker_connections {launch.connections + 16}; }}
        http {{
            access_log {access_log}; default_type text/plain;
            keepalive_timeout {launch.keep_alive}s; keepalive_requests 1000000000;
            client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
            uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
            server {{
                listen 127.0.0.1:{launch.port}{listen} backlog=2048;
                {tls if service.tls else ""}
                location / {{ return 200 "{PLAINTEXT.decode()}"; }}
                location /files/ {{ root {launch.content.folder}; open_file_cache max=8; sendfile on; }}
            }}
        }}
    """)
    return [nginx_program() or "nginx", "-e", "stderr", "-p", str(folder), "-c", str(configuration)]


def _bare_c(launch: Launch) -> list[str]:
    """Echoes bodies by a few system calls and nothing else: no server can be expected to spend less on an echo."""
    program = launch.content.folder / "bare-echo"
    if not program.exists():
        source = Path(__file__).with_name("bare_echo.c")
        subprocess.run([compiler() or "cc", "-O2", "-o", str(program), str(source)], check=True)
    return [str(program), str(launch.port)]


def compiler() -> str | None:
    """The system's C compiler."""
    return shutil.which("cc")


def nginx_program() -> str | None:
    """nginx's path: distributions put it where only root's search path looks."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


PEERS: tuple[Peer, ...] = (
    Peer("ferrule", {"asgi": "ferrule", "wsgi": "ferrule"}, _ferrule, distribution="ferrule"),
    Peer(
        "granian",
        {"asgi": "granian", "wsgi": "granian"},
        _by_adapter("granian"),
        distribution="granian",
        itself=_granian_itself,
    ),
    Peer("uvicorn", {"asgi": "uvicorn"}, _by_adapter("uvicorn"), distribution="uvicorn", itself=_uvicorn_itself),
    Peer("gunicorn", {"asgi": "gunicorn asgi", "wsgi": "gunicorn gthread"}, _gunicorn, distribution="gunicorn"),
    Peer(
        "hypercorn", {"asgi": "hypercorn"}, _by_adapter("hypercorn"), distribution="hypercorn", itself=_hypercorn_itself
    ),
    Peer("fastpysgi", {"asgi": "fastpysgi", "wsgi": "fastpysgi"}, _fastpysgi, distribution="fastpysgi"),
    Peer("socketify", {"asgi": "socketify", "wsgi": "socketify"}, _socketify, distribution="socketify"),
    Peer("nginx", {"asgi": "nginx", "wsgi": "nginx"}, _nginx, program="nginx"),
    Peer("bare-c", {"asgi": "bare C", "wsgi": "bare C"}, _bare_c, program="cc"),
)

# Those that run no application: what they spend is the floor, not something to be compared with the best.
FLOORS = frozenset({"nginx", "bare-c"})
