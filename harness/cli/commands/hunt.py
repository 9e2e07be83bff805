"""Run tests by many schedules of their vCPUs, each of which can be run again, until one is no pass."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from math import inf
from pathlib import Path
from time import monotonic, time
from typing import Annotated

import click

from harness.analysis.hunt.budget import worthiest_first
from harness.analysis.hunt.record import KIND, Hunted, hunts_of, standing_find
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
from harness.core.events import Event, subscribed
from harness.core.run_id import new_run_id
from harness.core.schedule import Schedule
from harness.core.text import printable
from harness.metrics.history.store import History
from harness.metrics.sampler import version
from harness.report.morning.flaky_tests import flaky_tests
from harness.report.progress import Progress
from harness.runner.base import Program, Run
from harness.runner.expectations import is_expected
from harness.runner.session import Session
from harness.runner.verdict import Outcome

NO_FIND = (Outcome.PASSED, Outcome.SKIPPED)
MOST_LINES = 8
"""Lines of a find's console that the history keeps."""
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

    def on(self, hunted: Hunted) -> Hunted:
        """The record of the test's schedules, with what they found."""
        verdict, console = self.run.verdict, tuple(line.text for line in self.run.transcript.tail(MOST_LINES))
        seed = str(Seed(hunted.cell, hunted.test, self.schedule))
        return replace(hunted, seed=seed, outcome=verdict.outcome, reason=verdict.reason, console=console)


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
    keep_going: Annotated[
        bool,
        option("--keep-going", "-k", is_flag=True, help="hunt on for the other tests where one was found"),
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


@dataclass(frozen=True, slots=True)
class Attempt:
    """A test, and the number of the schedule by which it is to run."""

    program: Program
    number: int
    schedule: Schedule


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """Schedule after schedule of all tests; 1 where one is found that is no pass, 2 where one could not be run.

    With `--flaky` or `--keep-going` the other tests are hunted on; with `--flaky` the history gets what was done
    and found.
    """
    session = Session(arguments.osv_root)
    cell = session.cell(arguments.cell)
    session.check_runs(cell)
    with subscribed(Progress()):
        attempts = _of_flaky(session, cell, arguments) if arguments.flaky else _of_all(session, cell, arguments)
    deadline = monotonic() + 60 * arguments.minutes if arguments.minutes else inf
    if not attempts:
        return 0
    done, status = 0, 0
    while attempts and status < 2:
        total = done + len(attempts)
        ended: list[tuple[Attempt, Outcome]] = []
        try:
            find = _first_find(session, cell, attempts, arguments.jobs, deadline, ended)
        finally:  # also where Ctrl-C ends it
            done += len(ended)
            screen().print(f"{done} of {total} runs", markup=False)
        attempts = attempts[len(ended) :]
        if find:
            _tell(session, cell, find, arguments.runs)
            status = 2 if find.run.verdict.outcome is Outcome.HARNESS_ERROR else 1
        if find and status == 2:
            ended.pop()  # its schedule told nothing
        elif find:
            find = _simplify(session, cell, find, arguments, deadline)
        if arguments.flaky:
            _record(session, cell, arguments, ended, find if status < 2 else None)
        if find is None or not (arguments.flaky or arguments.keep_going) or monotonic() > deadline:
            break
        attempts = [one for one in attempts if one.program != find.program]
    if not status:
        screen().print("none was found that is no pass", markup=False)
    return status


def _of_all(session: Session, cell: Cell, arguments: Arguments) -> list[Attempt]:
    """All tests by the first schedule, then all by the next one."""
    programs = chosen(session, cell, arguments.test)
    for program in programs:
        check(session, cell, program)
    numbers = range(arguments.first, arguments.first + arguments.seeds)
    return [_attempt(program, number, arguments.cpus) for number, program in product(numbers, programs)]


def _attempt(program: Program, number: int, cpus: int) -> Attempt:
    return Attempt(program, number, Schedule.drawn(number, cpus))


def _first_find(
    session: Session, cell: Cell, attempts: Sequence[Attempt], jobs: int, deadline: float,
    ended: list[tuple[Attempt, Outcome]],
) -> Find | None:
    """What the last of the attempts that ended found; None where there was nothing in the time. `ended` gets them
    as they end."""
    asked = [(cell, seeded(one.program, one.schedule)) for one in attempts]
    with closing(Progress()) as progress, closing(runs(session, asked, jobs)) as results:
        for attempt, run in zip(attempts, results, strict=True):
            outcome = run.verdict.outcome
            ended.append((attempt, outcome))
            name = printable(attempt.program.name)
            last = f"{len(ended)} of {len(attempts)} runs, the last {name}: {outcome}"
            progress(Event("hunt.progress", str(cell), last))  # not published, for each run has its own progress
            expected = is_expected(cell, attempt.program.name, session.recorded_accelerator(cell), outcome)
            if outcome not in NO_FIND and not expected:
                return Find(attempt.program, attempt.schedule, run)
            if monotonic() > deadline:
                break
    return None


def _of_flaky(session: Session, cell: Cell, arguments: Arguments) -> list[Attempt]:
    """Those of the history's flaky tests, or of those the ones that match, that the cell has and that can be
    hunted, and tests of which a find stands: where a failure is likeliest first. Their numbers go on from those of
    earlier hunts. Why others can't be hunted is printed."""
    with History(arguments.history) as history:
        hunts = {test: found for (at, test), found in hunts_of(history.documents(KIND)).items() if at == str(cell)}
        chances = flaky_tests(history.judged(), cell.kernel)
    for test, hunted in hunts.items():
        if find := standing_find(hunted):
            chances[test] = max(chances.get(test, 0.0), 1 / (find.count + 1))
    asked = arguments.test or ["*"]
    programs = _huntable(session, cell, [test for test in chances if any(fnmatchcase(test, one) for one in asked)])
    chances = {test: chances[test] for test in programs}
    first = {test: max([arguments.first, *(one.last + 1 for one in hunts.get(test, ()))]) for test in programs}
    order = worthiest_first(chances, session.expected_seconds(cell), arguments.seeds)
    return [_attempt(programs[test], first[test] + place, arguments.cpus) for test, place in order]


def _huntable(session: Session, cell: Cell, names: Sequence[str]) -> dict[str, Program]:
    """The tests that can be hunted, by name; why others can't is printed."""
    known = {program.name: program for program in session.programs(cell)} if names else {}
    found = {}
    for name in names:
        try:
            if name not in known:
                raise CellError(f"{cell} has no test {printable(name)}.")
            check(session, cell, known[name])
            found[name] = known[name]
        except CellError as error:
            screen().print(error.message, markup=False)
    screen().print(f"Flaky, and to be hunted: {', '.join(found) or 'none'}.", markup=False)
    return found


def _record(
    session: Session, cell: Cell, arguments: Arguments, ended: Sequence[tuple[Attempt, Outcome]], find: Find | None
) -> None:
    """Keep in the history which schedules of each test ran, and what was found."""
    image = session.image(cell)
    of, run, now = version(image, session.kernel(cell.kernel).origin(image)), new_run_id(), time()
    rows = []
    for program in dict.fromkeys(one.program for one, _ in ended):
        own = [(one.number, outcome) for one, outcome in ended if one.program == program]
        passed = sum(outcome is Outcome.PASSED for _, outcome in own)
        row = Hunted(str(cell), program.name, own[0][0], own[-1][0], passed, of, now)
        rows.append(find.on(row) if find and find.program == program else row)
    with History(arguments.history) as history:
        history.add([row.document(run) for row in rows])


def _tell(session: Session, cell: Cell, find: Find, runs: Path) -> None:
    """Print what was found, and write its evidence."""
    seed, verdict = Seed(str(cell), find.program.name, find.schedule), find.run.verdict
    screen().print(f"{seed}: {verdict.outcome}: {verdict.reason}", markup=False)
    folder = write_evidence(session, seed, seeded(find.program, find.schedule), find.run, runs / new_run_id())
    screen().print(f"  evidence: {folder}\n  again: osv-harness replay {seed}", markup=False)


def _simplify(session: Session, cell: Cell, find: Find, arguments: Arguments, deadline: float) -> Find:
    """Look for a simpler schedule that fails in the same way, and tell it; returns what is left."""
    failed = {find.schedule: find.run}

    def fails(schedule: Schedule) -> bool:
        with subscribed(Progress()):
            run = session.run(cell, seeded(find.program, schedule))
        if find.is_like(run):
            failed[schedule] = run
        return schedule in failed

    shrunk = shrink(find.schedule, fails, arguments.simplify if monotonic() < deadline else 0)
    simplest = Find(find.program, shrunk.schedule, failed[shrunk.schedule])
    if shrunk.schedule != find.schedule:
        _tell(session, cell, simplest, arguments.runs)
    if shrunk.tried:
        screen().print(f"  none simpler of {shrunk.tried} schedules that were tried fails so", markup=False)
    return simplest
