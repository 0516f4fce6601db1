"""What the server's log makes of text that others chose."""

from pathlib import Path

from ferrule.logs import Log, format_traceback


def test_no_line_of_a_traceback_looks_like_a_line_of_the_log_or_steers_a_terminal(tmp_path: Path) -> None:
    log = Log(path=str(tmp_path / "log"))
    try:
        raise ValueError("of a client\n[ERROR] forged pid=1\r\n\x1b[2J\tgone")
    except ValueError as error:
        log.error("It failed", traceback=format_traceback(error))
    log.close()
    text = (tmp_path / "log").read_bytes().decode()
    assert [line for line in text.split("\n") if line.startswith("[")] == ["[ERROR] It failed"]
    assert "\n [ERROR] forged pid=1\\r\n\\x1b[2J\\tgone\n" in text
    assert "Traceback (most recent call last):\n" in text
