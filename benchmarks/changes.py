"""What moved between two runs: per scenario and server, the later figure over the earlier one."""

from dataclasses import dataclass

from benchmarks.results import METRICS, Report, Result, Spread

# Shown for every row that has them: the figure of merit, and what a user would notice first.
_COMPARED = ("cpu_us", "rate", "p99_ms", "kib", "start_ms", "lost", "replace_ms", "instructions", "mb_s")


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of one server in two runs."""

    title: str
    label: str
    metric: str
    before: Spread
    after: Spread

    @property
    def ratio(self) -> float | None:
        return self.after.median / self.before.median if self.before.median else None

    @property
    def moved(self) -> bool:
        """Whether the ranges of the rounds are apart: what differs less may be noise."""
        return not self.before.overlaps(self.after)

    @property
    def better(self) -> bool:
        return (self.after.median > self.before.median) == METRICS[self.metric].higher_is_better


def changes(before: Report, after: Report) -> list[Change]:
    """Of every figure that both runs have, in the order of the later one."""
    found = []
    earlier = {result.key: result for result in before.results}
    for result in after.results:
        if result.key in earlier:
            found += _changes(earlier[result.key], result)
    return found


def _changes(before: Result, after: Result) -> list[Change]:
    found = []
    for row in after.rows:
        old = before.row(row.peer)
        if old is None:
            continue
        found += [
            Change(after.title, row.label, metric, old.spread(metric), row.spread(metric))
            for metric in _COMPARED
            if row.has(metric) and old.has(metric)
        ]
    return found


def table(found: list[Change], *, everything: bool) -> str:
    """What moved, or everything, aligned for a terminal; the last line counts."""
    shown = [change for change in found if change.moved or everything]
    rows = [["scenario", "server", "figure", "before", "after", "ratio", ""], *map(_cells, shown)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    moved = sum(change.moved for change in found)
    count = f"{moved} of {len(found)} figures moved out of the range of their rounds"
    return "\n".join([*(lines if shown else []), count])


def _cells(change: Change) -> list[str]:
    metric = METRICS[change.metric]
    ratio = change.ratio
    verdict = ("better" if change.better else "worse") if change.moved else "within the rounds"
    return [
        change.title,
        change.label,
        metric.heading,
        change.before.text(metric.digits),
        change.after.text(metric.digits),
        "" if ratio is None else f"{ratio:.2f}",
        verdict,
    ]
