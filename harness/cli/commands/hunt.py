"""Run tests by many schedules of their vCPUs, each of which can be run again, until one is no pass."""

from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from time import monotonic
from typing import Annotated

import click

from harness.analysis.hunt.seed import Seed, check, seeded
from harness.analysis.hunt.shrinking import shrink
from harness.cli.commands.test import chosen
from harness.cli.declaration import declare, option
from harness.cli.number_types import COUNT, POSITIVE
from harness.cli.options import CellName, Common, HistoryUrl, RunsFolder, TestNames
from harness.cli.output import screen
from harness.cli.parallel import runs
from harness.cli.racing_lines import write_evidence
from harness.core.cell import Cell
from harness.core.errors import CellError
from harness.core.events import subscribed
from harness.core.run_id import new_run_id
from harness.core.schedule import Schedule
from harness.core.text import printable
from harness.metrics.history.store import History
from harness.report.morning.flaky_names import flaky_names
from harness.report.progress import Progress
from harness.runner.base import Program, Run
from harness.runner.expectations import is_expected
from harness.runner.session import Session
from harness.runner.verdict import Outcome

NO_FIND = (Outcome.PASSED, Outcome.SKIPPED)
TRIES = click.IntRange(min=0)


@dataclass(frozen=True, slots=True)
class Find:
    """A test's run that is no pass, and its schedule."""

    program: Program
    schedule: Schedule
    run: Run

    def is_like(self, other: Run) -> bool:
        """Whether another run failed in the same way."""
        return self.run.verdict.identity == other.verdict.identity


@dataclass
class Arguments(Common):
    """The tests, and how long to hunt."""

    cell: CellName
    test: TestNames
    flaky: Annotated[
        bool, option("--flaky", is_flag=True, help="the tests that the history knows as flaky, and no others")
    ]
    history: HistoryUrl
    seeds: Annotated[
        int, option("--seeds", type=COUNT, default=50, metavar="N", help="schedules of each test")
    ]
    first: Annotated[
        int, option("--first", type=COUNT, default=1, metavar="N", help="the number of the first schedule")
    ]
    minutes: Annotated[
        float | None, option("--minutes", type=POSITIVE, metavar="M", help="begin no run after so many")
    ]
    cpus: Annotated[int, option("--cpus", type=COUNT, default=2, metavar="N", help="vCPUs of a guest")]
    jobs: Annotated[
        int, option("--jobs", "-j", type=COUNT, default=1, metavar="N", help="guests that run at once")
    ]
    simplify: Annotated[
        int,
        option(
            "--simplify", type=TRIES, default=20, metavar="N",
            help="runs that make a schedule that was found simpler",
        ),
    ]  # fmt: skip
    runs: RunsFolder


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """Schedule after schedule of all tests; 1 where one is found that is no pass, 2 where one could not be run."""
    session = Session(arguments.osv_root)
    cell = session.cell(arguments.cell)
    session.check_runs(cell)
    with subscribed(Progress()):
        programs = _flaky(session, cell, arguments) if arguments.flaky else chosen(session, cell, arguments.test)
    for program in programs:
        check(session, cell, program)
    if not programs:
        return 0
    numbers = range(arguments.first, arguments.first + arguments.seeds)
    drawn = [(Schedule.drawn(number, arguments.cpus), program) for number, program in product(numbers, programs)]
    asked = [(cell, seeded(program, schedule)) for schedule, program in drawn]
    began, done = monotonic(), 0
    with closing(runs(session, asked, arguments.jobs)) as results:
        for (schedule, program), run in zip(drawn, results, strict=True):
            done += 1
            outcome = run.verdict.outcome
            expected = is_expected(cell, program.name, session.recorded_accelerator(cell), outcome)
            if outcome not in NO_FIND and not expected:
                _tell(session, cell, Find(program, schedule, run), arguments.runs)
                screen().print(f"  the schedule was number {done} of {len(drawn)}", markup=False)
                if outcome is Outcome.HARNESS_ERROR:
                    return 2
                results.close()
                _simplify(session, cell, Find(program, schedule, run), arguments)
                return 1
            if arguments.minutes and monotonic() - began > 60 * arguments.minutes:
                break
    screen().print(f"{done} runs by {len(numbers)} schedules: none was found that is no pass", markup=False)
    return 0


def _flaky(session: Session, cell: Cell, arguments: Arguments) -> list[Program]:
    """The flaky tests of the history, or of those the ones that match, that the cell has and that can be hunted.
    Why others can't is printed."""
    with History(arguments.history) as history:
        names = flaky_names(history.judged(), cell.kernel)
    wanted = [name for name in names if any(fnmatchcase(name, one) for one in arguments.test or ["*"])]
    known = {program.name: program for program in session.programs(cell)}
    found = []
    for name in wanted:
        try:
            if name not in known:
                raise CellError(f"{cell} has no test {printable(name)}.")
            check(session, cell, known[name])
            found.append(known[name])
        except CellError as error:
            screen().print(error.message, markup=False)
    told = ", ".join(program.name for program in found)
    screen().print(f"Flaky, and to be hunted: {told or 'none'}.", markup=False)
    return found


def _tell(session: Session, cell: Cell, find: Find, runs: Path) -> None:
    """Print what was found, and write its evidence."""
    seed, verdict = Seed(str(cell), find.program.name, find.schedule), find.run.verdict
    screen().print(f"{seed}: {verdict.outcome}: {verdict.reason}", markup=False)
    folder = write_evidence(session, seed, seeded(find.program, find.schedule), find.run, runs / new_run_id())
    screen().print(f"  evidence: {folder}\n  again: osv-harness replay {seed}", markup=False)


def _simplify(session: Session, cell: Cell, find: Find, arguments: Arguments) -> None:
    """Look for a simpler schedule that fails in the same way, and tell it."""
    failed = {find.schedule: find.run}

    def fails(schedule: Schedule) -> bool:
        with subscribed(Progress()):
            run = session.run(cell, seeded(find.program, schedule))
        if find.is_like(run):
            failed[schedule] = run
        return schedule in failed

    shrunk = shrink(find.schedule, fails, arguments.simplify)
    if shrunk.schedule != find.schedule:
        _tell(session, cell, Find(find.program, shrunk.schedule, failed[shrunk.schedule]), arguments.runs)
    if shrunk.tried:
        screen().print(f"  none simpler of {shrunk.tried} schedules that were tried fails so", markup=False)
