"""What README and docs/ say is true: command lines are accepted, links lead somewhere."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.support.server import REPOSITORY, run_to_exit
from tests.support.tls import Authority

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").glob("*.md"))]

_CODE = re.compile(r"```[\s\S]*?```|`[^`\n]+`|(?:^    .*\n?)+", re.MULTILINE)
_JSON_COMMAND = re.compile(r'\["server",[^]]*\]')
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def command_lines(page: Path) -> list[str]:
    """Every `server ...` command of a page, continuation lines joined, and those of containers, which are JSON."""
    page_text = page.read_text(encoding="utf-8")
    commands = [shlex.join(json.loads(array)) for array in _JSON_COMMAND.findall(page_text)]
    for block in _CODE.findall(page_text):
        text = block.strip("`").replace("\\\n", " ")
        for line in text.splitlines():
            command = re.sub(r"^ExecStart=\S*/", "", line.strip())
            # nginx has a word `server` of its own: its lines end in punctuation.
            if command.startswith("server ") and command[-1] not in ";{":
                commands.append(command)
    return commands


COMMANDS = sorted({command for page in PAGES for command in command_lines(page)})


def test_commands_are_found() -> None:
    assert len(COMMANDS) > 5


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A working directory with the modules and certificates that the pages speak of."""
    code = "def app(environ, start_response): ...\napplication = app\ndef create_app(): return app\n"
    for name in ("main.py", "app.py", "mysite/asgi.py", "mysite/wsgi.py"):
        tmp_path.joinpath(name).parent.mkdir(exist_ok=True)
        tmp_path.joinpath(name).write_text(code)
    tmp_path.joinpath("gunicorn.conf.py").touch()
    authority = Authority(tmp_path)
    authority.issue(stem="server")
    authority.ca_certs.rename(tmp_path / "clients.pem")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_commands_are_accepted(command: str, project: Path) -> None:
    arguments = shlex.split(command.replace("MODULE:ATTR", "main:app"))[1:]
    if arguments[0] in {"status", "bench"}:
        done = run_to_exit(*arguments, "--help", cwd=project)
    else:
        done = run_to_exit("check", *(each for each in arguments if each not in {"run", "check"}), cwd=project)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_of_the_repository(page: Path) -> None:
    targets = [target for target in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []
