"""Write a report of the history: one HTML page, Markdown for a pull request, text, or OpenMetrics."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from io import StringIO
from pathlib import Path
from typing import Annotated

import click
from rich.console import Console

from harness.cli import completion as complete
from harness.cli.declaration import declare, option
from harness.cli.name_patterns import check_matches
from harness.cli.options import DIR, FILE, Common, HistoryUrl
from harness.cli.output import PIPED_WIDTH, screen
from harness.core.errors import HarnessError
from harness.core.garbage_collection import without_garbage_collection
from harness.core.whole_files import write_whole
from harness.metrics.history.store import History
from harness.report.html.page import write
from harness.report.html.screenshots import take
from harness.report.markdown import markdown
from harness.report.model.data import ReportData
from harness.report.model.formatting import shown
from harness.report.morning.commits import Commits
from harness.report.openmetrics import openmetrics
from harness.report.report_data import make_report_data
from harness.report.terminal import show
from harness.runner.session import Session

PAGE = Path("report.html")


def _text(data: ReportData, commits: Commits) -> str:
    """The summary, in colour if it goes to a terminal."""
    out = StringIO()
    terminal = sys.stdout.isatty()
    width = None if terminal or os.environ.get("COLUMNS") else PIPED_WIDTH
    show(data, Console(file=out, highlight=False, emoji=False, force_terminal=terminal, width=width), commits)
    return out.getvalue()


HTML = "html"
FORMATS: dict[str, Callable[[ReportData, Commits], str]] = {
    "markdown": lambda data, commits: markdown(data),
    "text": _text,
    "openmetrics": lambda data, commits: openmetrics(data),
}


@dataclass
class Arguments(Common):
    """What to report, in which format, and where to."""

    history: HistoryUrl
    format: Annotated[
        str, option("--format", type=click.Choice([HTML, *FORMATS]), default=HTML, help="of what is written")
    ]
    output: Annotated[
        Path | None,
        option("--output", type=FILE, metavar="FILE", help=f"(default: {PAGE} for html, else standard output)"),
    ]
    since: Annotated[
        str | None,
        option("--since", metavar="DATE", help="only what was taken since then: 2026-11-01, UTC"),
    ]
    cell: Annotated[
        tuple[str, ...],
        option(
            "--cell", multiple=True, metavar="PATTERN", shell_complete=complete.full_cells,
            help="only these cells (repeatable): 'osv:*-rofs-*'",
        ),
    ]  # fmt: skip
    single: Annotated[
        bool, option("--single", is_flag=True, help="one large page, without a folder of data beside it")
    ]
    screenshots: Annotated[
        Path | None,
        option("--screenshots", type=DIR, metavar="DIR", help="pictures of the page (wants Chromium)"),
    ]


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """Write the report. Its content does not change the status: `osv-harness compare` judges."""
    for name, given in (("screenshots", arguments.screenshots), ("single page", arguments.single)):
        if given and arguments.format != HTML:
            raise HarnessError(f"There is no {name} of {arguments.format}.", "Leave --format out.")
    with without_garbage_collection():
        return _written(arguments)


def _written(arguments: Arguments) -> int:
    data, commits = _report_data(arguments), Commits(Session(arguments.osv_root).osv_root)
    if arguments.format == HTML:
        return _html(data, commits, arguments)
    text = FORMATS[arguments.format](data, commits)
    if arguments.output is None:
        sys.stdout.write(text)
        return 0
    write_whole(arguments.output, text, "Free space there, or give another --output.")
    _print_size(arguments.output)
    return 0


def _html(data: ReportData, commits: Commits, arguments: Arguments) -> int:
    output = arguments.output or PAGE
    for path in write(data, output, commits=commits, single=arguments.single):
        _print_size(path)
    if arguments.screenshots:
        for path in take(output, arguments.screenshots):
            screen().print(str(path), markup=False)
    return 0


def _print_size(path: Path) -> None:
    screen().print(f"{path}: {shown(path.stat().st_size, 'B')}", markup=False)


def _report_data(arguments: Arguments) -> ReportData:
    since = _moment(arguments.since)

    with History(arguments.history) as history:
        samples, judged = history.samples_by_time(since), history.judged_by_time(since)
        documents, graph = history.documents(since=since), history.graph()
    cells = {one.cell for rows in (samples, judged.kinds, documents) for one in rows}
    check_matches(arguments.cell, cells, f"cell since {arguments.since}" if arguments.since else "cell")
    if arguments.cell:
        chosen = {cell for cell in cells if any(fnmatchcase(cell, pattern) for pattern in arguments.cell)}
        samples = [one for one in samples if one.cell in chosen]
        judged = judged.where(lambda kind: kind.cell in chosen)
        documents = [one for one in documents if one.cell in chosen]
    return make_report_data(samples, judged, documents, graph)


def _moment(date: str | None) -> float | None:
    """Seconds since 1970 of a date, at midnight UTC unless it says otherwise."""
    if date is None:
        return None
    try:
        when = datetime.fromisoformat(date)
    except ValueError as error:
        raise HarnessError(f"{date!r} is no date.", "Write it so: 2026-11-01, or 2026-11-01T12:00.") from error
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
