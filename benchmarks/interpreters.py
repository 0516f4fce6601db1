"""Finds the newest CPython on this machine: the claims of the benchmarks are about that one.

As a program it prints the path. Standard library only, and free of imports from this package, so that `.ci/run`
can call the file itself.
"""

import json
import os
import subprocess
from pathlib import Path

_DESCRIBE = """
import json, sys, sysconfig
print(json.dumps({
    "version": sys.version_info[:3],
    "usable": sys.implementation.name == "cpython" and sys.version_info[:2] >= (3, 11)
              and sys.version_info.releaselevel == "final" and not sysconfig.get_config_var("Py_GIL_DISABLED"),
}))
"""


def candidates() -> list[Path]:
    """Python programs named after a version, on the search path and among pyenv's, whether or not they run."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders += sorted((root / "versions").glob("3.*/bin"))
    found = (path for folder in folders for path in folder.glob("python3.[0-9]*") if path.name[8:].isdigit())
    return list(dict.fromkeys(found))


def newest() -> Path | None:
    """The newest released CPython of 3.11 or later with the GIL; None when there is none."""
    best: tuple[list[int], Path] | None = None
    for path in candidates():
        try:
            # A shim of a version manager exists for versions that are not selected, and fails when it is run.
            answer = subprocess.run([path, "-c", _DESCRIBE], capture_output=True, text=True, timeout=20, check=True)
            description = json.loads(answer.stdout)
        except (OSError, subprocess.SubprocessError, ValueError):
            continue
        if description["usable"] and (best is None or description["version"] > best[0]):
            best = (description["version"], path)
    return best[1] if best else None


if __name__ == "__main__":
    path = newest()
    if path is None:
        raise SystemExit("no released CPython of 3.11 or later was found")
    print(path)
