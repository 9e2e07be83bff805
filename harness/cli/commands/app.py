"""Run an app of `apps/` in a guest, with its loads; list them; or write a new one's file."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console

from harness.cli import completion as complete
from harness.cli.declaration import Group, argument, option
from harness.cli.options import AsJson, Common, LaunchModes, RunsFolder, each_load
from harness.cli.output import screen, table
from harness.core.cell import Cell
from harness.core.events import subscribed
from harness.core.run_id import new_run_id
from harness.report import evidence, reproduce
from harness.report.load_results import measured, write_loads
from harness.report.model.formatting import shown
from harness.report.progress import Progress
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.workloads.apps import app as apps
from harness.workloads.apps.run import AppRun, run_app
from harness.workloads.apps.scaffold import write_new
from harness.workloads.load.run import Load, Result, Second


@dataclass
class RunArguments(Common):
    """The apps, the cells, and the loads."""

    name: Annotated[
        tuple[str, ...],
        argument(
            "name", nargs=-1, required=True, shell_complete=complete.apps,
            help="an app's name: nginx; figures of several stand in one table",
        ),
    ]  # fmt: skip
    cell: Annotated[
        tuple[str, ...],
        option(
            "--cell", multiple=True, shell_complete=complete.cells,
            help="a cell's name (default: qemu-rofs); more than one are compared",
        ),
    ]  # fmt: skip
    launch: LaunchModes
    load: Annotated[
        tuple[str, ...],
        option(
            "--load", multiple=True, metavar="NAME", shell_complete=complete.loads,
            help="a load of the app (default: all of them)",
        ),
    ]  # fmt: skip
    duration: Annotated[float | None, each_load(None)]
    runs: RunsFolder
    json: AsJson


@dataclass
class LsArguments(Common):
    """The cell."""

    cell: Annotated[
        str,
        option(
            "--cell", default="qemu-rofs", shell_complete=complete.cells, help="the cell whose apps are listed"
        ),
    ]  # fmt: skip


@dataclass
class NewArguments(Common):
    """The app's name and its package."""

    name: Annotated[str, argument("name", help="the new app's: ./apps/NAME.toml is written")]
    package: Annotated[
        str, option("--package", required=True, metavar="NAME", help="the Debian package with the program")
    ]


command = Group(__doc__, Common)


@command.subcommand("run", "boot it, check it, load it, end it")
def _run(arguments: RunArguments) -> int:
    """Run every app on every cell, one after the other; returns 1 if any did not pass."""
    session = Session(arguments.osv_root)
    named = [session.cell(name) for name in arguments.cell or ["qemu-rofs"]]
    cells = session.matrix.vary(named, link_modes=arguments.launch)
    for cell in cells:
        session.check_runs(cell)
    planned = [(cell, apps.app(name, cell)) for name in arguments.name for cell in cells]
    runs = arguments.runs / new_run_id()
    out = screen()
    results = []
    for cell, program in planned:
        live = _Live(Console(stderr=True, highlight=False, emoji=False))
        with subscribed(Progress()):
            result = run_app(session, cell, program, arguments.load, arguments.duration, live, alone=True)
        live.end()
        accelerator = session.recorded_accelerator(cell)
        again = reproduce.app_again(
            session, cell, program.name, arguments.load, arguments.duration, arguments.runs
        )
        folder = evidence.write(result.run, result.image, accelerator, runs, again)
        write_loads(result, folder)
        if arguments.json:
            print(json.dumps(evidence.summary(result.run, result.image, accelerator) | measured(result)))
        else:
            _show_verdict(out, result, folder)
        results.append((cell, result))
    if not arguments.json:
        _show_figures(out, results)
    return 0 if all(result.run.verdict.outcome is Outcome.PASSED for _, result in results) else 1


def _show_verdict(out: Console, result: AppRun, folder: Path) -> None:
    verdict = result.run.verdict
    for line in verdict.lines:
        out.print(f"{line.at:9.3f}  {line.text}", markup=False)
    out.print(f"{result.app.name} on {result.image.cell}: {verdict.outcome}: {verdict.reason}", markup=False)
    out.print(f"  evidence: {folder}", markup=False)


def _show_figures(out: Console, results: Sequence[tuple[Cell, AppRun]]) -> None:
    guests = table("app", "cell", "guest", "first answer, s", "memory", "kernel and disks")
    for cell, app_run in results:
        ready, memory = (
            f"{app_run.ready_seconds:.2f}" if app_run.ready_seconds else "",
            shown(app_run.memory.private, "B") if app_run.memory.private else "",
        )
        size = shown(app_run.image_size, "B")
        guests.add_row(app_run.app.name, str(cell), app_run.run.origin, ready, memory, size)
    out.print(guests)
    if not any(one.loads for _, one in results):
        return
    loads = table("app", "cell", "load", "by", "requests/s", "failures", "p50 ms", "p99 ms", "p99.9 ms", "")
    for cell, app_run in results:
        for result in app_run.loads:
            loads.add_row(
                app_run.app.name, str(cell), result.scenario, f"{result.tool}, {result.mode}",
                f"{result.throughput:.0f}",
                str(sum(result.failures.values())), *(_ms(result, p) for p in (50, 99, 99.9)),
                f"limited by the generator: {result.generator.why}" if result.generator.limited else "",
            )  # fmt: skip
    out.print(loads)


def _ms(result: Result, p: float) -> str:
    return f"{result.percentile(p) / 1000:.2f}"


class _Live:
    """A line on the terminal with throughput, latency and failures, updated every second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._second = 0

    def __call__(self, load: Load, second: Second) -> None:
        self._second += 1
        failed = second.failures
        text = (
            f"{load.name} {self._second} s: {second.requests} answers/s, {failed} failed, "
            f"p50 {second.p50 / 1000:.2f} ms, p99 {second.p99 / 1000:.2f} ms"
        )
        self._show(f"\r\x1b[K{text}" if self._console.is_terminal else f"{text}\n")

    def end(self) -> None:
        """Finish the line."""
        if self._console.is_terminal and self._second:
            self._show("\n")

    def _show(self, text: str) -> None:
        with suppress(OSError):  # the load goes on even if this can not be shown
            self._console.file.write(text)
            self._console.file.flush()


@command.subcommand("ls", "every app, and what it is")
def _ls(arguments: LsArguments) -> int:
    session = Session(arguments.osv_root)
    cell = session.cell(arguments.cell)
    rows = table("app", "what", "serves", "loads")
    for name in apps.names_for(cell):
        one = apps.app(name, cell)
        rows.add_row(name, one.summary, f"port {one.port}" if one.port else "ends by itself", ", ".join(one.loads))
    screen().print(rows)
    return 0


@command.subcommand("new", "write the file of a new app")
def _new(arguments: NewArguments) -> int:
    session = Session(arguments.osv_root)
    with subscribed(Progress()):
        path = write_new(arguments.name, arguments.package, session.cache)
    print(f"{path}: now say how it is started, and what it answers")
    return 0
