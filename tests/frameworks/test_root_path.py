"""`--root-path`: each framework routes below it and builds its URLs with it, whether or not a proxy strips it."""

from collections.abc import Callable

import httpx
import pytest

from tests.frameworks.conftest import SITES, Site
from tests.support.server import ServerProcess

PLAIN = [
    site for site in SITES if site.name in {"starlette", "fastapi", "django-asgi", "django-wsgi", "flask-validated"}
]


@pytest.mark.parametrize("site", PLAIN, ids=[site.name for site in PLAIN])
def test_the_root_path_is_the_applications_root(serve: Callable[..., ServerProcess], site: Site) -> None:
    server = serve(
        *("--workers", "1", "--root-path", "/api", f"tests.frameworks.sites.{site.target}"),
        env={"SITE_INTERFACE": site.interface},
    )
    with httpx.Client(base_url=server.url, timeout=20, trust_env=False) as client:
        for path in ("/api/echo/rest", "/echo/rest"):
            answer = client.get(path).json()
            assert (answer["root"], answer["rest"]) == ("/api", "rest"), path
            assert answer["url"] == f"{server.url}/api/echo/rest", path
