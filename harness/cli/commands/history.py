"""Show what the history has, and carry it from one to another as JSON Lines."""

import os
import sys
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import time
from typing import IO, Annotated

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.cli import completion as complete
from harness.cli.declaration import Group, argument, option
from harness.cli.name_patterns import check_matches
from harness.cli.options import DIR, FILE, Common, HistoryUrl
from harness.cli.output import PIPED_WIDTH, screen, table
from harness.core.cell import slug_of
from harness.core.errors import HarnessError
from harness.core.text import printable
from harness.core.whole_files import written_whole
from harness.metrics.history.jsonl import line_of
from harness.metrics.history.store import History, Imported
from harness.metrics.history.url import place, shown
from harness.report.model.spans import PLAN
from harness.report.morning.nights import plans_of
from harness.report.morning.test_history import of_test
from harness.runner.verdict import Outcome

NO_ROOM_CURE = "Free space there, or name another file."
DAY = 24 * 3600.0


@dataclass
class HistoryArguments(Common):
    """The history."""

    history: HistoryUrl


@dataclass
class ShowArguments(HistoryArguments):
    """Which of its samples."""

    metric: Annotated[
        str | None,
        option(
            "--metric", metavar="NAME", shell_complete=complete.metrics,
            help="a metric's name, or the beginning of some: boot.*",
        ),
    ]  # fmt: skip
    cell: Annotated[
        str | None,
        option(
            "--cell", metavar="CELL", shell_complete=complete.full_cells,
            help="a cell's name, as samples have it: linux:x86_64-qemu-rofs-all",
        ),
    ]  # fmt: skip
    last: Annotated[int, option("--last", type=int, default=40, metavar="N", help="how many")]


@dataclass
class TestArguments(HistoryArguments):
    """Which test."""

    name: Annotated[str, argument("name", shell_complete=complete.tests, help="tst-mmap.so, or tst-mmap")]
    cell: Annotated[
        str | None,
        option("--cell", metavar="CELL", shell_complete=complete.full_cells, help="on this cell alone"),
    ]
    last: Annotated[int, option("--last", type=int, default=20, metavar="N", help="how many failures")]


@dataclass
class ExportArguments(HistoryArguments):
    """Where to, and since when."""

    file: Annotated[Path | None, argument("file", required=False, type=FILE, help="(default: standard output)")]
    since: Annotated[
        float | None,
        option("--since", type=float, metavar="SECONDS", help="what was taken since then, counted from 1970"),
    ]


@dataclass
class VerdictsArguments(HistoryArguments):
    """Where to, and how old they may be."""

    folder: Annotated[Path, argument("folder", type=DIR, help="gets a file for each cell")]
    days: Annotated[float, option("--days", type=float, default=30.0, metavar="DAYS", help="how far back")]


@dataclass
class ImportArguments(HistoryArguments):
    """Where from."""

    file: Annotated[
        tuple[Path, ...],
        argument(
            "file", nargs=-1, required=True, type=FILE,
            help="each is taken whole or not at all; - is standard input",
        ),
    ]  # fmt: skip


command = Group(__doc__, Common)


@command.subcommand("show", "samples, in the order of their commits")
def _show(arguments: ShowArguments) -> int:
    if arguments.last < 1:
        raise HarnessError(f"--last {arguments.last} shows nothing.", "Give a number from 1.")
    with History(arguments.history) as history:
        samples = history.samples(metric=arguments.metric, cell=arguments.cell, last=arguments.last)
        every = [] if samples else history.samples()
    check_matches(arguments.cell and [arguments.cell], (one.cell for one in every), "cell")
    check_matches(arguments.metric and [arguments.metric], (one.metric.name for one in every), "metric")
    rows = table("commit", "metric", "cell", "subject", "value", "unit", "taken")
    for sample in samples:
        _add_row(
            rows, sample.version.described or sample.version.commit[:12], sample.metric.name, sample.cell,
            sample.subject, _figure(sample.value), sample.metric.unit, _moment(sample.taken),
        )  # fmt: skip
    screen().print(rows if rows.row_count else "The history has no such samples.")
    return 0


@command.subcommand("test", "a test's runs: what it is, a strip a cell, and its failures, newest last")
def _test(arguments: TestArguments) -> int:
    name = arguments.name if "." in arguments.name else f"{arguments.name}.so"
    with History(arguments.history) as history:
        everything = history.judged(test=name, cell=arguments.cell) or history.judged(test=arguments.name)
        known = [] if everything else history.judged()
        plans = plans_of(history.documents(PLAN))
    check_matches([arguments.name], (one.test for one in known), "test")
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PIPED_WIDTH
    out = Console(highlight=False, emoji=False, width=width)
    for line in of_test(everything, arguments.last, plans):
        out.print(Text(printable(line)), no_wrap=True, overflow="ellipsis", crop=True)
    return 0


@command.subcommand("runs", "every run, and what it brought")
def _runs(arguments: HistoryArguments) -> int:
    with History(arguments.history) as history:
        runs = history.runs()
    rows = table("run", "began", "cells", "commits", "samples", "verdicts", "documents")
    for row in runs:
        counts = (f"{count:,}" for count in (row.samples, row.judged, row.documents))
        commits = (commit[:12] for commit in row.commits)
        _add_row(rows, row.run, _moment(row.first), _few(row.cells), _few(tuple(commits)), *counts)
    screen().print(rows if rows.row_count else "The history is empty.")
    return 0


@command.subcommand("export", "write all of it as JSON Lines")
def _export(arguments: ExportArguments) -> int:
    with History(arguments.history) as history:
        if arguments.file is None:
            history.export(sys.stdout.buffer, arguments.since)
            sys.stdout.buffer.flush()
            return 0
        count = _write_whole(history, arguments.file, arguments.since)
    screen().print(f"{_records(count)} in {arguments.file}", markup=False)
    return 0


def _write_whole(history: History, path: Path, since: float | None) -> int:
    """Write the export atomically: a killed export leaves no file that looks like one."""
    with written_whole(path, NO_ROOM_CURE) as file:
        return history.export(file, since)


@command.subcommand("verdicts", "write each cell's newest verdicts, for runs that reuse them, as files to import")
def _verdicts(arguments: VerdictsArguments) -> int:
    """Leaves out what was reused itself: a verdict that stands is one that was reached."""
    lines: dict[str, list[bytes]] = defaultdict(list)
    with History(arguments.history) as history:
        for one in history.judged(since=time() - arguments.days * DAY):
            if one.outcome != Outcome.REUSED:
                lines[slug_of(one.cell)].append(line_of(one))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for slug, found in lines.items():
        with written_whole(arguments.folder / f"{slug}.jsonl", NO_ROOM_CURE) as file:
            file.writelines(found)
    screen().print(f"{_records(sum(map(len, lines.values())))} of {len(lines)} cells", markup=False)
    return 0


@command.subcommand("import", "add what others have exported")
def _import(arguments: ImportArguments) -> int:
    """Import the files in turn; a refused one ends it, and those before it are stored."""
    with History(arguments.history) as history:
        for path in arguments.file:
            done = _import_one(history, path)
            screen().print(f"{path}: {_records(done.new)} new, {done.known:,} known", markup=False)
    return 0


def _import_one(history: History, path: Path) -> Imported:
    if str(path) == "-":
        return _read(history, sys.stdin.buffer, "standard input")
    try:
        with path.open("rb") as file:
            return _read(history, file, str(path))
    except OSError as error:
        raise HarnessError(f"{path} can't be read: {error.strerror}.", "Name an export's file.") from error


def _read(history: History, file: IO[bytes], name: str) -> Imported:
    try:
        return history.import_(file)
    except HarnessError as error:
        raise HarnessError(f"{name}: {error.message}", error.hint) from error


@command.subcommand("path", "where it is")
def _path(arguments: HistoryArguments) -> int:
    """Does not open it: it may be damaged, or out of reach."""
    print(shown(place(arguments.history)))
    return 0


def _add_row(rows: Table, *cells: str) -> None:
    """Escapes the texts: a guest, or another runner's file, may contain terminal sequences or markup."""
    rows.add_row(*(Text(printable(cell)) for cell in cells))


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.6g}"


def _moment(seconds: float) -> str:
    """Local time, for people; the number itself if it is no valid time."""
    try:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g}"


def _records(count: int) -> str:
    return f"{count:,} record{'' if count == 1 else 's'}"
