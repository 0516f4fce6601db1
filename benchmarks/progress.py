"""What a person sees while a run goes on: what is measured now, how far it has come, how long it will take."""

import sys
import time


class Progress:
    """Counts steps on standard error: one line that is written over on a terminal, one line each in a log."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0
        self._began = time.monotonic()

    def step(self, what: str, number: int, rounds: int, label: str) -> None:
        """Say that a step begins."""
        spent = time.monotonic() - self._began
        left = spent / self._done * (self._steps - self._done) if self._done else None
        self._done += 1
        share = min(100, self._done * 100 // max(1, self._steps))
        remaining = "" if left is None or left < 0 else f", {_minutes(left)} left"
        line = f"[{share:3d} %{remaining}] {what}, round {number}/{rounds}: {label}"
        if sys.stderr.isatty():
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def end(self) -> None:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        print(f"measured in {_minutes(time.monotonic() - self._began)}", file=sys.stderr)


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min"
