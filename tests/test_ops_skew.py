"""How new connections spread over workers."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.support.server import ServerProcess
from tests.support.tries import best_of

Serve = Callable[..., ServerProcess]


@pytest.mark.parametrize("app", ["tests.apps.process:asgi", "tests.apps.process:wsgi"])
def test_kept_connections_opened_one_by_one_spread_over_all_workers(serve: Serve, app: str) -> None:
    server = serve("-w", "4", app)
    server.wait_for_log("Worker ready", count=4)

    def spread() -> Counter[bytes]:
        held: Counter[bytes] = Counter()
        with ExitStack() as connections:
            for _ in range(64):
                held[connections.enter_context(server.connect()).get("/").body] += 1
        return held

    def is_even(held: Counter[bytes]) -> bool:
        return len(held) == 4 and max(held.values()) <= 0.4 * 64

    # Whoever is lighter has to be scheduled within a millisecond to have a chance, which a busy machine may not do.
    held = best_of(6, spread, is_even)
    assert is_even(held), held
