"""The report as a summary for a terminal."""

from collections import defaultdict
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.report.page.news import by_cause, unexpected
from harness.report.page.outcomes import BAD, EXPECTED, GOOD, STALE, Test, by_test, counts
from harness.report.page.timeline import Timeline
from harness.report.page.told import Told

MOST_ROWS = 30
STYLES = {BAD: "bold red", GOOD: "green", EXPECTED: "yellow", STALE: "bold yellow"}


def show(told: Told, out: Console) -> None:
    """Print findings, verdicts that were not expected, and the counts of each cell; nothing of it is markup."""
    told = told.safe
    if told.empty:
        out.print("The history has nothing to report yet: `tox -e qemu-rofs` fills it.", markup=False)
        return
    kernels = ", ".join(f"{number} of {kernel or '?'}" for kernel, number in Timeline(told).kernels().items())
    out.print(f"{len(told.samples)} measurements, {len(told.judged)} verdicts; versions: {kernels}", markup=False)
    tests = by_test(told)
    _show_findings(told, out)
    for note in told.notes:
        out.print(note, markup=False, soft_wrap=True)
    _show_unexpected(tests, out)
    _show_cells(tests, out)


def _show_findings(told: Told, out: Console) -> None:
    causes = by_cause(told.findings)
    out.print(f"\n{len(told.findings)} findings" if causes else "\nno findings", style="bold", markup=False)
    rows = _table("", "change", "metric", "cell", "since", "confidence", "same cause")
    for cause in causes[:MOST_ROWS]:
        found = cause.first
        way = Text("▲ worse", "bold red") if found.worse else Text("▽ better", "green")
        about = f"{found.metric} of {found.subject}" if found.subject else found.metric
        _add(
            rows, way, f"{found.change} ({found.interval})", about, found.cell, found.after,
            f"{found.confidence}; {found.confirmed}", f"{len(cause.others)} more" if cause.others else "",
        )  # fmt: skip
    _print(rows, len(causes), out)


def _show_unexpected(tests: Sequence[Test], out: Console) -> None:
    bad = unexpected(tests)
    if tests:
        out.print(f"\n{len(bad)} of {len(tests)} tests not as expected", style="bold", markup=False)
    rows = _table("", "test", "cell", "since", "reason")
    for row in bad[:MOST_ROWS]:
        verdict = Text(f"{row.symbol} {row.words}", STYLES[BAD])
        _add(rows, verdict, row.judged.test, row.judged.cell, row.since, row.judged.reason)
    _print(rows, len(bad), out)


def _show_cells(tests: Sequence[Test], out: Console) -> None:
    by_cell: dict[str, list[Test]] = defaultdict(list)
    for test in tests:
        by_cell[test.cell].append(test)
    rows = _table("cell", "latest verdicts")
    for cell, alike in by_cell.items():
        words = [Text(f"{one.symbol} {one.number} {one.words}  ", STYLES[one.standing]) for one in counts(alike)]
        _add(rows, cell, Text.assemble(*words))
    if by_cell:
        out.print()
    _print(rows, len(by_cell), out)


def _table(*columns: str) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def _add(rows: Table, *cells: str | Text) -> None:
    """Text as text: rich would read square brackets in a string."""
    rows.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def _print(rows: Table, number: int, out: Console) -> None:
    if rows.row_count:
        out.print(rows)
    if number > rows.row_count:
        out.print(f"… and {number - rows.row_count} more", markup=False)
