"""h2spec: a server's answers to frames that break RFC 9113 and RFC 7541, and to some that do not."""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.conformance.checks import Check, expect, run
from tests.conformance.targets import Target
from tests.conformance.tools import locate


@dataclass(frozen=True, slots=True)
class Tally:
    """What h2spec found. `failed` and `skipped` name their tests as h2spec's own report does."""

    passed: int
    failed: tuple[str, ...]
    skipped: tuple[str, ...]


def parse(report: str) -> Tally:
    """Count a JUnit report of h2spec."""
    passed = 0
    failed, skipped = [], []
    for case in ET.fromstring(report).iter("testcase"):
        name = f"{case.get('package')} {case.get('classname')}"
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        elif case.find("skipped") is not None:
            skipped.append(name)
        else:
            passed += 1
    return Tally(passed, tuple(failed), tuple(skipped))


def judge(target: Target, log: Path, *, strict: bool) -> str:
    report = log.with_suffix(".xml")
    command = [
        locate("h2spec", log.parent),
        "--host",
        "127.0.0.1",
        "--port",
        str(target.port),
        "--junit-report",
        report,
    ]
    command += ["--strict"] if strict else []
    command += ["--tls", "--insecure"] if target.carrier == "tls" else []
    # Its status says the same as its report, which says more.
    run([*command, "generic", "http2", "hpack"], log, any_status=True)
    tally = parse(report.read_text(encoding="utf-8"))
    expect(tally.passed > 0, "no test was run")
    expect(not tally.failed, "; ".join(tally.failed))
    expect(not tally.skipped, f"skipped: {'; '.join(tally.skipped)}")
    return f"{tally.passed} of {tally.passed} tests"


# With --http 2: where HTTP/1.1 is served as well, a wrong preface is answered as the HTTP/1.1 that it may be.
CHECKS = [
    Check("h2spec", partial(judge, strict=False), ("h2spec",), http="2"),
    Check("h2spec --strict", partial(judge, strict=True), ("h2spec",), http="2"),
]
