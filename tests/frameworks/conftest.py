"""The sites under test: which there are, and one running server for each, shared by the whole session."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.support.raw import RawConnection
from tests.support.server import ServerProcess, wait_until

# What must never be in the log of a server, whatever the tests did to it.
TRACES_OF_DEFECTS = (
    "was never awaited",
    "Task was destroyed but it is pending",
    "exception was never retrieved",
    "Exception ignored in",
    "Iterator garbage collected without being closed",  # wsgiref.validate: `close` was not called
    "Internal error",
    "panicked",
)

_numbers = count(1)


class Site(NamedTuple):
    """An application and how it is served."""

    name: str
    target: str
    interface: str
    loop: str = ""

    @property
    def framework(self) -> str:
        return self.name.partition("-")[0]


SITES = [
    Site("starlette", "starlette_site:app", "asgi", "uvloop"),
    Site("starlette-asyncio", "starlette_site:app", "asgi", "asyncio"),
    Site("starlette-stacked", "starlette_site:stacked", "asgi", "uvloop"),
    Site("fastapi", "fastapi_site:app", "asgi", "uvloop"),
    Site("fastapi-asyncio", "fastapi_site:app", "asgi", "asyncio"),
    Site("django-asgi", "django_site:asgi_app", "asgi", "uvloop"),
    Site("django-asgi-asyncio", "django_site:asgi_app", "asgi", "asyncio"),
    Site("django-wsgi", "django_site:app", "wsgi"),
    Site("django-wsgi-validated", "django_site:validated", "wsgi"),
    Site("flask", "flask_site:app", "wsgi"),
    Site("flask-validated", "flask_site:validated", "wsgi"),
]


class RunningSite:
    """A site and its server. Clients of it are closed by whoever made them."""

    def __init__(self, site: Site, server: ServerProcess, file: Path) -> None:
        self.site = site
        self.server = server
        self.file = file

    @property
    def url(self) -> str:
        return self.server.url

    def client(self) -> httpx.Client:
        """Asks for no compression: what is compressed is for tests that ask for it."""
        return httpx.Client(base_url=self.url, headers={"accept-encoding": "identity"}, timeout=20, trust_env=False)

    def connect(self) -> RawConnection:
        return self.server.connect(timeout=20)

    def count(self, entry: str) -> int:
        """How often the site wrote this into its journal."""
        with self.client() as client:
            return int(client.get("/journal", params={"entry": entry}).raise_for_status().json()["count"])

    def wait_for(self, entry: str, *, more_than: int = 0) -> None:
        wait_until(lambda: self.count(entry) > more_than, message=f"{entry!r} in the journal of {self.site.name}")


def unique(name: str = "") -> str:
    """A name that no other test uses: for the journal and the log, which all tests of a session share."""
    return f"{name}{next(_numbers)}"


def only(framework: str = "", *, interface: str = "", stacked: bool | None = None) -> pytest.MarkDecorator:
    """Run a test on the sites of one framework, of one interface, with or without the stack of middleware."""
    chosen = [
        site
        for site in SITES
        if (not framework or site.framework in framework.split())
        and (not interface or site.interface == interface)
        and (stacked is None or site.name.endswith("-stacked") == stacked)
    ]
    return pytest.mark.parametrize("site", chosen, ids=[site.name for site in chosen], indirect=True)


@pytest.fixture(scope="session")
def content_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `/file` hands out: more than socket buffers hold, no two blocks alike."""
    path = tmp_path_factory.mktemp("site") / "content.bin"
    path.write_bytes(b"".join(b"%015d\n" % number for number in range(256 * 1024)))
    return path


@pytest.fixture(scope="session")
def start_site(content_file: Path) -> Iterator[Callable[[Site], RunningSite]]:
    """Starts a site's server once. At the end of the session every one must stop, unharmed, with a clean log."""
    running: dict[Site, RunningSite] = {}
    workers: dict[Site, list[int]] = {}
    with ExitStack() as stack:

        def start(site: Site) -> RunningSite:
            if site not in running:
                loop = ["--loop", site.loop] if site.loop else []
                server = stack.enter_context(
                    ServerProcess(
                        *("--workers", "1", "--max-requests", "0", "--interface", site.interface, *loop),
                        f"tests.frameworks.sites.{site.target}",
                        env={"SITE_FILE": str(content_file), "SITE_INTERFACE": site.interface},
                    )
                )
                running[site] = RunningSite(site, server, content_file)
                with running[site].client() as client:
                    client.get("/json").raise_for_status()  # the worker is up
                workers[site] = server.workers()
            return running[site]

        yield start
        for site, one in running.items():
            said = one.server.stderr
            assert one.server.workers() == workers[site], f"{site.name}: a worker was replaced:\n{said}"
            assert one.server.stop() == 0, f"{site.name}:\n{one.server.stderr}"
            found = [trace for trace in TRACES_OF_DEFECTS if trace in one.server.stderr]
            assert not found, f"{site.name}: {found} in the log:\n{one.server.stderr}"


@pytest.fixture(params=SITES, ids=[site.name for site in SITES])
def site(request: pytest.FixtureRequest, start_site: Callable[[Site], RunningSite]) -> RunningSite:
    """Every site, one after the other; fewer with `only`."""
    return start_site(request.param)


@pytest.fixture
def client(site: RunningSite) -> Iterator[httpx.Client]:
    """A client of the site that keeps its connections alive."""
    with site.client() as client:
        yield client
