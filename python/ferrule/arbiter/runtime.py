"""The runtime directory of a server: how `server status` and other commands find it and look inside.

`$XDG_RUNTIME_DIR/ferrule/<pid>`, else `ferrule-<uid>/<pid>` in the temp directory, mode 0700. Where it cannot be made,
those commands do not find the server, and nothing else is lost.
"""

from __future__ import annotations

import contextlib
import os
import stat

from .process import is_alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DESCRIPTION = "server.json"
SCOREBOARD = "scoreboard"


def base_directory() -> str:
    """Where the servers of this user have their directories."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):
        return os.path.join(runtime, "ferrule")
    # As `tempfile.gettempdir` finds it, whose import would cost each start ten times what this does.
    places = (os.environ.get("TMPDIR"), os.environ.get("TEMP"), os.environ.get("TMP"), "/tmp", "/var/tmp", "/usr/tmp")
    found = next((each for each in places if each and os.path.isdir(each) and os.access(each, os.W_OK)), os.getcwd())
    return os.path.join(os.path.abspath(found), f"ferrule-{os.getuid()}")


class RuntimeDirectory:
    """The directory of this process. All methods are without effect once it could not be made."""

    def __init__(self) -> None:
        self.path: str | None = None

    def make(self) -> str | None:
        """Make it; returns why that was not possible, or None."""
        import shutil

        base = base_directory()
        path = os.path.join(base, str(os.getpid()))
        try:
            os.makedirs(base, mode=0o700, exist_ok=True)
            _check_private(base)
            if os.path.isdir(path):
                shutil.rmtree(path)  # of a dead process that had our pid
            os.mkdir(path, 0o700)
        except OSError as error:
            return f"{path}: {error.strerror or error}"
        self.path = path
        return None

    def describe(self, facts: dict[str, Any]) -> None:
        """Write what commands read, in one step."""
        if self.path is None:
            return
        import json

        target = os.path.join(self.path, DESCRIPTION)
        with contextlib.suppress(OSError):
            with open(target + ".new", "w", encoding="utf-8") as file:
                json.dump(facts, file)
            os.replace(target + ".new", target)

    def link_scoreboard(self, fd: int) -> None:
        """Let commands map the scoreboard, which has no file of its own: its memory goes with the last process."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                os.symlink(f"/proc/{os.getpid()}/fd/{fd}", os.path.join(self.path, SCOREBOARD))

    def remove(self) -> None:
        if self.path is not None:
            import shutil

            shutil.rmtree(self.path, ignore_errors=True)
            self.path = None


def running_servers() -> dict[int, str]:
    """Directories of this user's living servers by process id; those of dead ones are cleared away."""
    import shutil

    found = {}
    base = base_directory()
    with contextlib.suppress(OSError):
        _check_private(base)
        for name in os.listdir(base):
            path = os.path.join(base, name)
            if not name.isdigit():
                continue
            if is_alive(int(name)):
                found[int(name)] = path
            else:
                shutil.rmtree(path, ignore_errors=True)
    return found


def _check_private(path: str) -> None:
    """In a directory that everybody may write to, somebody else may have been there first."""
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(1, "is not a private directory of this user")
