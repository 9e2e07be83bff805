"""Find the commit that changed a metric or a test, and say how sure that is."""

import argparse
import hashlib
from pathlib import Path

from rich.console import Console

from harness.bisect import Builder, Effort, Measure
from harness.bisect.answer import Answer, Culprit, Outcome
from harness.bisect.journal import File, read
from harness.bisect.kernels import Commits, Kernels, Tests
from harness.bisect.records import Booted, Failed, Finished, Opened, Record, to_json
from harness.bisect.session import Session
from harness.cell import Cell
from harness.commands._screen import screen, table
from harness.errors import CheckoutError, HarnessError
from harness.events import subscribed
from harness.history.store import History
from harness.lab import Lab
from harness.measure import NAME, suite
from harness.regress.sides import DURATION
from harness.report.progress import Progress
from harness.report.readable import percent, shown

SHORT = 12
SAYS = {
    Outcome.FOUND: "found",
    Outcome.NARROWED: "narrowed down, and no further",
    Outcome.NO_DIFFERENCE: "good and bad do not differ",
    Outcome.SWAPPED: "the bad end is the better one: are they swapped?",
    Outcome.LAYOUT: "builds differ as the layout of code does, not as commits",
    Outcome.SPREAD: "many small changes, none of which is the one",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What, between which commits, how sure."""
    parser.add_argument("do", nargs="?", choices=["log"], help="show what a bisection has done by now")
    parser.add_argument(
        "--metric", metavar="NAME", help="boot.instructions, memory.minimum, app.nginx.most.throughput"
    )
    parser.add_argument("--test", metavar="NAME", help="an in-guest test: tst-mmap.so")
    parser.add_argument("--good", metavar="COMMIT", help="where it still was right")
    parser.add_argument("--bad", metavar="COMMIT", default="HEAD", help="where it no longer is (default: HEAD)")
    parser.add_argument("--cell", default="qemu-ramfs", help="(default: qemu-ramfs)")
    parser.add_argument("--confidence", type=float, default=0.99, metavar="P", help="how sure (default: 0.99)")
    parser.add_argument("--jobs", type=int, default=1, metavar="K", help="kernels built at once (default: 1)")
    parser.add_argument(
        "--duration", type=float, default=DURATION, metavar="SECONDS", help="of each load of an app"
    )
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="its journal (default: in the cache, by its ends)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the journal that is there")
    parser.add_argument("--history", metavar="URL", help="where the numbers are kept (default: the user's own)")


def run(arguments: argparse.Namespace) -> int:
    """Bisect; 1 where there is no commit to name."""
    lab = Lab(arguments.osv_root)
    if lab.osv_root is None:
        raise CheckoutError("No OSv checkout is named whose commits could be bisected.", "Set OSV_ROOT.")
    if bool(arguments.metric) == bool(arguments.test) or not arguments.good:
        raise HarnessError("A bisection wants --good, and either --metric or --test.")
    if arguments.metric and not NAME.fullmatch(arguments.metric):
        raise HarnessError(f"{arguments.metric!r} is no metric's name.")
    cell = lab.cell(arguments.cell)
    if cell.kernel != "osv":
        raise HarnessError(f"{cell} has no commits here.", "Name a cell of osv.")
    commits = Commits(lab.osv_root, arguments.good, arguments.bad)
    state = arguments.state or _state(lab, cell, commits, arguments)
    if arguments.do == "log":
        _log(read(state) if state.exists() else [])
        return 0
    if state.exists() and not arguments.resume:
        raise HarnessError(
            f"This bisection was begun before: {state}.",
            "Go on with --resume, or begin anew with another --state.",
        )
    with subscribed(Progress()), File(state) as journal:
        answer = _bisect(lab, cell, commits, journal, arguments)
    _show(answer, screen())
    return 0 if answer.outcome is Outcome.FOUND else 1


def _bisect(lab: Lab, cell: Cell, commits: Commits, journal: File, arguments: argparse.Namespace) -> Answer:
    if arguments.metric:
        suite.measuring(arguments.metric, cell)
    lab.check_runs(cell)
    builder: Builder
    opened = journal.records[0] if journal.records else None
    effort = Effort(confidence=arguments.confidence, jobs=arguments.jobs)
    if arguments.test:
        builder = Tests(lab, cell, commits, arguments.test, arguments.jobs)
        return Session(commits.line(), Measure.test(arguments.test), builder, journal, effort).run()
    builder = kernels = Kernels(lab, cell, commits, arguments.metric, arguments.duration, arguments.jobs)
    measure = opened.measure if isinstance(opened, Opened) else Measure.of(kernels.metric_at_good())
    try:
        return Session(commits.line(), measure, builder, journal, effort).run()
    finally:
        with History(arguments.history) as history:
            history.add(kernels.samples)


def _state(lab: Lab, cell: Cell, commits: Commits, arguments: argparse.Namespace) -> Path:
    """The journal's path: of the same question, the same."""
    asked = [str(cell), arguments.metric or arguments.test, commits.good, commits.bad, str(arguments.confidence)]
    return lab.cache.root / "bisect" / f"{hashlib.sha256(' '.join(asked).encode()).hexdigest()[:16]}.jsonl"


def _show(answer: Answer, out: Console) -> None:
    out.print(f"{answer.outcome}: {SAYS[answer.outcome]}", style="bold")
    if answer.why:
        out.print(answer.why, markup=False)
    for culprit in answer.culprits:
        out.print(_said(culprit), markup=False)
    for warning in answer.warnings:
        out.print(f"beware: {warning.text}", markup=False)
    out.print(
        f"from {answer.builds} builds ({answer.cached} of them cached, {answer.broken} broken) and "
        f"{answer.boots} boots; the ends: {answer.good_level:,.6g} and {answer.bad_level:,.6g}"
    )


def _said(one: Culprit) -> str:
    low, high = one.interval
    relative = "" if one.relative is None else f" ({percent(one.relative)})"
    where = one.commits[0][:SHORT] if len(one.commits) == 1 else f"{len(one.commits)} commits"
    named = "" if len(one.commits) == 1 else f": {', '.join(commit[:SHORT] for commit in one.commits[:8])}"
    return (
        f"{where}: {one.change:+,.6g}{relative}, 95% interval {low:+,.6g} to {high:+,.6g}, "
        f"with a probability of {one.probability:.4g}{named}"
    )


def _log(records: list[Record]) -> None:
    first = records[0] if records else None
    if not isinstance(first, Opened):
        raise HarnessError("There is no such bisection.", "Give its ends and its metric, or its --state.")
    rows = table("commit", "layout", "what", "")
    for record in records:
        if isinstance(record, Finished | Failed | Booted):
            commit = first.line.commits[record.key.index][:SHORT]
            what, detail = _row(record, first)
            rows.add_row(commit, str(record.key.layout), what, detail)
        elif not isinstance(record, Opened):
            rows.add_row("", "", str(to_json(record).get("type", "")), "")
    screen().print(rows)


def _row(record: Finished | Failed | Booted, opened: Opened) -> tuple[str, str]:
    if isinstance(record, Finished):
        return "built", f"{record.built.seconds:.0f} s, {record.built.digest[:SHORT]}"
    if isinstance(record, Failed):
        return "broken", record.why
    return "booted", shown(record.value, opened.measure.unit)
