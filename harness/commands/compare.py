"""Compare two kernels, A against B: two commits, options, checkouts, or osv against linux."""

import argparse

from rich.console import Console

from harness.commands._farm import add_farm, tls
from harness.commands._numbers import positive
from harness.commands._screen import screen, table
from harness.errors import HarnessError
from harness.events import subscribed
from harness.history.store import History
from harness.lab import Lab
from harness.load import DURATION
from harness.measure import Better
from harness.measure.suite import Measured
from harness.regress import sides
from harness.regress.comparison import Decision, Judgement
from harness.regress.trial import Question, Trial, trial
from harness.report.progress import Progress
from harness.report.readable import percent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two sides, and what of them."""
    parser.add_argument(
        "a", metavar="A", help="a commit, +OPTION, a checkout's folder, or a cell: linux:qemu-rofs"
    )
    parser.add_argument("b", metavar="B", help="likewise")
    parser.add_argument("--cell", required=True, help="the cell of what names none: qemu-ramfs")
    parser.add_argument(
        "--metric", action="append", metavar="NAME",
        help=f"what is compared (repeatable; default: {', '.join(sides.DEFAULT)})",
    )  # fmt: skip
    parser.add_argument("--pairs", type=int, default=100, metavar="N", help="at most so many pairs (default: 100)")
    parser.add_argument(
        "--interesting", type=float, default=1.0, metavar="PERCENT",
        help="stop where a change is surely less than this (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--duration", type=positive, default=DURATION, metavar="SECONDS", help="of each load of an app"
    )
    add_farm(parser)
    parser.add_argument("--history", metavar="URL", help="where the numbers are kept (default: the user's own)")


def run(arguments: argparse.Namespace) -> int:
    """Build, compare, show; 1 if B is worse in anything by as much as interests."""
    if arguments.pairs < 1 or arguments.interesting < 0:
        raise HarnessError("A comparison wants at least one pair, and no negative --interesting.")
    lab = Lab(arguments.osv_root)
    least = arguments.interesting / 100
    metrics = tuple(arguments.metric or sides.DEFAULT)
    question = Question(
        arguments.a, arguments.b, arguments.cell, metrics, arguments.pairs, least, arguments.duration
    )
    with subscribed(Progress()), History(arguments.history) as history:
        done = (_on_farm if arguments.farm else _here)(lab, question, arguments, history)
    _show(screen(), done)
    return int(any(_worse(one) and abs(one.change or 0.0) >= least for one in done.judgements.values()))


def _here(lab: Lab, question: Question, arguments: argparse.Namespace, history: History) -> Trial:
    def keep(measured: Measured) -> None:
        history.add(measured.records)

    done = trial(lab, question, keep)
    history.add([done.document])
    return done


def _on_farm(lab: Lab, question: Question, arguments: argparse.Namespace, history: History) -> Trial:
    known = tls(arguments)
    from harness.farm.comparing import compare
    from harness.farm.spreading import Farm

    done = compare(Farm(arguments.farm, known), lab, question)
    history.add(done.records)
    return done.trial


def _show(out: Console, done: Trial) -> None:
    rows = table("metric", "B against A", "95% interval", "pairs", "smallest visible", "so")
    for name, one in done.judgements.items():
        interval = " to ".join(_change(end, one) for end in one.interval) if one.interval else ""
        visible = "" if one.smallest is None or one.metric.exact else _change(one.smallest, one).lstrip("+")
        change = "" if one.change is None else _change(one.change, one)
        rows.add_row(name, change, "exact" if one.metric.exact else interval, str(one.pairs), visible, _words(one))
    for letter, side in (("A", done.a), ("B", done.b)):
        out.print(f"{letter}: {side.name} ({side.version}) on {side.cell}", markup=False)
    out.print(rows)


def _words(one: Judgement) -> str:
    if one.decision is Decision.CHANGED:
        return "worse" if _worse(one) else "better"
    return {Decision.UNCHANGED: "no change", Decision.UNDECIDED: "no change seen"}[one.decision]


def _worse(one: Judgement) -> bool:
    changed = one.decision is Decision.CHANGED and one.change is not None
    return changed and ((one.change or 0.0) > 0) == (one.metric.better is Better.LOWER)


def _change(change: float, one: Judgement) -> str:
    return percent(change) if one.relative else f"{change:+.3g} {one.metric.unit}"
