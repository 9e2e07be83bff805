"""Measure cells: boot cost and time, memory, size, throughput; show the numbers and keep them in the history."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

from rich.table import Table
from rich.text import Text

from harness.cli import completion as complete
from harness.cli.declaration import argument, declare, option
from harness.cli.farm_options import FarmOptions, show_not_run, tls
from harness.cli.kernel_files import KernelFiles, session_of
from harness.cli.options import Forget, HistoryUrl, LoadSeconds
from harness.cli.output import screen, table
from harness.core.cell import Cell
from harness.core.errors import CellError, CheckoutError, HarnessError
from harness.core.events import subscribed
from harness.core.run_id import new_run_id
from harness.kernels.osv.clones import CommitClones
from harness.metrics import guest_benchmarks, registry, suite
from harness.metrics.history.store import History
from harness.metrics.records import Sample
from harness.report.model.formatting import shown
from harness.report.progress import Progress
from harness.runner.session import Session

LIST_WIDTH = 80


@dataclass
class Arguments(FarmOptions, KernelFiles):
    """The cells, and what to measure."""

    cell: Annotated[
        tuple[str, ...], argument("cell", nargs=-1, shell_complete=complete.cells, help="a cell's name: qemu-rofs")
    ]
    only: Annotated[
        tuple[str, ...],
        option(
            "--only", multiple=True, metavar="NAME", shell_complete=complete.measurements,
            help=f"one measurement (repeatable): {', '.join(suite.KERNEL)}, a benchmark, app-NAME; "
            f"default: the first {len(suite.KERNEL)}",
        ),
    ]  # fmt: skip
    at: Annotated[
        tuple[str, ...],
        option(
            "--at", multiple=True, metavar="COMMIT", shell_complete=complete.commits,
            help="measure that commit of the OSv checkout (repeatable)",
        ),
    ]  # fmt: skip
    duration: LoadSeconds
    history: HistoryUrl
    forget: Forget
    samples: Annotated[bool, option("--samples", is_flag=True, help="show each sample on a line of its own")]
    list: Annotated[
        bool, option("--list", is_flag=True, help="say what is measured and how (default: of qemu-rofs)")
    ]


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """Measure, show, store."""
    session = session_of(arguments)
    if arguments.list:
        for name in arguments.cell or ("qemu-rofs",):
            screen().print(*_listed(session.cell(name)), width=LIST_WIDTH, sep="\n", markup=False)
        return 0
    if not arguments.cell:
        raise CellError("No cell is named that is to be measured.", "`osv-harness perf --help` tells how.")
    for name in arguments.cell:
        for only in arguments.only:
            suite.check(session.cell(name), only)
    if arguments.farm:
        return _measure_on_farm(session, arguments, arguments.farm)
    run = new_run_id()
    if not arguments.at:
        _measure(session, arguments, run)
    for name in arguments.at:
        if session.osv_root is None:
            raise CheckoutError("No OSv checkout is named whose commits --at means.", "Set OSV_ROOT.")
        revisions = CommitClones(session.osv_root, session.cache)
        with revisions.at(revisions.resolve(name)) as root:
            _measure(Session(root, session.cache), arguments, run)
    return 0


def _measure_on_farm(session: Session, arguments: Arguments, scheduler: str) -> int:
    """Measure on a farm, each cell on one worker, and show the numbers; returns 1 if one is missing."""
    if arguments.at or arguments.forget:
        raise HarnessError("Neither --at nor --forget goes with --farm.", "Give workers checkouts at the commit.")
    known = tls(arguments)
    from harness.integrations.farm.dispatcher import Plan
    from harness.integrations.farm.run import Farm, run_on_farm

    cells, run = [session.cell(name) for name in arguments.cell], new_run_id()
    plan = Plan((), measurements=tuple(arguments.only or suite.KERNEL), duration=arguments.duration)
    farm = Farm(scheduler, known)
    with subscribed(Progress()), History(arguments.history) as history:
        _, not_run = run_on_farm(farm, session, cells, plan, run, history, Path("runs") / run)
        for cell in cells:
            if taken := history.samples(run=run, cell=str(cell)):
                screen().print(_table(taken, arguments.samples), "")
    show_not_run(not_run)
    return 1 if not_run else 0


def _measure(session: Session, arguments: Arguments, run: str) -> None:
    for cell in [session.cell(name) for name in arguments.cell]:
        for name in arguments.only or suite.of_kernel():
            with subscribed(Progress()):
                measured = suite.prepare(session, cell, name, run, arguments.duration).take()
            if not arguments.forget:
                with History(arguments.history) as history:
                    history.add(measured.records)
            screen().print(_table(measured.samples, arguments.samples), "")


def _listed(cell: Cell) -> Iterator[object]:
    """What is measured of the cell, by which measurement, in which unit, and how."""
    yield f"{cell}: each measurement (for --only), and what it gives"
    names, benchmarks = suite.names(cell), guest_benchmarks.benchmarks(cell.kernel, "tcg")
    rows = table("metric", "unit", "how it is measured")
    for measurement, row in registry.every_row().items():
        if measurement in names:
            _add_metrics(rows, measurement, row.metrics)
    for one in (one for one in benchmarks if one.program.name in names):
        of_guest = [registry.MetricRow(row["metric"], row["unit"], "printed by it") for row in one.numbers]
        _add_metrics(rows, one.program.name, of_guest)
    if loaded := [name for name in names if name.startswith(f"{registry.APP}-")]:
        _add_metrics(rows, f"{registry.APP}-NAME", registry.every_row()[registry.APP].metrics)
        yield rows
        yield f"NAME is one of: {', '.join(name.removeprefix('app-') for name in loaded)}\n"
    else:
        yield rows


def _add_metrics(rows: Table, measurement: str, metrics: Iterable[registry.MetricRow]) -> None:
    rows.add_row(Text(measurement, "bold"))
    for one in metrics:
        pattern = re.sub(r"\{(\w+)\}", lambda found: "NAME" if found[1] == "app" else found[1].upper(), one.name)
        rows.add_row(f"  {pattern}", one.unit, one.how)


def _table(samples: Iterable[Sample], each: bool) -> object:
    """One line per metric and subject: the median of its samples, their range and number; or `each` sample."""
    taken: dict[tuple[str, ...], list[Sample]] = {}
    for one in samples:
        taken.setdefault((one.metric.name, one.subject, *([one.id] if each else [])), []).append(one)
    rows = table("metric", "value", "range", "samples", "of")
    rows.title_justify = "left"
    for alike in taken.values():
        one, values = alike[0], [sample.value for sample in alike]
        rows.title = f"{one.cell}, {one.version.described}"
        rows.add_row(
            one.metric.name, _figure(one, median(values)), _range(one, values), str(len(values)), one.subject
        )
    return rows


def _range(sample: Sample, values: list[float]) -> str:
    """From the smallest to the largest; for one sample that stands for several numbers, their spread."""
    if len(values) == 1:
        return f"{shown(sample.spread, sample.metric.unit)} wide" if sample.spread else ""
    low, high = _figure(sample, min(values)), _figure(sample, max(values))
    return "none" if min(values) == max(values) else f"{low} to {high}"


def _figure(one: Sample, value: float) -> str:
    return f"{value:,.0f} {one.metric.unit}" if one.metric.exact else shown(value, one.metric.unit)
