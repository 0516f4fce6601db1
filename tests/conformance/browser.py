"""Headless Chromium: one page that loads a hundred scripts, and tells the server what became of them."""

import json
import os
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from tests.conformance.application import SCRIPTS
from tests.conformance.checks import DEADLINE, Check, FailedError, expect
from tests.conformance.targets import Target
from tests.conformance.tools import locate

FLAGS = [
    "--headless",
    "--no-sandbox",  # containers have no user namespaces for it; the only page is our own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium(target: Target, log: Path) -> str:
    with tempfile.TemporaryDirectory(prefix="ferrule-chromium-", ignore_cleanup_errors=True) as profile:
        command = [
            str(locate("chromium", log.parent)),
            *FLAGS,
            f"--user-data-dir={profile}",
            f"--ignore-certificate-errors-spki-list={target.key_hash}",
            # Keeps the browser running until it is told to stop.
            "--remote-debugging-port=0",
            f"{target.url}/page",
        ]
        with log.open("ab") as output:
            browser = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        try:
            told = _report(target, browser)
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
    expect(not told["failed"], f"scripts {told['failed']} were not loaded")
    expect(told["loaded"] == list(range(SCRIPTS)), f"{len(told['loaded'])} scripts instead of {SCRIPTS}")
    expect(told["protocols"] == ["h2"], f"protocols {told['protocols']}")
    expect(len(told["ports"]) == 1, f"{len(told['ports'])} connections instead of 1")
    return f"{len(told['loaded'])} scripts of a page, {len(told['ports'])} connection"


def _report(target: Target, browser: "subprocess.Popen[bytes]") -> dict[str, list[object]]:
    """What the page says of itself, waited for."""
    trust = ssl.create_default_context(cafile=target.authority)
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{target.url}/reported", timeout=10, context=trust) as response:
            reports = json.loads(response.read())
        if reports:
            report: dict[str, list[object]] = json.loads(reports[0])
            return report
        if browser.poll() is not None:
            raise FailedError(f"chromium ended with status {browser.returncode}")
        time.sleep(0.1)
    raise FailedError(f"the page did not report in {DEADLINE:g} s")


# HTTP/2 without TLS is spoken by no browser.
CHECKS = [Check("Chromium", chromium, ("chromium",), carriers=("tls",))]
