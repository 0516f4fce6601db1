"""Files of NAME=VALUE lines (`--env-file`)."""

from __future__ import annotations

import re

from ..errors import ConfigError

_LINE = r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)"
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


def read_env_file(path: str, where: str) -> dict[str, str]:
    """Variables of a file: `NAME=VALUE`, `export NAME=VALUE`, quotes as in a shell, `#` comments, no expansion.

    Raises `ConfigError`; `where` says which setting named the file.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise ConfigError(f"{where}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: {path} is not UTF-8") from None
    variables: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(_LINE, line)
        if match is None or "\0" in line:
            raise ConfigError(f"{where}: {path}: line {number}: expected NAME=VALUE")
        variables[match[1]] = _value(match[2])
    return variables


def _value(text: str) -> str:
    if single := re.fullmatch(r"'([^']*)'\s*(?:#.*)?", text):
        return single[1]
    if double := re.fullmatch(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?', text):
        return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), double[1])
    return re.split(r"\s+#", text, maxsplit=1)[0].strip()
