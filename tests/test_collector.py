"""Python's garbage collection in a worker: set up for many requests, unless the application has done so itself."""

import gc
import json
from typing import Any

import pytest

from ferrule.worker.collector import YOUNG
from tests.support.server import ServerProcess

pytestmark = pytest.mark.parametrize("interface", ["asgi", "wsgi"])


def state(interface: str, *flags: str, **variables: str) -> Any:
    with ServerProcess("--workers", "1", *flags, f"tests.apps.collector:{interface}", env=variables) as server:
        with server.connect() as client:
            return json.loads(client.get("/").body)


@pytest.mark.parametrize("flags", [(), ("--preload",)])
def test_the_young_are_searched_less_often_and_imports_no_more(interface: str, flags: tuple[str, ...]) -> None:
    enabled, thresholds, frozen = state(interface, *flags)
    assert enabled
    assert thresholds == [YOUNG, *gc.get_threshold()[1:]]
    assert frozen > 1000


def test_an_application_is_not_overruled(interface: str) -> None:
    assert state(interface, SET_UP="own")[:2] == [True, [1234, 5, 6]]


def test_a_collector_that_is_off_stays_as_it_is(interface: str) -> None:
    assert state(interface, "--preload", SET_UP="off")[:2] == [False, list(gc.get_threshold())]
