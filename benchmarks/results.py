"""What a run found: samples per server and round, the figures made of them, and their JSON.

Plain data and arithmetic; measures nothing, and writes for no reader but `json`.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

# Raised when the JSON changes so that an earlier harness would misread it.
FORMAT = 2


class UnreadableReportError(Exception):
    """A file is not a report of this harness; the message names it."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One kind of figure: its heading, how many digits it deserves, and which direction is good."""

    heading: str
    unit: str
    digits: int
    higher_is_better: bool = False


METRICS: dict[str, Metric] = {
    "cpu_us": Metric("CPU µs/request", "µs", 2),
    "user_us": Metric("user", "µs", 2),
    "system_us": Metric("system", "µs", 2),
    "rate": Metric("requests/s", "/s", 0, higher_is_better=True),
    "p50_ms": Metric("p50 ms", "ms", 2),
    "p99_ms": Metric("p99 ms", "ms", 2),
    "errors": Metric("errors", "", 0),
    "writes": Metric("writes/1,000 requests", "", 1),
    "kib": Metric("KiB/connection", "KiB", 2),
    "start_ms": Metric("first response, ms", "ms", 0),
    "lost": Metric("lost requests", "", 0),
    "steady_p99_ms": Metric("steady p99 ms", "ms", 2),
    "replace_ms": Metric("ms until replaced", "ms", 0),
    "instructions": Metric("instructions/request", "", 0),
    "line_instructions": Metric("instructions/line", "", 0),
    "mb_s": Metric("MB/s", "MB/s", 0, higher_is_better=True),
}

# Rounds are far fewer than this, and each of them counts; of more values the outermost are noise.
_MANY = 50

# What was taken of one server at one time: metric -> value. What is measured in slices and what is measured in one
# piece are samples of their own.
Sample = dict[str, float]


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and the range that it was chosen from.

    The range is that of all values; of many, as short batches give them, that between the 10th and the 90th percentile.
    """

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        ranked = sorted(values)
        cut = len(ranked) // 10 if len(ranked) >= _MANY else 0
        return cls(median(ranked), ranked[cut], ranked[len(ranked) - 1 - cut])

    def text(self, digits: int = 2) -> str:
        return f"{self.median:,.{digits}f} ({self.least:,.{digits}f}-{self.greatest:,.{digits}f})"

    def overlaps(self, other: "Spread") -> bool:
        """Whether the ranges touch: two figures that do are not known to differ."""
        return self.least <= other.greatest and other.least <= self.greatest


@dataclass(frozen=True, slots=True)
class Row:
    """One server in all rounds and slices of a scenario."""

    peer: str
    label: str
    version: str
    samples: list[Sample]

    def has(self, metric: str) -> bool:
        return any(metric in sample for sample in self.samples)

    def values(self, metric: str) -> list[float]:
        """In the order in which they were measured: those of two rows at the same place lie beside each other."""
        return [sample[metric] for sample in self.samples if metric in sample]

    def spread(self, metric: str) -> Spread:
        return Spread.of(self.values(metric))


@dataclass(frozen=True, slots=True)
class Result:
    """All servers in one scenario. `metric` is what they are ranked by; `failures` says per label why it has no row.

    `connections` sets the points of a sweep apart, which are one scenario each.
    """

    scenario: str
    interface: str
    title: str
    metric: str
    connections: int = 0
    rows: list[Row] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int]:
        return self.scenario, self.interface, self.connections

    def row(self, peer: str) -> Row | None:
        return next((row for row in self.rows if row.peer == peer), None)

    def ranked(self) -> list[Row]:
        """Best first."""
        return sorted(
            self.rows,
            key=lambda row: row.spread(self.metric).median,
            reverse=METRICS[self.metric].higher_is_better,
        )

    def ratio(self, peer: str, metric: str | None = None) -> Spread | None:
        """Ferrule's figure over a peer's; None when either is missing.

        Figures of the same slice or round are divided before the median is taken, so that a machine that is slow for a
        while does not tilt it.
        """
        own, other = self.row("ferrule"), self.row(peer)
        if own is None or other is None:
            return None
        metric = metric or self.metric
        if not own.has(metric) or not other.has(metric):
            return None
        pairs = zip(own.values(metric), other.values(metric), strict=True)
        ratios = [mine / theirs for mine, theirs in pairs if theirs > 0]
        return Spread.of(ratios) if ratios else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target beside what was measured. `text` says what was asked for, `limit` how much of it."""

    scenario: str
    text: str
    limit: str
    measured: Spread
    digits: int
    met: bool


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run. `about` holds the machine and the settings, in the order in which they are shown."""

    about: dict[str, Any]
    results: list[Result]
    verdicts: list[Verdict]

    def find(self, scenario: str, interface: str, connections: int = 0) -> Result | None:
        key = (scenario, interface, connections)
        return next((result for result in self.results if result.key == key), None)

    @property
    def failed(self) -> bool:
        return any(result.failures for result in self.results)

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Raises `UnreadableReportError`."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise UnreadableReportError(f"{path}: format {data['format']}, this harness reads {FORMAT}")
            results = [Result(**{**each, "rows": [Row(**row) for row in each["rows"]]}) for each in data["results"]]
            verdicts = [Verdict(**{**each, "measured": Spread(**each["measured"])}) for each in data["verdicts"]]
            return cls(data["about"], results, verdicts)
        except OSError as error:
            raise UnreadableReportError(f"{path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableReportError(f"{path}: not a report of this harness") from error
