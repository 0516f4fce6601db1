"""What moved between two runs: per scenario and server, the later figure over the earlier one, and whether a target
that was met in one is met in the other."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.results import METRICS, Report, Result, Spread, Verdict

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


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdicts of two runs on one target; `before` is None where the earlier one has none."""

    before: Verdict | None
    after: Verdict

    @property
    def differs(self) -> bool:
        return self.before is not None and self.before.met != self.after.met

    @property
    def ratio(self) -> float | None:
        """Of the figures of both runs; None if they are about different peers."""
        if self.before is None or self.before.text != self.after.text or not self.before.measured.median:
            return None
        return self.after.measured.median / self.before.measured.median

    @property
    def apart(self) -> float:
        """How far the figures of both runs are apart, whichever is the greater."""
        ratio = self.ratio
        return max(ratio, 1 / ratio) - 1 if ratio else 0.0


def judgements(before: Report, after: Report) -> list[Judgement]:
    """On every target that the later run has a verdict on, in its order."""
    return [Judgement(_counterpart(each, before.verdicts, after.verdicts), each) for each in after.verdicts]


def _counterpart(verdict: Verdict, before: Sequence[Verdict], after: Sequence[Verdict]) -> Verdict | None:
    """A target that can be kept in two ways is named after the one that its verdict is about."""
    candidates = {each.text: each for each in before if each.scenario == verdict.scenario}
    named = {each.text for each in after if each.scenario == verdict.scenario}
    others = [each for text, each in candidates.items() if text not in named]
    return candidates.get(verdict.text) or (others[0] if len(others) == 1 else None)


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
    lines = _aligned(rows)
    moved = sum(change.moved for change in found)
    count = f"{moved} of {len(found)} figures moved out of the range of their rounds"
    return "\n".join([*(lines if shown else []), count])


def targets_table(found: list[Judgement], *, everything: bool) -> str:
    """Verdicts that differ, or all that both runs have, aligned for a terminal; the last line has the greatest
    distance."""
    both = [each for each in found if each.before is not None]
    shown = [each for each in both if each.differs or everything]
    heading = ["target", "limit", "before", "after", "ratio", ""]
    lines = _aligned([heading, *(_target_cells(each.before, each) for each in shown if each.before)])
    differing = sum(each.differs for each in both)
    last = f"{differing} of {len(both)} targets have another verdict"
    if farthest := max(both, key=lambda each: each.apart, default=None):
        name = f"{farthest.after.scenario}: {farthest.after.text}"
        last += f"; no figure is more than {farthest.apart:.0%} apart ({name})"
    return "\n".join([*(lines if shown else []), last])


def _target_cells(before: Verdict, judgement: Judgement) -> list[str]:
    after, ratio = judgement.after, judgement.ratio
    return [
        f"{after.scenario}: {after.text}",
        after.limit,
        before.measured.text(before.digits),
        after.measured.text(after.digits),
        "" if ratio is None else f"{ratio:.2f}",
        f"{_word(before)}, {_word(after)}" if judgement.differs else _word(after),
    ]


def _word(verdict: Verdict) -> str:
    return "met" if verdict.met else "missed"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


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
