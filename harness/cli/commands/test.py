"""Run in-guest tests of a cell by name and show each one's verdict and console."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from harness.cli.declaration import declare, option
from harness.cli.kernel_files import KernelFiles, session_of
from harness.cli.number_types import COUNT
from harness.cli.options import (
    AsJson,
    CellName,
    Forget,
    HistoryUrl,
    LaunchModes,
    RunsFolder,
    TestNames,
    VariantNames,
)  # fmt: skip
from harness.cli.output import screen
from harness.cli.parallel import runs
from harness.cli.streams import print_error
from harness.core.cell import Cell
from harness.core.errors import HarnessError
from harness.core.events import subscribed
from harness.core.machine import Image
from harness.core.run_id import new_run_id
from harness.metrics.verdict_writer import Verdicts, Writer
from harness.report import evidence, reproduce
from harness.report.progress import Progress
from harness.runner.base import Program, Run
from harness.runner.expectations import is_expected
from harness.runner.session import Session
from harness.runner.verdict import Outcome


@dataclass
class Arguments(KernelFiles):
    """The cell and its tests."""

    cell: CellName
    test: TestNames
    variant: VariantNames
    launch: LaunchModes
    jobs: Annotated[
        int,
        option(
            "--jobs", "-j", type=COUNT, default=1, metavar="N",
            help="tests that run at once, as far as this host has cpus for their guests",
        ),
    ]  # fmt: skip
    fork: Annotated[bool, option("--fork", is_flag=True, help="run OSv's tests in forks of a booted guest")]
    runs: RunsFolder
    history: HistoryUrl
    forget: Forget
    json: AsJson


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """Run the named tests in the given order, or all of the cell's; returns 1 if any did not pass."""
    session = session_of(arguments, fork=arguments.fork)
    cells = session.matrix.vary([session.cell(arguments.cell)], arguments.variant, arguments.launch)
    for cell in cells:
        session.check_runs(cell)
    with subscribed(Progress()):
        tests = [(cell, program) for cell in cells for program in chosen(session, cell, arguments.test)]
    run = new_run_id()
    verdicts, writer = Verdicts(session, run), None if arguments.forget else Writer(arguments.history)
    worst, not_stored = 0, False
    with closing(runs(session, tests, arguments.jobs)) as results:
        for cell, program in tests:
            if writer:
                writer.start()
            result = next(results)
            image, accelerator = session.image(cell), session.recorded_accelerator(cell)
            for one in (result.first, result) if writer else ():
                if writer and one:
                    good = is_expected(cell, program.name, accelerator, one.verdict.outcome)
                    for record in verdicts.of(image, one, good):
                        writer.add(record)
            where = f"{session.matrix.short(cell)}: " if len(cells) > 1 else ""
            _print_verdict(evidence.summary(result, image, accelerator) if arguments.json else None, result, where)
            if result.verdict.outcome is not Outcome.PASSED:
                worst = 1
                again = reproduce.test_again(session, cell, program.name, arguments.runs)
                not_stored |= not _write_evidence(result, image, accelerator, arguments.runs / run, again)
    if writer and (failed := writer.finish()):
        print_error(HarnessError(f"No verdict was kept: {failed}"))
        not_stored |= bool(arguments.history)  # an explicit history must be written
    return 2 if not_stored else worst


def _write_evidence(result: Run, image: Image, accelerator: str, runs: Path, again: str) -> bool:
    """Write the evidence and say where, or why not: the verdicts of other tests are not lost."""
    try:
        folder = evidence.write(result, image, accelerator, runs, again)
    except HarnessError as error:
        print_error(error)
        return False
    screen().print(f"  evidence: {folder}", markup=False)
    return True


def _print_verdict(summary: Mapping[str, object] | None, result: Run, where: str) -> None:
    """Print the summary as JSON, or the verdict for people if there is none."""
    if summary is not None:
        print(json.dumps(summary), flush=True)
        return
    out = screen()
    for line in result.verdict.lines:
        out.print(f"{line.at:9.3f}  {line.text}", markup=False)
    verdict = f"{result.verdict.outcome}: {result.verdict.reason}"
    out.print(f"{where}{result.program.name}: {verdict}", markup=False)
    for note in result.notes:
        out.print(f"  {note}", markup=False)


def chosen(session: Session, cell: Cell, names: Sequence[str]) -> list[Program]:
    """The tests that match the names and patterns, in their order, each once; all if none is given.

    Raises `CellError` with the nearest names if one of them matches no test.
    """
    everything = session.programs(cell)
    found: dict[str, Program] = {}
    for name in names or ["*"]:
        matching = [program for program in everything if fnmatchcase(program.name, name)]
        for program in matching or [session.program(cell, name)]:
            found[program.name] = program
    return list(found.values())
