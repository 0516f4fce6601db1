"""`python -m tests.conformance`: run every check against every server it is meant for, and print one table."""

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.conformance import browser, clients, floods, h2spec, lifecycle, report, tls, vectors
from tests.conformance.checks import Check, FailedError, Outcome, Result
from tests.conformance.targets import CARRIERS, INTERFACES, Target, served
from tests.conformance.tools import MissingError, locate
from tests.support.server import REPOSITORY
from tests.support.tls import Authority

CATALOGUE: list[Check] = [
    *h2spec.CHECKS,
    *clients.CHECKS,
    *browser.CHECKS,
    *tls.CHECKS,
    *floods.CHECKS,
    *lifecycle.CHECKS,
]
WORKSPACE = REPOSITORY / ".conformance"


def main(arguments: list[str] | None = None) -> int:
    """0 when nothing failed; 1 when something did, or was not run although `--require-all` was given."""
    options = _parser().parse_args(arguments)
    options.carrier = options.carrier or CARRIERS
    options.interface = options.interface or INTERFACES
    workspace: Path = options.workspace
    workspace.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for outcome in run(options, workspace):
        print(f"{outcome.result:8} {outcome.check} {outcome.carrier} {outcome.interface}", file=sys.stderr, flush=True)
        outcomes.append(outcome)
    order = [vectors.NAME, *(check.name for check in CATALOGUE)]
    outcomes.sort(key=lambda each: (order.index(each.check), each.carrier, each.interface))
    print(report.text(outcomes))
    print(report.verdict(outcomes))
    (workspace / "report.md").write_text(report.markdown(outcomes), encoding="utf-8")
    if options.quote is not None:
        report.quote(options.quote, outcomes)
    bad = {"FAIL", "not run"} if options.require_all else {"FAIL"}
    return int(any(each.result in bad for each in outcomes))


def run(options: argparse.Namespace, workspace: Path) -> Iterator[Outcome]:
    """The chosen checks, one server after another."""
    chosen = [check for check in CATALOGUE if wanted(check.name, options.check)]
    if wanted(vectors.NAME, options.check):
        yield vectors.outcome(workspace)
    with tempfile.TemporaryDirectory(prefix="ferrule-conformance-") as folder:
        authority = Authority(Path(folder))
        for carrier in options.carrier:
            for interface in options.interface:
                here = [check for check in chosen if carrier in check.carriers and interface in check.interfaces]
                for http in sorted({check.http for check in here}):
                    left = [check for check in here if check.http == http]
                    last = left[-1]
                    try:
                        with served(carrier, interface, authority, http=http) as target:
                            while left:
                                yield judge(left[0], target, workspace)
                                del left[0]
                    except AssertionError as error:
                        # The server did not start, or did not stop.
                        for check in left or [last]:
                            yield Outcome(check.name, carrier, interface, "FAIL", f"{error}".strip().splitlines()[-1])


def judge(check: Check, target: Target, workspace: Path) -> Outcome:
    """One check of one server; what the programs said stands in the workspace."""
    words = [*re.findall(r"\w+", check.name.lower()), target.carrier, target.interface]
    log = workspace / f"{'-'.join(words)}.txt"
    log.unlink(missing_ok=True)
    result: Result = "pass"
    try:
        for tool in check.needs:
            locate(tool, workspace)
        detail = check.run(target, log)
    except MissingError as error:
        result, detail = "not run", str(error)
    except Exception as error:  # whatever a client runs into is a failure of this check, and not of the others
        said = "; ".join(f"{error}".split("\n"))
        result, detail = "FAIL", said if isinstance(error, FailedError) else f"{type(error).__name__}: {said}"
    return Outcome(check.name, target.carrier, target.interface, result, detail)


def wanted(name: str, names: list[str]) -> bool:
    return not names or any(each.lower() in name.lower() for each in names)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--check", action="append", default=[], metavar="TEXT", help="only checks whose name has TEXT")
    parser.add_argument("--carrier", action="append", choices=CARRIERS, help="default: all")
    parser.add_argument("--interface", action="append", choices=INTERFACES, help="default: all")
    parser.add_argument("--require-all", action="store_true", help="a check that could not be run is a failure")
    parser.add_argument("--quote", type=Path, metavar="PAGE", help="put the table into this Markdown page")
    parser.add_argument("--workspace", type=Path, default=WORKSPACE, help="for programs, logs and the report")
    return parser


if __name__ == "__main__":
    sys.exit(main())
