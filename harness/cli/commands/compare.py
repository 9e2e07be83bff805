"""Compare two kernels, A against B: two commits, options, checkouts, or osv against linux."""


from dataclasses import dataclass
from typing import Annotated

from rich.console import Console

from harness.analysis.ab import sides
from harness.analysis.ab.ab_test import AbRequest, AbTest, run_ab_test
from harness.analysis.ab.sequential_test import Decision, Judgement
from harness.cli import completion as complete
from harness.cli.declaration import argument, declare, option
from harness.cli.farm_options import FarmOptions, tls
from harness.cli.options import HistoryUrl, LoadSeconds
from harness.cli.output import screen, table
from harness.core.errors import HarnessError
from harness.core.events import subscribed
from harness.metrics.history.store import History
from harness.metrics.records import Better
from harness.metrics.suite import Measured
from harness.report.model.formatting import percent
from harness.report.progress import Progress
from harness.runner.session import Session


@dataclass
class Arguments(FarmOptions):
    """The two sides, and the metrics."""

    a: Annotated[
        str,
        argument(
            "a", shell_complete=complete.sides,
            help="a commit, +OPTION, a checkout's folder, or a cell: linux:qemu-rofs",
        ),
    ]  # fmt: skip
    b: Annotated[str, argument("b", shell_complete=complete.sides, help="likewise")]
    cell: Annotated[
        str,
        option(
            "--cell", required=True, metavar="CELL", shell_complete=complete.cells,
            help="the cell of what names none: qemu-ramfs",
        ),
    ]  # fmt: skip
    metric: Annotated[
        tuple[str, ...],
        option(
            "--metric", multiple=True, metavar="NAME", shell_complete=complete.metrics,
            help=f"what is compared (repeatable; default: {', '.join(sides.DEFAULT)})",
        ),
    ]  # fmt: skip
    pairs: Annotated[int, option("--pairs", type=int, default=100, metavar="N", help="at most so many pairs")]
    interesting: Annotated[
        float,
        option(
            "--interesting", type=float, default=1.0, metavar="PERCENT",
            help="stop where a change is surely less than this",
        ),
    ]  # fmt: skip
    duration: LoadSeconds
    history: HistoryUrl


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """Build, compare, show; returns 1 if a metric of B is worse by at least --interesting."""
    if arguments.pairs < 1 or arguments.interesting < 0:
        raise HarnessError("A comparison wants at least one pair, and no negative --interesting.")
    session = Session(arguments.osv_root)
    least = arguments.interesting / 100
    metrics = tuple(arguments.metric or sides.DEFAULT)
    request = AbRequest(
        arguments.a, arguments.b, arguments.cell, metrics, arguments.pairs, least, arguments.duration
    )
    with subscribed(Progress()), History(arguments.history) as history:
        ab_test = (_on_farm if arguments.farm else _here)(session, request, arguments, history)
    _show(screen(), ab_test)
    return int(any(_worse(one) and abs(one.change or 0.0) >= least for one in ab_test.judgements.values()))


def _here(session: Session, request: AbRequest, arguments: Arguments, history: History) -> AbTest:
    def keep(measured: Measured) -> None:
        history.add(measured.records)

    ab_test = run_ab_test(session, request, keep)
    history.add([ab_test.document])
    return ab_test


def _on_farm(session: Session, request: AbRequest, arguments: Arguments, history: History) -> AbTest:
    assert arguments.farm
    known = tls(arguments)
    from harness.integrations.farm.ab_test import compare
    from harness.integrations.farm.run import Farm

    ab_test = compare(Farm(arguments.farm, known), session, request)
    history.add(ab_test.records)
    return ab_test.ab_test


def _show(out: Console, ab_test: AbTest) -> None:
    rows = table("metric", "B against A", "95% interval", "pairs", "smallest visible", "so")
    for name, judgement in ab_test.judgements.items():
        interval = " to ".join(_change(end, judgement) for end in judgement.interval) if judgement.interval else ""
        exact, visible = judgement.metric.exact, ""
        if judgement.smallest is not None and not exact:
            visible = _change(judgement.smallest, judgement).lstrip("+")
        change = "" if judgement.change is None else _change(judgement.change, judgement)
        interval = "exact" if exact else interval
        rows.add_row(name, change, interval, str(judgement.pairs), visible, _words(judgement))
    for letter, side in (("A", ab_test.a), ("B", ab_test.b)):
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
