"""Compare two kernels, A against B: two commits, options, checkouts, or osv against linux."""

import argparse
import time
from random import Random

from rich.console import Console

from harness.commands._screen import screen, table
from harness.errors import HarnessError
from harness.events import subscribed
from harness.history.records import Document
from harness.history.store import History
from harness.lab import Lab
from harness.measure import Better
from harness.measure.suite import Measured
from harness.regress import sides
from harness.regress.comparison import Decision, Judgement
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
        "--duration", type=float, default=sides.DURATION, metavar="SECONDS", help="of each load of an app"
    )
    parser.add_argument("--history", metavar="URL", help="where the numbers are kept (default: the user's own)")


def run(arguments: argparse.Namespace) -> int:
    """Build, compare, show; 1 if B is worse in anything by as much as interests."""
    if arguments.pairs < 1 or arguments.interesting < 0:
        raise HarnessError("A comparison wants at least one pair, and no negative --interesting.")
    lab = Lab(arguments.osv_root)
    cell = lab.cell(arguments.cell)
    metrics = arguments.metric or list(sides.DEFAULT)
    with subscribed(Progress()), History(arguments.history) as history:
        a, b = (sides.build(lab, cell, name, metrics, arguments.duration) for name in (arguments.a, arguments.b))

        def keep(measured: Measured) -> None:
            history.add([*measured.samples, *measured.documents])

        found = sides.compare(a, b, metrics, arguments.pairs, arguments.interesting / 100, keep, Random())
        history.add([_document(a, b, found)])
    _show(screen(), a, b, found)
    least = arguments.interesting / 100
    return int(any(_worse(one) and abs(one.change or 0.0) >= least for one in found.values()))


def _show(out: Console, a: sides.Side, b: sides.Side, found: dict[str, Judgement]) -> None:
    rows = table("metric", "B against A", "95% interval", "pairs", "smallest visible", "so")
    for name, one in found.items():
        interval = " to ".join(_change(end, one) for end in one.interval) if one.interval else ""
        visible = "" if one.smallest is None or one.metric.exact else _change(one.smallest, one).lstrip("+")
        change = "" if one.change is None else _change(one.change, one)
        rows.add_row(name, change, "exact" if one.metric.exact else interval, str(one.pairs), visible, _words(one))
    out.print(f"A: {a.name} ({_version(a)}) on {a.cell}", markup=False)
    out.print(f"B: {b.name} ({_version(b)}) on {b.cell}", markup=False)
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


def _version(side: sides.Side) -> str:
    return next(iter(side.measurements.values())).taker.version.described


def _document(a: sides.Side, b: sides.Side, found: dict[str, Judgement]) -> Document:
    taker = next(iter(b.measurements.values())).taker
    body = {
        "a": a.name,
        "b": b.name,
        "a_cell": str(a.cell),
        "judgements": [one.to_json() for one in found.values()],
    }
    return Document(
        "comparison", str(b.cell), f"{a.name} against {b.name}", body, taker.version, taker.run, time.time()
    )
