"""Show what the history has, and carry it from one to another as JSON Lines."""

import argparse
import os
import sys
import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO

from rich.table import Table
from rich.text import Text

from harness.commands._patterns import check_matches
from harness.commands._screen import screen, table
from harness.console.transcript import printable
from harness.errors import HarnessError
from harness.history.place import place, shown
from harness.history.store import History, Imported


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`show`, `runs`, `export [FILE]`, `import FILE…`, `path`; each of `--history URL`."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--history", metavar="URL",
        help="a file, or postgresql://user@host/database (default: OSV_HARNESS_HISTORY, else a file of yours)",
    )  # fmt: skip
    verbs = parser.add_subparsers(metavar="show|runs|export|import|path", required=True)
    show = verbs.add_parser("show", parents=[shared], help="samples, in the order of their commits")
    show.add_argument("--metric", help="a metric's name, or the beginning of some: boot.*")
    show.add_argument("--cell", help="a cell's name, as samples have it: linux:x86_64-qemu-rofs-all")
    show.add_argument("--last", type=int, default=40, metavar="N", help="how many (default: 40)")
    show.set_defaults(verb=_show)
    verbs.add_parser("runs", parents=[shared], help="every run, and what it brought").set_defaults(verb=_runs)
    export = verbs.add_parser("export", parents=[shared], help="write all of it as JSON Lines")
    export.add_argument("file", nargs="?", type=Path, help="(default: standard output)")
    export.set_defaults(verb=_export)
    import_ = verbs.add_parser("import", parents=[shared], help="add what others have exported")
    import_.add_argument(
        "file", nargs="+", type=Path, help="each is taken whole or not at all; - is standard input"
    )
    import_.set_defaults(verb=_import)
    verbs.add_parser("path", parents=[shared], help="where it is").set_defaults(verb=_path)


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked."""
    arguments.verb(arguments)
    return 0


def _show(arguments: argparse.Namespace) -> None:
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


def _runs(arguments: argparse.Namespace) -> None:
    with History(arguments.history) as history:
        runs = history.runs()
    rows = table("run", "began", "cells", "commits", "samples", "verdicts", "documents")
    for row in runs:
        counts = (f"{count:,}" for count in (row.samples, row.judged, row.documents))
        commits = (commit[:12] for commit in row.commits)
        _add_row(rows, row.run, _moment(row.first), _few(row.cells), _few(tuple(commits)), *counts)
    screen().print(rows if rows.row_count else "The history is empty.")


def _export(arguments: argparse.Namespace) -> None:
    with History(arguments.history) as history:
        if arguments.file is None:
            history.export(sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        count = _write_whole(history, arguments.file)
    screen().print(f"{_records(count)} in {arguments.file}", markup=False)


def _write_whole(history: History, path: Path) -> int:
    """The file appears by one rename: an export that was killed leaves none that looks like one."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise HarnessError(f"{path} can't be written: {error.strerror}.", "Name another file.") from error
    try:
        with os.fdopen(handle, "wb") as file:
            count = history.export(file)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).rename(path)
    except OSError as error:
        raise HarnessError(f"{path} can't be written: {error.strerror}.", "Name another file.") from error
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()
    return count


def _import(arguments: argparse.Namespace) -> None:
    """Every file in its turn; one that is refused ends it, and those before it are in."""
    with History(arguments.history) as history:
        for path in arguments.file:
            done = _import_one(history, path)
            screen().print(f"{path}: {_records(done.new)} new, {done.known:,} known", markup=False)


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
        raise HarnessError(f"{name}: {error.happened}", error.cure) from error


def _path(arguments: argparse.Namespace) -> None:
    """Without opening it: it may be damaged, or out of reach."""
    print(shown(place(arguments.history)))


def _add_row(rows: Table, *cells: str) -> None:
    """Text as text: a guest, or another runner's file, may have put a terminal's sequences or markup there."""
    rows.add_row(*(Text(printable(cell.encode("utf-8", "backslashreplace"))) for cell in cells))


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.6g}"


def _moment(seconds: float) -> str:
    """For people, in this machine's zone; the number itself where no calendar has it."""
    try:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g}"


def _records(count: int) -> str:
    return f"{count:,} record{'' if count == 1 else 's'}"
