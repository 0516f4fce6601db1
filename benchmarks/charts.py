"""Charts of a report: bars from zero with whiskers from the least to the greatest round, and the curve of a sweep.

The only file that needs matplotlib, so the harness runs it as a program in the environment that holds it:
`python -m benchmarks.charts REPORT.json FOLDER PREFIX FORMAT...` prints the paths it wrote.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.peers import FLOORS
from benchmarks.results import METRICS, Report, Result

# Text stays text, files of equal figures are equal, and no date is written into them.
mpl.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "ferrule",
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.facecolor": "white",
    }
)

_OWN, _OTHER, _FLOOR = "#c2410c", "#94a3b8", "#cbd5e1"
_CURVES = ("#c2410c", "#2563eb", "#059669", "#64748b", "#9333ea", "#ca8a04")
_COLUMNS = 3
_SWEEP_PANELS = (
    ("cpu_us", "CPU µs per request (less is better)"),
    ("rate", "Requests per second (more is better)"),
    ("p99_ms", "p99, ms (less is better)"),
)

# A chart each: what it says, and the scenarios in it, of which those that the report holds are drawn.
_CHARTS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "http1": (
        "CPU time per request, HTTP/1.1, one worker (µs; less is better)",
        (
            ("plaintext", "asgi"),
            ("plaintext", "wsgi"),
            ("headers", "asgi"),
            ("tls", "asgi"),
            ("tls", "wsgi"),
            ("headers", "wsgi"),
            ("body-10k", "asgi"),
            ("body-10k", "wsgi"),
            ("file-50k", "wsgi"),
            ("echo-10k", "asgi"),
            ("echo-10k", "wsgi"),
            ("echo-100k", "asgi"),
        ),
    ),
    "http2": (
        "CPU time per request, HTTP/2, 16 connections of 32 streams, one worker (µs; less is better)",
        (("h2c", "asgi"), ("h2-tls", "asgi"), ("h2c", "wsgi"), ("h2-tls", "wsgi")),
    ),
    "applications": (
        "CPU time per request with work in the application (µs; less is better)",
        (
            ("json-fastapi", "asgi"),
            ("json-flask", "wsgi"),
            ("json-django", "wsgi"),
            ("sleep", "asgi"),
            ("cpu", "asgi"),
            ("cpu", "wsgi"),
        ),
    ),
    "every-core": (
        "Plaintext on every core (requests/s; more is better)",
        (("every-core", "asgi"), ("every-core", "wsgi")),
    ),
    "operation": (
        "Memory, start and restart (less is better)",
        (("idle", "asgi"), ("cold-start", "asgi"), ("restart", "asgi"), ("idle", "wsgi"), ("cold-start", "wsgi"),
         ("restart", "wsgi")),
    ),
    "parsers": (
        "Parsers alone, one core (MB/s; more is better)",
        (("head-1", ""), ("head-9", ""), ("head-40", ""), ("hpack-stories", ""), ("hpack-browser", ""),
         ("hpack-encode", "")),
    ),
}  # fmt: skip


def draw(report: Report, folder: Path, prefix: str, formats: Sequence[str]) -> list[Path]:
    """Write every chart that the report has figures for, as PREFIX-NAME.FORMAT; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {}
    for name, (title, keys) in _CHARTS.items():
        found = [result for key in keys if (result := report.find(*key)) is not None and result.rows]
        if found:
            figures[name] = _bars(title, found)
    sweeps = {result.scenario: result for result in report.results if result.connections and result.rows}
    for name in sweeps:
        figures[name] = _curves([each for each in report.results if each.scenario == name and each.rows])
    paths = []
    for name, figure in figures.items():
        for suffix in formats:
            path = folder / f"{prefix}-{name}.{suffix}"
            figure.savefig(path, dpi=110, metadata={"Date": None} if suffix == "svg" else None)
            paths.append(path)
        plt.close(figure)
    return paths


def _bars(title: str, results: Sequence[Result]) -> Figure:
    columns = min(_COLUMNS, len(results))
    lines = [results[start : start + columns] for start in range(0, len(results), columns)]
    # Panels of one line are as high as their longest list of servers needs.
    heights = [0.9 + 0.27 * max(len(result.rows) for result in line) for line in lines]
    figure, grid = plt.subplots(
        len(lines),
        columns,
        figsize=(3.9 * columns, sum(heights) + 0.5),
        squeeze=False,
        layout="constrained",
        height_ratios=heights,
    )
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    for axes in grid.flat[len(results) :]:
        axes.set_visible(False)
    for place, (axes, result) in enumerate(zip(grid.flat, results, strict=False)):
        # Bars are as thick in every panel of a line; the shorter lists leave room below.
        missing = max(len(each.rows) for each in lines[place // columns]) - len(result.rows)
        _panel(axes, result)
        axes.set_ylim(-0.6 - missing, len(result.rows) - 0.4)
    return figure


def _panel(axes: Axes, result: Result) -> None:
    rows = result.ranked()[::-1]
    metric = METRICS[result.metric]
    spreads = [row.spread(result.metric) for row in rows]
    axes.barh(
        range(len(rows)),
        [spread.median for spread in spreads],
        xerr=(
            [spread.median - spread.least for spread in spreads],
            [spread.greatest - spread.median for spread in spreads],
        ),
        color=[_OWN if row.peer == "ferrule" else _FLOOR if row.peer in FLOORS else _OTHER for row in rows],
        error_kw={"elinewidth": 1, "capsize": 2, "ecolor": "#334155"},
        height=0.68,
    )
    most = max(spread.greatest for spread in spreads) or 1.0
    # Zero is always in sight, and there is room for the number beside the longest whisker.
    axes.set_xlim(0, most * 1.22)
    for index, spread in enumerate(spreads):
        axes.text(spread.greatest + most * 0.02, index, f"{spread.median:,.{_digits(spread.median)}f}", va="center")
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=7, colors="#64748b")
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
    axes.set_title(result.title, fontsize=9.5, loc="left")
    axes.set_xlabel(metric.heading, fontsize=7, color="#64748b")


def _digits(value: float) -> int:
    return 0 if value >= 100 else 1 if value >= 10 else 2


def _curves(points: Sequence[Result]) -> Figure:
    panels = [panel for panel in _SWEEP_PANELS if all(row.has(panel[0]) for point in points for row in point.rows)]
    figure, grid = plt.subplots(1, len(panels), figsize=(11.7, 3.6), layout="constrained", squeeze=False)
    what = points[0].title.rpartition(",")[0].rpartition(",")[0]
    title = f"{what}, by number of connections, {points[0].interface.upper()}"
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    labels = list(dict.fromkeys(row.label for result in points for row in result.rows))
    for axes, (metric, heading) in zip(grid[0], panels, strict=True):
        for color, label in zip(_CURVES, labels, strict=False):
            found = [
                (point.connections, row)
                for point in points
                for row in point.rows
                if row.label == label and row.has(metric)
            ]
            counts = [count for count, _ in found]
            spreads = [row.spread(metric) for _, row in found]
            axes.plot(counts, [spread.median for spread in spreads], "o-", color=color, markersize=4, label=label)
            least, greatest = [spread.least for spread in spreads], [spread.greatest for spread in spreads]
            axes.fill_between(counts, least, greatest, color=color, alpha=0.15, linewidth=0)
        axes.set_xscale("log", base=2)
        ticks = sorted({result.connections for result in points})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color="#e2e8f0")
        axes.set_axisbelow(True)
        axes.set_xlabel("connections")
        axes.set_title(heading, fontsize=9.5, loc="left")
        axes.yaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    grid[0][0].legend(frameon=False)
    return figure


if __name__ == "__main__":
    for written in draw(Report.read(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3], sys.argv[4:]):
        print(written)
