"""Outcomes as one table, for a terminal, for a file, and for the page of the documentation that quotes it."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from tests.conformance.checks import Outcome

HEADER = ("check", "carrier", "interface", "result", "detail")
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"


def rows(outcomes: Iterable[Outcome]) -> list[tuple[str, ...]]:
    return [(each.check, each.carrier, each.interface, each.result, each.detail) for each in outcomes]


def text(outcomes: Sequence[Outcome]) -> str:
    """Columns as wide as what stands in them; the last one may be of any length."""
    table = [HEADER, *rows(outcomes)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADER) - 1)] + [0]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def markdown(outcomes: Sequence[Outcome]) -> str:
    def line(row: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n"

    return line(HEADER) + "|---" * len(HEADER) + "|\n" + "".join(map(line, rows(outcomes)))


def quote(page: Path, outcomes: Sequence[Outcome]) -> None:
    """Put the table into a page, between its marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"{page} has no marks around its table")
    page.write_text(before + BEGIN + markdown(outcomes) + END + after, encoding="utf-8")


def verdict(outcomes: Sequence[Outcome]) -> str:
    results = sorted(each.result for each in outcomes)
    return ", ".join(f"{len(list(group))} {result}" for result, group in groupby(results))
