"""Fixtures that every part of the suite may use."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import REPOSITORY, ServerProcess


def pytest_configure() -> None:
    # A run that is told to stop, by a time limit of CI for instance, stops its servers as one that is interrupted does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture
def serve() -> Iterator[Callable[..., ServerProcess]]:
    """Start servers that the end of the test stops: `server = serve("tests.apps.hello:app", "--workers", "1")`.

    Takes what `ServerProcess` takes. The end of the test fails when one of them left a process behind.
    """
    with ExitStack() as stack:

        def start(*arguments: str, **options: Any) -> ServerProcess:
            return stack.enter_context(ServerProcess(*arguments, **options))

        yield start


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of public protocol vectors; a test that needs it is skipped where it is absent."""
    path = Path(os.environ.get("FERRULE_VECTORS") or REPOSITORY.parent / "shared" / "vectors")
    if not path.is_dir():
        pytest.skip(f"no protocol vectors at {path} (set FERRULE_VECTORS)")
    return path


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, the loop Ferrule serves on."""
    return "asyncio"
