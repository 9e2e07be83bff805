"""Shows findings on a narrow terminal: one line each, the newest last."""

import os
import re
from collections.abc import Iterator, Mapping

from rich.console import Console

from harness.analysis.regression.finding import Finding
from harness.report.model.data import safe_text
from harness.report.model.formatting import percent, version_name
from harness.report.morning.text import short

WIDE = 120
"""The number of columns from which a table has room for everything."""
CHANGE, CELL, VERSION = 9, 25, 13
COMMIT = re.compile(r"-g[0-9a-f]{7,}")


def columns(out: Console) -> int:
    """The width of the output: the terminal's columns, or COLUMNS without a terminal."""
    said = os.environ.get("COLUMNS", "")
    return int(said) if said.isdecimal() and not out.is_terminal else out.width


def without_repeats(found: Mapping[int, Finding]) -> dict[int, Finding]:
    """Drop findings of a commit that another finding has already: several builders built both versions."""
    first: dict[tuple[str, str, str, str, bool], int] = {}
    for number, one in found.items():
        first.setdefault((one.metric.name, one.cell, one.subject, one.after.commit, one.worse), number)
    return {number: found[number] for number in first.values()}


def lines_of(found: Mapping[int, Finding], width: int) -> Iterator[str]:
    """A line for each finding: number, direction, size, metric, cell, version; none is wider than `width`."""
    digits = len(str(max(found, default=0)))
    for number, finding in found.items():
        head = f"{number:>{digits}} {'▲' if finding.worse else '▽'} {percent(finding.change):>{CHANGE}} "
        version = COMMIT.sub("", safe_text(version_name(finding.after)))
        tail = f" {_cut(short(safe_text(finding.cell)), CELL):<{CELL}} {_cut(version, VERSION)}"
        room = max(8, width - len(head) - CELL - VERSION - 2)
        yield f"{head}{_cut(finding.metric.name, room):<{room}}{tail}"[:width].rstrip()


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
