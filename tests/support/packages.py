"""Packages as a server under test finds them: hidden, broken, or brought along with entry points."""

from pathlib import Path

_HIDE = """\
import os, sys

class Hide:
    names = set(os.environ["HIDDEN_MODULES"].split(","))

    def find_spec(self, name, path=None, target=None):
        if name in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
"""


def hiding(directory: Path, *modules: str) -> dict[str, str]:
    """Environment of a Python, and of all Pythons that it starts, which cannot import `modules`."""
    (directory / "sitecustomize.py").write_text(_HIDE)
    return {"PYTHONPATH": str(directory), "HIDDEN_MODULES": ",".join(modules)}


def install(directory: Path, distribution: str, code: str, entry_points: dict[str, dict[str, str]]) -> dict[str, str]:
    """Put a distribution with one module of the same name into a directory, as pip would; returns the environment of a
    Python that has it."""
    (directory / f"{distribution}.py").write_text(code)
    metadata = directory / f"{distribution}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    sections = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in entry_points.items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(sections))
    return {"PYTHONPATH": str(directory)}
