"""Spread cells' tests and measurements over many machines (needs the extra: osv-harness[farm])."""

import argparse
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cell import Cell
from harness.commands._farm import add_tls, plain, run_name, show_unrun, tls
from harness.commands._numbers import positive
from harness.commands._screen import screen, table
from harness.errors import HarnessError
from harness.events import subscribed
from harness.farm.abilities import abilities
from harness.history.store import History
from harness.lab import Lab
from harness.measure import suite
from harness.report.progress import Progress

if TYPE_CHECKING:
    from harness.farm.asking import Unrun
    from harness.farm.landing import Landing

PORT = 8786
TESTS = "test"
MEASUREMENTS = "perf"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`scheduler`, `worker ADDRESS`, `run CELL… --farm ADDRESS`."""
    verbs = parser.add_subparsers(metavar="scheduler|worker|run", required=True)
    scheduler = verbs.add_parser("scheduler", help="be the place where workers and runs meet")
    scheduler.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS", help="(default: 127.0.0.1)")
    scheduler.add_argument("--port", type=int, default=PORT, help=f"(default: {PORT}; 0: a free one)")
    scheduler.add_argument(
        "--patience", type=float, default=60.0, metavar="SECONDS",
        help="how long a task waits for a worker that can run it (default: 60)",
    )  # fmt: skip
    add_tls(scheduler)
    scheduler.set_defaults(verb=_scheduler)
    worker = verbs.add_parser("worker", help="run what this host can, one thing at a time")
    worker.add_argument("farm", metavar="ADDRESS", help="the scheduler's: tcp://HOST:PORT")
    worker.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS", help="(default: 127.0.0.1)")
    worker.add_argument(
        "--name", default=f"{os.uname().nodename}-{os.getpid()}", help="(default: host and process)"
    )
    worker.add_argument(
        "--without", action="append", default=[], metavar="ABILITY",
        help="what it shall not do though it could (repeatable): arch-aarch64, hypervisor-xen",
    )  # fmt: skip
    add_tls(worker)
    worker.set_defaults(verb=_worker)
    run_ = verbs.add_parser("run", help="test and measure cells on the farm's workers")
    run_.add_argument("cell", nargs="*", help="a cell's name: qemu-ramfs")
    run_.add_argument("--set", metavar="NAME", help="the cells of a named set")
    run_.add_argument("--kernel", metavar="NAME", help="of the set (default: osv where a checkout is named)")
    run_.add_argument("--only", choices=[TESTS, MEASUREMENTS], help="(default: both)")
    run_.add_argument(
        "--test", action="append", metavar="PATTERN", help="tests by name, * and ? allowed (repeatable)"
    )
    run_.add_argument(
        "--measure", action="append", metavar="NAME",
        help=f"one measurement (repeatable; default: {', '.join(suite.KERNEL)})",
    )  # fmt: skip
    run_.add_argument("--duration", type=positive, default=5.0, metavar="SECONDS", help="of each load of an app")
    run_.add_argument("--together", action="store_true", help="measure all cells on one worker, to compare them")
    run_.add_argument("--accelerator", choices=["kvm", "tcg"], help="only on workers whose guests it runs")
    run_.add_argument("--chunk", type=int, default=20, metavar="N", help="tests a task (default: 20)")
    run_.add_argument(
        "--run", dest="name", metavar="NAME", help="of the run; that of one that was broken off goes on with it"
    )
    run_.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where evidence is kept")
    run_.add_argument("--history", metavar="URL", help="where all results land (default: the user's own)")
    run_.add_argument("--farm", required=True, metavar="ADDRESS", help="the scheduler's: tcp://HOST:PORT")
    add_tls(run_)
    run_.set_defaults(verb=_run)


def run(arguments: argparse.Namespace) -> int:
    """Be a part of the farm, or have it run something: 1 where something is not as expected, or was not run."""
    status: int = arguments.verb(arguments)
    return status


def _scheduler(arguments: argparse.Namespace) -> int:
    known = tls(arguments)
    from harness.farm.cluster import serve_scheduler

    serve_scheduler(arguments.listen, arguments.port, arguments.patience, known)
    return 0


def _worker(arguments: argparse.Namespace) -> int:
    known = tls(arguments)
    from harness.farm.cluster import serve_worker

    lab = Lab(arguments.osv_root)
    if arguments.osv_root:
        os.environ["OSV_ROOT"] = str(arguments.osv_root.absolute())
    found = abilities(lab, arguments.without)
    print(f"{arguments.name} can do: {', '.join(sorted(found))}", flush=True)
    serve_worker(arguments.farm, arguments.listen, arguments.name, found, lab.cache, known)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    known = tls(arguments)
    from harness.farm.asking import Plan
    from harness.farm.spreading import Farm, spread

    if arguments.chunk < 1:
        raise HarnessError(f"--chunk {arguments.chunk} is no number of tests.", "Give a number from 1.")
    lab = Lab(arguments.osv_root)
    cells = _cells(lab, arguments)
    name = arguments.name or run_name()
    plan = Plan(
        tuple(arguments.test or ["*"]) if arguments.only != MEASUREMENTS else (),
        arguments.chunk,
        tuple(arguments.measure or suite.KERNEL) if arguments.only != TESTS else (),
        arguments.together,
        arguments.duration,
    )
    farm = Farm(arguments.farm, known, arguments.accelerator or "")
    with subscribed(Progress()), History(arguments.history) as history:
        landing, unrun = spread(farm, lab, cells, plan, name, history, arguments.runs / name)
        where = history.where
    _show(cells, landing, unrun)
    screen().print(f"run {name} in {where}", markup=False, soft_wrap=True)
    return 1 if unrun or landing.unexpected else 0


def _cells(lab: Lab, arguments: argparse.Namespace) -> list[Cell]:
    kernel = lab.matrix.named("kernel", arguments.kernel or lab.default_kernel)
    cells = [lab.cell(name) for name in arguments.cell]
    cells += lab.matrix.set(arguments.set, kernel) if arguments.set else []
    if not cells:
        raise HarnessError("No cell is named.", "Name cells, or a set with --set.")
    return list(dict.fromkeys(cells))


def _show(cells: Sequence[Cell], landing: "Landing", unrun: Sequence["Unrun"]) -> None:
    out = screen()
    rows = table("cell", "verdicts", "samples", "not run")
    not_run: dict[str, list[Unrun]] = defaultdict(list)
    for one in unrun:
        not_run[one.cell].append(one)
    for cell in map(str, cells):
        counted = {outcome: n for (of, outcome), n in sorted(landing.outcomes.items()) if of == cell}
        verdicts = ", ".join(f"{n} {outcome}" for outcome, n in counted.items())
        missing = not_run[cell]
        lost = "" if not missing else "all of it" if not missing[0].what else str(len(missing))
        rows.add_row(cell, verdicts, str(landing.samples[cell] or ""), lost)
    out.print(rows)
    for worker, count in landing.workers.most_common():
        out.print(f"{count} records by {worker}", markup=False, soft_wrap=True)
    for judged in landing.unexpected:
        said = f"{judged.test} on {judged.cell}: {judged.outcome}: {judged.reason}"
        out.print(plain(said), style="red", markup=False, soft_wrap=True)
    show_unrun(unrun)
