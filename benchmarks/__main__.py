"""`python -m benchmarks`, also `server bench`: the command line of the harness."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from benchmarks import changes, matrix, report
from benchmarks.environment import Environment, NotPreparedError, available, countable, machine, prepare
from benchmarks.peers import PEERS
from benchmarks.results import Report, UnreadableReportError
from benchmarks.scenarios import FULL_SLICE, NAMES, QUICK, SCENARIOS
from benchmarks.servers import REPOSITORY
from benchmarks.throughput import QUICK_PLAN, Plan

Number = TypeVar("Number", int, float)

_PARSERS = "parsers"
# The load average from which a run is told to be on a machine that is not its own.
_BUSY = 0.5


def main(arguments: list[str] | None = None, program: str = "python -m benchmarks") -> int:
    """Run one command; 0, or 1 when a server failed, or 2 when nothing could be measured or read."""
    options = _parser(program).parse_args(arguments)
    try:
        status: int = options.command(options)
        return status
    except (NotPreparedError, UnreadableReportError, report.NoPlaceError, OSError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    # A page that cannot take the figures is better known before they are measured.
    if options.report is not None:
        report.check_place(options.report)
    earlier = Report.read(options.beside) if options.beside is not None else None
    environment = prepare(options.python, options.environment)
    wanted = options.scenarios or [*NAMES, *([] if options.quick else [_PARSERS])]
    known = QUICK if options.quick and not options.scenarios else SCENARIOS
    scenarios = [each for each in known if each.name in wanted and each.interface in options.interface]
    taking_part = [peer.name for peer in PEERS if any(peer.takes_part(each) for each in scenarios)]
    peers, left_out = available(environment, options.peers or taking_part)
    if any(each.kind == "instructions" for each in scenarios) and (problem := countable()) is not None:
        left_out.append(problem)
        scenarios = [each for each in scenarios if each.kind != "instructions"]
    for line in left_out:
        print(line, file=sys.stderr)
    plan = QUICK_PLAN if options.quick else Plan()
    plan = replace(
        plan,
        rounds=options.rounds or plan.rounds,
        slices=options.slices or plan.slices,
        seconds=options.seconds or plan.seconds,
    )
    choice = matrix.Choice(
        scenarios,
        peers,
        _PARSERS in wanted,
        plan,
        options.server_core,
        options.load_core,
    )
    now = datetime.now(UTC)
    about = {
        "date": f"{now:%Y-%m-%d %H:%M} UTC",
        **machine(),
        "load average before": round(os.getloadavg()[0], 1),
        "python": environment.python,
        "rounds": plan.rounds,
        "slices per server": f"{plan.slices} of {FULL_SLICE} s, or as much time in shorter ones",
        **({"left out": "; ".join(left_out)} if left_out else {}),
    }
    if os.getloadavg()[0] > _BUSY:
        print("this machine is busy with other work: figures will be worse, and further apart", file=sys.stderr)
    # Ends like Ctrl-C: no server is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    found = matrix.measure(choice, environment, about)
    folder = options.out or REPOSITORY / "build" / "benchmarks" / f"{now:%Y%m%d-%H%M%S}"
    data = _write(found, folder, environment)
    print(report.summary(found))
    if options.report is not None:
        _quote(found, data, options.report, environment, earlier)
    return 1 if found.failed else 0


def _write(found: Report, folder: Path, environment: Environment) -> Path:
    """JSON, charts, and a page with both; the path of the JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "results.json"
    data.write_text(found.to_json(), encoding="utf-8")
    charts = _draw(data, folder, "chart", environment, "svg", "png")
    page = folder / "results.md"
    page.write_text(report.page(found, [path for path in charts if path.suffix == ".svg"], folder), encoding="utf-8")
    for path in (data, page, *charts):
        print(f"wrote {path}", file=sys.stderr)
    return data


def _quote(found: Report, data: Path, page: Path, environment: Environment, earlier: Report | None) -> None:
    charts = _draw(data, page.parent / "images", page.stem, environment, "svg")
    report.insert(page, found, charts, earlier)
    print(f"wrote {page} and {len(charts)} charts", file=sys.stderr)


def _draw(data: Path, folder: Path, prefix: str, environment: Environment, *formats: str) -> list[Path]:
    command = [str(environment.interpreter), "-m", "benchmarks.charts", str(data.absolute()), str(folder.absolute())]
    done = subprocess.run([*command, prefix, *formats], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        # The figures are safe in the JSON by now.
        print(f"no charts: {done.stderr.strip()[-600:]}", file=sys.stderr)
        return []
    return [Path(line) for line in done.stdout.splitlines()]


def _compare(options: argparse.Namespace) -> int:
    before, after = Report.read(options.before), Report.read(options.after)
    print(changes.table(changes.changes(before, after), everything=options.all))
    print(changes.targets_table(changes.judgements(before, after), everything=options.all))
    return 0


def _report(options: argparse.Namespace) -> int:
    report.check_place(options.page)
    earlier = Report.read(options.beside) if options.beside is not None else None
    found, environment = Report.read(options.data), prepare(options.python, options.environment)
    _quote(found, options.data, options.page, environment, earlier)
    return 0


def _list(options: argparse.Namespace) -> int:
    print("Scenarios (name, interface, what it is, who takes part beside ferrule):")
    for scenario in SCENARIOS:
        print(f"  {scenario.name:13} {scenario.interface}  {scenario.title} ({', '.join(scenario.peers)})")
    print(f"  {_PARSERS:13}       Parsers alone, side by side (httparse, llhttp, nghttp2 and other crates)")
    print("Peers:")
    for peer in PEERS:
        print(f"  {peer.name:13} {' '.join(peer.labels)}  from {peer.distribution or 'the system'}")
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description="Ferrule beside its peers: CPU time per request.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="measure; writes JSON, a Markdown page and charts")
    run.add_argument("--scenarios", nargs="+", choices=[*NAMES, _PARSERS], metavar="NAME", help="default: all")
    run.add_argument("--peers", nargs="+", choices=[peer.name for peer in PEERS], metavar="NAME", help="default: all")
    run.add_argument("--interface", nargs="+", choices=["asgi", "wsgi"], default=["asgi", "wsgi"])
    run.add_argument("--quick", action="store_true", help="the headline ratios, in less than two minutes")
    run.add_argument("--rounds", type=_positive(int), metavar="N", help="servers are started anew in each [5, quick 1]")
    run.add_argument(
        "--slices", type=_positive(int), metavar="N", help="of 0.1 s per server, or shorter ones [25, quick 8]"
    )
    run.add_argument("--seconds", type=_positive(float), metavar="S", help="of load without a pause, per round [0.5]")
    run.add_argument("--server-core", type=int, default=0, metavar="N", help="CPU that servers are held to [0]")
    run.add_argument("--load-core", type=int, default=1, metavar="N", help="CPU of the load generator [1]")
    run.add_argument("--out", type=Path, metavar="DIR", help="where results go [build/benchmarks/DATE-TIME]")
    run.add_argument("--report", type=Path, metavar="PAGE", help="also put them into this documentation page")
    _beside_option(run)
    _environment_options(run)
    run.set_defaults(command=_run)

    compare = commands.add_parser("compare", help="show what moved between two runs, and which verdicts")
    compare.add_argument("before", type=Path, metavar="A.json")
    compare.add_argument("after", type=Path, metavar="B.json")
    compare.add_argument("--all", action="store_true", help="also what stayed as it was")
    compare.set_defaults(command=_compare)

    page = commands.add_parser("report", help="put an earlier run into a documentation page")
    page.add_argument("data", type=Path, metavar="RESULTS.json")
    page.add_argument("page", type=Path, metavar="PAGE.md")
    _beside_option(page)
    _environment_options(page)
    page.set_defaults(command=_report)

    commands.add_parser("list", help="scenarios and peers").set_defaults(command=_list)
    return parser


def _beside_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--beside", type=Path, metavar="EARLIER.json", help="an earlier run that targets are met in too"
    )


def _environment_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--python", type=Path, help="interpreter; default: the newest one on this machine")
    parser.add_argument("--environment", type=Path, metavar="DIR", help="a virtual environment to use as it stands")


def _positive(kind: Callable[[str], Number]) -> Callable[[str], Number]:
    def positive(text: str) -> Number:
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text} is not above zero")
        return value

    return positive


if __name__ == "__main__":
    sys.exit(main())
