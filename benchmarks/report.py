"""A run as Markdown: a page of its own, and the part of a documentation page that quotes it."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.changes import Judgement, judgements
from benchmarks.results import METRICS, Report, Result, Row, Verdict

# Everything between these lines of a documentation page is the harness's.
BEGIN = "<!-- Written by the harness from here on: python -m benchmarks run --report -->"
END = "<!-- Until here. -->"

_NOTE = "Medians of interleaved slices and rounds, the least and the greatest in parentheses."
_SWEEP_UNITS = {"cpu_us": "µs", "rate": "req/s", "p99_ms": "p99 ms"}


class NoPlaceError(Exception):
    """A documentation page does not say where the figures belong; the message names the page."""


def page(report: Report, charts: Sequence[Path], folder: Path) -> str:
    """A whole page that lies in `folder`."""
    return f"# Benchmarks\n\n{body(report, charts, folder)}"


def check_place(path: Path) -> None:
    """Raises `NoPlaceError` when a documentation page does not have the two marks, `OSError` when there is no page."""
    _around(path)


def insert(path: Path, report: Report, charts: Sequence[Path], earlier: Report | None = None) -> None:
    """Put the figures between the two marks of a documentation page; those of an earlier run stand beside the targets,
    which are met if they are met in both. Raises `NoPlaceError`, `OSError`."""
    before, after = _around(path)
    text = body(report, charts, path.parent, earlier)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def _around(path: Path) -> tuple[str, str]:
    """What stands before the first mark and after the second."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoPlaceError(f"{path}: the lines {BEGIN!r} and {END!r} are missing")
    return before, after


def body(report: Report, charts: Sequence[Path], folder: Path, earlier: Report | None = None) -> str:
    """Machine, charts, targets, exceptions and tables, as sections of a page that lies in `folder`."""
    known = dict(report.about)
    if earlier is not None:
        known["run before"] = ", ".join(str(earlier.about[key]) for key in ("date", "commit") if key in earlier.about)
    about = "\n".join(f"- {key.replace('_', ' ')}: {value}" for key, value in known.items())
    pictures = [
        f"![{path.stem.replace('-', ' ')}]({Path(os.path.relpath(path, folder)).as_posix()})" for path in charts
    ]
    parts = [
        "## Figures",
        about,
        _NOTE,
        *pictures,
        *(_targets(report.verdicts) if earlier is None else _targets_of_two(judgements(earlier, report))),
        *_behind(report.results),
        *_sweeps(report.results),
        *(_section(result) for result in report.results if not result.connections),
    ]
    return "\n\n".join(parts) + "\n"


def summary(report: Report) -> str:
    """What a terminal shows at the end of a run: one line per scenario, then the targets and the failures."""
    lines = []
    for result in report.results:
        own = result.row("ferrule")
        others = [f"{row.label} {_short(row, result)}" for row in result.ranked() if row is not own]
        mine = f"ferrule {_short(own, result)}" if own is not None else "ferrule failed"
        lines.append(f"{result.title} ({METRICS[result.metric].heading}): {mine}; {', '.join(others)}")
    lines += [""] * bool(report.verdicts)
    for verdict in report.verdicts:
        met = "met   " if verdict.met else "MISSED"
        lines.append(f"{met} {verdict.scenario}: {verdict.text} {_measured(verdict)}, target {verdict.limit}")
    for result in report.results:
        lines += [f"FAILED {result.title}: {label}: {why}" for label, why in result.failures.items()]
    return "\n".join(lines)


def _short(row: Row, result: Result) -> str:
    metric = METRICS[result.metric]
    return f"{row.spread(result.metric).median:,.{metric.digits}f}"


def _section(result: Result) -> str:
    lines = [f"### {result.title}", ""]
    if result.rows:
        # The order of METRICS, whatever the order in which they were measured.
        shown = [name for name in METRICS if all(row.has(name) for row in result.rows)]
        ratio = f"ferrule ÷ it, {METRICS[result.metric].heading}"
        heading = ["server", "version", *(METRICS[name].heading for name in shown), ratio]
        lines += _table(heading, (_cells(row, result, shown) for row in result.ranked()))
    lines += [f"\n**{label} failed:** {why}" for label, why in result.failures.items()]
    return "\n".join(lines)


def _cells(row: Row, result: Result, shown: Sequence[str]) -> list[str]:
    cells = [f"**{row.label}**" if row.peer == "ferrule" else row.label, row.version]
    for name in shown:
        spread, digits = row.spread(name), METRICS[name].digits
        if name == "errors":
            cells.append(f"{sum(row.values(name)):.0f}")
        elif name in {result.metric, "rate"}:
            cells.append(spread.text(digits))
        else:
            cells.append(f"{spread.median:,.{digits}f}")
    ratio = result.ratio(row.peer) if row.peer != "ferrule" else None
    return [*cells, "" if ratio is None else ratio.text()]


def _targets(verdicts: Sequence[Verdict]) -> list[str]:
    if not verdicts:
        return []
    rows = (
        [verdict.scenario, verdict.text, verdict.limit, _measured(verdict), "met" if verdict.met else "**missed**"]
        for verdict in verdicts
    )
    count = sum(verdict.met for verdict in verdicts)
    return [
        f"### Targets: {count} of {len(verdicts)} met",
        "\n".join(_table(["scenario", "figure", "target", "measured", ""], rows)),
    ]


def _targets_of_two(found: Sequence[Judgement]) -> list[str]:
    if not found:
        return []
    rows = (
        [
            each.after.scenario,
            each.after.text,
            each.after.limit,
            _measured(each.after),
            "" if each.before is None else _measured(each.before),
            "**met once**" if each.differs else "met" if each.after.met else "**missed**",
        ]
        for each in found
    )
    count = sum(each.after.met and not each.differs for each in found)
    return [
        f"### Targets: {count} of {len(found)} met in both runs",
        "\n".join(_table(["scenario", "figure", "target", "measured", "run before", ""], rows)),
    ]


def _measured(verdict: Verdict) -> str:
    return verdict.measured.text(verdict.digits)


def _behind(results: Sequence[Result]) -> list[str]:
    """Every server that is ahead of Ferrule by more than the rounds differ among themselves."""
    lines = []
    for result in results:
        own = result.row("ferrule")
        if own is None:
            continue
        mine = own.spread(result.metric)
        for row in result.ranked():
            ratio = result.ratio(row.peer)
            if row is own or ratio is None or row.spread(result.metric).overlaps(mine):
                continue
            better = ratio.median < 1 if METRICS[result.metric].higher_is_better else ratio.median > 1
            if better:
                lines.append(f"- {result.title}: {row.label} (ferrule ÷ it: {ratio.text()})")
    return ["### Where others are ahead", "\n".join(lines)] if lines else []


def _sweeps(results: Sequence[Result]) -> list[str]:
    """The points of each sweep in one table by number of connections."""
    parts = []
    for name in dict.fromkeys(result.scenario for result in results if result.connections):
        points = [result for result in results if result.scenario == name]
        title = points[0].title.rpartition(",")[0].rpartition(",")[0]
        parts += [f"### {title}, by number of connections", "\n".join(_sweep(points))]
    return parts


def _sweep(points: Sequence[Result]) -> list[str]:
    labels = list(dict.fromkeys(row.label for point in points for row in point.rows))
    columns = [(metric, label) for metric in _SWEEP_UNITS for label in labels]
    rows = []
    for point in points:
        by_label = {row.label: row for row in point.rows}
        cells = []
        for metric, label in columns:
            row = by_label.get(label)
            known = row.spread(metric).median if row is not None and row.has(metric) else None
            cells.append("" if known is None else f"{known:,.{METRICS[metric].digits}f}")
        rows.append([str(point.connections), *cells])
    return _table(["connections", *(f"{label} {_SWEEP_UNITS[metric]}" for metric, label in columns)], rows)


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(heading) + " |", "|" + "---|" * len(heading)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
