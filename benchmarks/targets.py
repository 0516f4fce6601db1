"""What Ferrule has to reach, one row per promise, and the verdict of a report on each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.peers import FLOORS
from benchmarks.results import Report, Result, Spread, Verdict


@dataclass(frozen=True, slots=True)
class Target:
    """One promise. `judge` returns what was measured, or None when the report does not hold it. To keep `otherwise`
    instead is as good: its verdict is given where it is the one that was met."""

    scenario: str
    interface: str
    text: str
    limit: float
    judge: Callable[[Report, Result], Spread | None]
    at_least: bool = False
    digits: int = 2
    otherwise: "Target | None" = None

    def verdict(self, report: Report) -> Verdict | None:
        own = self._own_verdict(report)
        if self.otherwise is None or (own is not None and own.met):
            return own
        other = self.otherwise.verdict(report)
        return other if other is not None and (other.met or own is None) else own

    def _own_verdict(self, report: Report) -> Verdict | None:
        result = report.find(self.scenario, self.interface)
        measured = self.judge(report, result) if result is not None else None
        if result is None or measured is None:
            return None
        met = measured.median >= self.limit if self.at_least else measured.median <= self.limit
        limit = f"{'≥' if self.at_least else '≤'} {self.limit:g}"
        return Verdict(result.title, self.text, limit, measured, self.digits, met)


def verdicts(report: Report) -> list[Verdict]:
    """Of every target that the report can be held to, in the order of the table."""
    return [verdict for target in TARGETS if (verdict := target.verdict(report)) is not None]


def _over(peer: str, metric: str | None = None) -> Callable[[Report, Result], Spread | None]:
    return lambda report, result: result.ratio(peer, metric)


def _over_best(metric: str) -> Callable[[Report, Result], Spread | None]:
    """Over the peer that does best by the scenario's metric and runs the application."""

    def judge(report: Report, result: Result) -> Spread | None:
        best = next((row.peer for row in result.ranked() if row.peer not in {"ferrule", *FLOORS}), None)
        return result.ratio(best, metric) if best is not None else None

    return judge


def _own(metric: str) -> Callable[[Report, Result], Spread | None]:
    def judge(report: Report, result: Result) -> Spread | None:
        row = result.row("ferrule")
        return row.spread(metric) if row is not None and row.has(metric) else None

    return judge


def _most_lost(report: Report, result: Result) -> Spread | None:
    # One lost request in one round is a lost request: the worst round is the figure.
    row = result.row("ferrule")
    return Spread.of([max(row.values("lost"))]) if row is not None else None


def _restart_latency(report: Report, result: Result) -> Spread | None:
    row = result.row("ferrule")
    if row is None:
        return None
    return Spread.of([sample["p99_ms"] / sample["steady_p99_ms"] for sample in row.samples])


def _line_time(report: Report, result: Result) -> Spread | None:
    """µs of user time for the instructions of a line, at the instructions per µs of the same work under load: those of
    one request, over its user time."""
    counted = result.row("ferrule")
    loaded = report.find("access-log", result.interface)
    timed = loaded.row("ferrule") if loaded is not None else None
    if counted is None or timed is None:
        return None
    line, request = counted.spread("line_instructions").median, counted.spread("instructions").median
    return Spread.of([line / request * user for user in timed.values("user_us")])


def _ratios(scenario: str, interface: str, limits: dict[str, float]) -> list[Target]:
    return [
        Target(scenario, interface, f"CPU time relative to {peer}", limit, _over(peer))
        for peer, limit in limits.items()
    ]


def _each(interfaces: Sequence[str], make: Callable[[str], Target]) -> list[Target]:
    return [make(interface) for interface in interfaces]


_BOTH = ("asgi", "wsgi")

TARGETS: tuple[Target, ...] = (
    *_ratios("plaintext", "asgi", {"granian": 0.45, "uvicorn": 0.55, "nginx": 1.25}),
    *_ratios("plaintext", "wsgi", {"granian": 0.60, "fastpysgi": 0.95, "gunicorn": 0.10, "nginx": 1.15}),
    *_ratios("tls", "asgi", {"granian": 0.60, "nginx": 1.4}),
    *_ratios("tls", "wsgi", {"granian": 0.9, "nginx": 1.4}),
    *_ratios("h2c", "asgi", {"granian": 0.60, "nginx": 1.0}),
    *_ratios("h2-tls", "asgi", {"granian": 0.60, "nginx": 1.0}),
    *(
        Target(
            f"echo-{size}",
            interface,
            "CPU time relative to the best peer",
            0.60,
            _over_best("cpu_us"),
            otherwise=Target(f"echo-{size}", interface, "CPU time relative to a bare C echo", 1.15, _over("bare-c")),
        )
        for size in ("10k", "100k")
        for interface in _BOTH
    ),
    *(
        target
        for name in ("file-50k", "file-10m")
        for interface, limits in (("asgi", {"granian": 0.60, "nginx": 1.2}), ("wsgi", {"nginx": 1.2}))
        for target in _ratios(name, interface, limits)
    ),
    Target("sleep", "asgi", "CPU time relative to the best peer", 0.70, _over_best("cpu_us")),
    Target("sleep", "asgi", "p99 relative to the best peer", 1.0, _over_best("p99_ms")),
    Target("sleep", "wsgi", "requests/s, of 400 possible", 380, _own("rate"), at_least=True, digits=0),
    Target("access-log-line", "asgi", "µs of user time for a line", 0.5, _line_time),
    *(
        Target(f"access-log{where}", interface, "writes per 1,000 requests", 30, _own("writes"), digits=1)
        for where in ("", "-pipe")
        for interface in _BOTH
    ),
    *(
        target
        for count in (1, 9, 40)
        for target in (
            Target(f"head-{count}", "", "speed relative to httparse", 1.0, _over("httparse"), at_least=True),
            Target(f"head-{count}", "", "speed relative to llhttp", 2.0, _over("llhttp"), at_least=True),
        )
    ),
    Target("hpack-stories", "", "speed relative to the best peer", 1.5, _over_best("mb_s"), at_least=True),
    *_each(_BOTH, lambda each: Target("idle", each, "KiB of memory for a connection", 0.5, _own("kib"))),
    *_each(_BOTH, lambda each: Target("cold-start", each, "ms to the first response", 75, _own("start_ms"), digits=0)),
    *_each(_BOTH, lambda each: Target("restart", each, "requests lost in the worst round", 0, _most_lost, digits=0)),
    *_each(_BOTH, lambda each: Target("restart", each, "p99 relative to steady state", 2.0, _restart_latency)),
)
