"""Spread cells' tests and measurements over many machines (needs the extra: osv-harness[farm])."""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import click

from harness.cli import completion as complete
from harness.cli.declaration import Group, argument, option
from harness.cli.farm_options import TlsOptions, show_not_run, tls
from harness.cli.options import LISTEN, Common, HistoryUrl, KernelName, LoadSeconds, RunsFolder, SetName
from harness.cli.output import screen, table
from harness.core.cell import Cell
from harness.core.errors import HarnessError
from harness.core.events import subscribed
from harness.core.run_id import new_run_id
from harness.core.text import one_line
from harness.integrations.farm.capabilities import capabilities
from harness.metrics import suite
from harness.metrics.history.store import History
from harness.report.progress import Progress
from harness.report.reuse_lines import ALARM
from harness.runner.session import Session

if TYPE_CHECKING:
    from harness.integrations.farm.dispatcher import NotRun
    from harness.integrations.farm.result_sink import ResultSink

PORT = 8786
TESTS = "test"
MEASUREMENTS = "perf"


_AT = "the scheduler's: tcp://HOST:PORT"


@dataclass
class SchedulerArguments(TlsOptions):
    """Where it listens, and how long tasks wait."""

    listen: Annotated[str, LISTEN]
    port: Annotated[int, option("--port", type=int, default=PORT, metavar="PORT", help="0: a free one")]
    patience: Annotated[
        float,
        option(
            "--patience", type=float, default=60.0, metavar="SECONDS",
            help="how long a task waits for a worker that can run it",
        ),
    ]  # fmt: skip


@dataclass
class WorkerArguments(TlsOptions):
    """The scheduler, and what the worker offers."""

    farm: Annotated[str, argument("farm", metavar="ADDRESS", help=_AT)]
    listen: Annotated[str, LISTEN]
    name: Annotated[
        str,
        option(
            "--name", default=f"{os.uname().nodename}-{os.getpid()}", show_default=False, metavar="NAME",
            help="(default: host and process)",
        ),
    ]  # fmt: skip
    without: Annotated[
        tuple[str, ...],
        option(
            "--without", multiple=True, metavar="ABILITY",
            help="what it shall not do though it could (repeatable): arch-aarch64, hypervisor-xen",
        ),
    ]  # fmt: skip


@dataclass
class RunArguments(TlsOptions):
    """The cells, their tests and measurements, and where to store the results."""

    cell: Annotated[
        tuple[str, ...],
        argument("cell", nargs=-1, shell_complete=complete.cells, help="a cell's name: qemu-ramfs"),
    ]
    set: SetName
    kernel: KernelName
    only: Annotated[str | None, option("--only", type=click.Choice([TESTS, MEASUREMENTS]), help="(default: both)")]
    test: Annotated[
        tuple[str, ...],
        option(
            "--test", multiple=True, metavar="PATTERN", shell_complete=complete.tests,
            help="tests by name, * and ? allowed (repeatable)",
        ),
    ]  # fmt: skip
    measure: Annotated[
        tuple[str, ...],
        option(
            "--measure", multiple=True, metavar="NAME", shell_complete=complete.measurements,
            help=f"one measurement (repeatable; default: {', '.join(suite.KERNEL)})",
        ),
    ]  # fmt: skip
    duration: LoadSeconds
    together: Annotated[
        bool, option("--together", is_flag=True, help="measure all cells on one worker, to compare them")
    ]
    accelerator: Annotated[
        str | None,
        option("--accelerator", type=click.Choice(["kvm", "tcg"]), help="only on workers whose guests it runs"),
    ]
    reuse: Annotated[
        bool | None,
        option(
            "--reuse/--no-reuse", default=None, show_default=False,
            help="run no test of which the history has a verdict (default: yes, without --test)",
        ),
    ]  # fmt: skip
    reuse_check: Annotated[
        float,
        option(
            "--reuse-check", type=click.FloatRange(0, 100), default=5.0, metavar="PERCENT",
            help="of it that is run all the same",
        ),
    ]  # fmt: skip
    chunk: Annotated[int, option("--chunk", type=int, default=20, metavar="N", help="tests a task")]
    name: Annotated[
        str | None,
        option(
            "--run", "name", metavar="NAME",
            help="of the run; that of one that was broken off goes on with it",
        ),
    ]  # fmt: skip
    runs: RunsFolder
    history: HistoryUrl
    farm: Annotated[str, option("--farm", required=True, metavar="ADDRESS", help=_AT)]


command = Group(__doc__, Common)


@command.subcommand("scheduler", "be the place where workers and runs meet")
def _scheduler(arguments: SchedulerArguments) -> int:
    known = tls(arguments)
    from harness.integrations.farm.dask_cluster import serve_scheduler

    serve_scheduler(arguments.listen, arguments.port, arguments.patience, known)
    return 0


@command.subcommand("worker", "run what this host can, one thing at a time")
def _worker(arguments: WorkerArguments) -> int:
    known = tls(arguments)
    from harness.integrations.farm.dask_cluster import serve_worker

    session = Session(arguments.osv_root)
    if arguments.osv_root:
        os.environ["OSV_ROOT"] = str(arguments.osv_root.absolute())
    found = capabilities(session, arguments.without)
    print(f"{arguments.name} can do: {', '.join(sorted(found))}", flush=True)
    serve_worker(arguments.farm, arguments.listen, arguments.name, found, session.cache, known)
    return 0


@command.subcommand("run", "test and measure cells on the farm's workers")
def _run(arguments: RunArguments) -> int:
    """Returns 1 if a result is not as expected, or something was not run."""
    known = tls(arguments)
    from harness.integrations.farm.dispatcher import Plan
    from harness.integrations.farm.reuse import FarmReuse
    from harness.integrations.farm.run import Farm, run_on_farm

    if arguments.chunk < 1:
        raise HarnessError(f"--chunk {arguments.chunk} is no number of tests.", "Give a number from 1.")
    session = Session(arguments.osv_root)
    cells = _cells(session, arguments)
    for cell in cells:
        for wanted in arguments.measure:
            suite.check(cell, wanted)
    name = arguments.name or new_run_id()
    plan = Plan(
        tuple(arguments.test or ["*"]) if arguments.only != MEASUREMENTS else (),
        arguments.chunk,
        tuple(arguments.measure or suite.KERNEL) if arguments.only != TESTS else (),
        arguments.together,
        arguments.duration,
    )
    farm = Farm(arguments.farm, known, arguments.accelerator or "")
    wants_reuse = not arguments.test if arguments.reuse is None else arguments.reuse
    with subscribed(Progress()), History(arguments.history) as history:
        reuse = FarmReuse(session, history, name, arguments.reuse_check / 100) if wants_reuse else None
        results, not_run = run_on_farm(farm, session, cells, plan, name, history, arguments.runs / name, reuse)
        where = history.where
    _show(cells, results, not_run)
    differed = reuse.differed if reuse else {}
    for where_differs, found in differed.items():
        for test, how in found.items():
            said = f"{ALARM}: {where_differs}/{test}: {how}"
            screen().print(one_line(said), style="red", markup=False, soft_wrap=True)
    screen().print(f"run {name} in {where}", markup=False, soft_wrap=True)
    return 1 if not_run or results.unexpected or differed else 0


def _cells(session: Session, arguments: RunArguments) -> list[Cell]:
    kernel = session.matrix.named("kernel", arguments.kernel or session.default_kernel)
    cells = [session.cell(name) for name in arguments.cell]
    cells += session.matrix.set(arguments.set, kernel) if arguments.set else []
    if not cells:
        raise HarnessError("No cell is named.", "Name cells, or a set with --set.")
    return list(dict.fromkeys(cells))


def _show(cells: Sequence[Cell], results: "ResultSink", not_run: Sequence["NotRun"]) -> None:
    out = screen()
    rows = table("cell", "verdicts", "samples", "not run")
    missing_of: dict[str, list[NotRun]] = defaultdict(list)
    for one in not_run:
        missing_of[one.cell].append(one)
    for cell in map(str, cells):
        counted = {outcome: n for (of, outcome), n in sorted(results.outcomes.items()) if of == cell}
        verdicts = ", ".join(f"{n} {outcome}" for outcome, n in counted.items())
        missing = missing_of[cell]
        lost = "" if not missing else "all of it" if not missing[0].what else str(len(missing))
        rows.add_row(cell, verdicts, str(results.samples[cell] or ""), lost)
    out.print(rows)
    for worker, count in results.workers.most_common():
        out.print(f"{count} records by {worker}", markup=False, soft_wrap=True)
    for judged in results.unexpected:
        said = f"{judged.test} on {judged.cell}: {judged.outcome}: {judged.reason}"
        out.print(one_line(said), style="red", markup=False, soft_wrap=True)
    show_not_run(not_run)
