"""The public vectors of the protocols, which the parsers alone are held against: cargo tests named after them."""

import os
import re
from pathlib import Path

from tests.conformance.checks import FailedError, Outcome, expect, run
from tests.conformance.tools import BUILD_DEADLINE, MissingError, locate
from tests.support.server import REPOSITORY

NAME = "protocol vectors"


def outcome(workspace: Path) -> Outcome:
    folder = Path(os.environ.get("FERRULE_VECTORS") or REPOSITORY.parent / "shared" / "vectors")
    try:
        # Where they are absent the cargo tests pass without a look at anything.
        if not folder.is_dir():
            raise MissingError("the vectors are missing: set FERRULE_VECTORS to their folder")
        detail = _run(workspace)
    except MissingError as error:
        return Outcome(NAME, "-", "-", "not run", str(error))
    except FailedError as error:
        return Outcome(NAME, "-", "-", "FAIL", str(error))
    return Outcome(NAME, "-", "-", "pass", detail)


def _run(workspace: Path) -> str:
    manifest = str(REPOSITORY / "Cargo.toml")
    files = ["--test", "*_vectors", "--test", "*_stories"]
    command = ["test", "--locked", "--manifest-path", manifest, "-p", "ferrule-http", *files]
    log = workspace / "vectors.txt"
    log.unlink(missing_ok=True)
    told = run([locate("cargo", workspace), *command], log, deadline=BUILD_DEADLINE).stdout.decode()
    counts = [int(count) for count in re.findall(r"^test result: ok\. (\d+) passed", told, re.MULTILINE)]
    expect(sum(counts) > 0, "no test was run")
    return f"{sum(counts)} of {sum(counts)} tests"
