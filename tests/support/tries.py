"""Measurements on a machine that does other things as well."""

from collections.abc import Callable
from typing import TypeVar

Measured = TypeVar("Measured")


def best_of(tries: int, measure: Callable[[], Measured], is_good: Callable[[Measured], bool]) -> Measured:
    """Measure until it is good, `tries` times at most; the last measurement, for the assertion.

    For rates, latencies and distributions: the machine's other work only makes them worse, so that one good measurement
    shows what the server can do. A server that cannot never has one.
    """
    measured = measure()
    for _ in range(tries - 1):
        if is_good(measured):
            break
        measured = measure()
    return measured
