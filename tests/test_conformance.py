"""The harness of `make conformance` reports what happened: a program that is missing, a failure, a test left out."""

from pathlib import Path

import pytest

from tests.conformance import floods, lifecycle
from tests.conformance.__main__ import CATALOGUE, judge, main
from tests.conformance.checks import Check, FailedError, Outcome, run
from tests.conformance.h2spec import Tally, parse
from tests.conformance.report import BEGIN, END, markdown, quote, text, verdict
from tests.conformance.targets import Target
from tests.conformance.tools import TOOLS, Tool
from tests.support.server import REPOSITORY

PAGE = REPOSITORY / "docs" / "conformance.md"
TARGET = Target("clear", "asgi", 1, Path("authority.pem"), "")

H2SPEC_REPORT = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="3.1. DATA" package="generic/3.1" id="3.1" tests="2" skipped="1" failures="0" errors="0">
    <testcase package="generic/3.1" classname="Sends a DATA frame" time="0.0002"></testcase>
    <testcase package="generic/3.1" classname="Sends padding" time="0.0002"><skipped></skipped></testcase>
  </testsuite>
  <testsuite name="6.9. WINDOW_UPDATE" package="http2/6.9" id="6.9" tests="1" skipped="0" failures="1" errors="0">
    <testcase package="http2/6.9" classname="Sends an increment of 0" time="2"><failure>timeout</failure></testcase>
  </testsuite>
</testsuites>
"""
OUTCOMES = [
    Outcome("first", "clear", "asgi", "pass", "1 of 1 | all"),
    Outcome("the second", "tls", "wsgi", "FAIL", "status 500; and more"),
]


def test_a_report_of_h2spec_is_counted() -> None:
    assert parse(H2SPEC_REPORT) == Tally(1, ("http2/6.9 Sends an increment of 0",), ("generic/3.1 Sends padding",))


def test_a_missing_program_is_named_with_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(workspace: Path) -> str:
        raise LookupError("too old")

    monkeypatch.setitem(TOOLS, "oracle", Tool("buy one", absent))
    outcome = judge(Check("ask", lambda target, log: "", ("oracle",)), TARGET, tmp_path)
    assert outcome == Outcome("ask", "clear", "asgi", "not run", "oracle is missing (too old): buy one")


def test_whatever_a_check_runs_into_is_its_failure(tmp_path: Path) -> None:
    def refused(target: Target, log: Path) -> str:
        raise FailedError("no answer")

    def broken(target: Target, log: Path) -> str:
        raise ConnectionResetError("by peer")

    assert judge(Check("a", refused), TARGET, tmp_path) == Outcome("a", "clear", "asgi", "FAIL", "no answer")
    assert judge(Check("b", broken), TARGET, tmp_path).detail == "ConnectionResetError: by peer"


def test_a_program_that_fails_or_hangs_fails_its_check(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert run(["cat"], log, content=b"told").stdout == b"told"
    with pytest.raises(FailedError, match="sh: second"):
        run(["sh", "-c", "echo first; echo second >&2; exit 3"], log)
    with pytest.raises(FailedError, match=r"sleep did not end in 0\.1 s"):
        run(["sleep", "60"], log, deadline=0.1)
    assert b"$ cat\ntold" in log.read_bytes()


def test_outcomes_become_a_table(tmp_path: Path) -> None:
    assert text(OUTCOMES).splitlines()[2] == "the second  tls      wsgi       FAIL    status 500; and more"
    assert "| first | clear | asgi | pass | 1 of 1 \\| all |\n" in markdown(OUTCOMES)
    assert verdict(OUTCOMES) == "1 FAIL, 1 pass"
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}old\n{END}after\n")
    quote(page, OUTCOMES)
    assert page.read_text() == f"before\n{BEGIN}{markdown(OUTCOMES)}{END}after\n"


def test_what_was_not_run_fails_only_where_all_is_required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(workspace: Path) -> Outcome:
        return Outcome("protocol vectors", "-", "-", "not run", "absent")

    monkeypatch.setattr("tests.conformance.vectors.outcome", missing)
    chosen = ["--check", "protocol vectors", "--workspace", str(tmp_path)]
    assert main(chosen) == 0
    assert main([*chosen, "--require-all"]) == 1


def test_the_page_quotes_every_check() -> None:
    table = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    quoted = {tuple(cell.strip() for cell in line.split("|")[1:4]) for line in table.splitlines()[2:]}
    listed = {
        (check.name, carrier, interface)
        for check in CATALOGUE
        if check not in [*floods.CHECKS, *lifecycle.CHECKS]  # figures, which are those of a machine
        for carrier in check.carriers
        for interface in check.interfaces
    }
    assert quoted - {("protocol vectors", "-", "-")} == listed


def test_every_need_has_a_way_to_be_met() -> None:
    assert {need for check in CATALOGUE for need in check.needs} <= set(TOOLS)
