"""Builds OSv's commits and boots them for the failure that a seed has found.

A seed stands for one run of one binary. For another commit its schedule is one of many, and tells no more than
they do, so each boot of a build has a schedule of its own. They are drawn near the seed's: where that failed,
others like it fail more often than any.
"""

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import TypeAlias

from harness.analysis.bisect.local_backend import BuildPool, TestBackend
from harness.analysis.bisect.model import Broken, Build, Built, Failure, Measure
from harness.analysis.hunt.seed import check, seeded
from harness.core.cell import Cell
from harness.core.errors import CellError
from harness.core.events import publish
from harness.core.schedule import Schedule
from harness.runner.base import Program, Run
from harness.runner.session import Session

Runs: TypeAlias = Callable[[Session, Sequence[tuple[Cell, Program]], int], Generator[Run, None, None]]
"""Runs programs, at most so many at once, and yields their runs in their order; closing it ends those that still
run."""


class SeedBackend(TestBackend):
    """Boots of a test by schedules near one that failed: as many at once as this process has cpus.

    `bad` is the build of the bad end, where the seed should fail.
    """

    def __init__(self, pool: BuildPool, test: str, schedule: Schedule, bad: Build, runs: Runs) -> None:
        super().__init__(pool, test)
        self._runs = runs
        self._schedule = schedule
        self._bad = bad

    def build(self, key: Build) -> Built | Broken:
        """Build the commit's image of tests. A commit whose guests can't be deterministic is broken."""
        built = super().build(key)
        if isinstance(built, Built):
            session, program = self._prepared(key)
            try:
                check(session, self._pool.cell, program)
            except CellError as error:
                return Broken(error.message)
        return built

    def boot(self, key: Build) -> float | Failure:
        """Run the test once by the schedule of the seed itself."""
        session, program = self._prepared(key)
        return self._outcome(key, session.run(self._pool.cell, seeded(program, self._schedule)).verdict)

    def boot_numbered(self, key: Build, numbers: range) -> Generator[float | Failure, None, None]:
        """Run the test once by the schedule of each number, near the seed's."""
        session, program = self._prepared(key)
        asked = [(self._pool.cell, seeded(program, self._schedule.near(number))) for number in numbers]
        jobs = min(len(asked), len(os.sched_getaffinity(0)))
        with closing(self._runs(session, asked, jobs)) as runs:
            for run in runs:
                yield self._outcome(key, run.verdict)

    def measure(self) -> Measure:
        """The test's outcome. What is looked for is how the seed fails at the bad end; if it passes there, for it
        was found with another binary, what tells the bad end from the good one.

        The seed's own run counts as no boot: it was chosen for its failure, so it says nothing of how many fail.
        """
        schedule, commit = str(self._schedule), self._pool.commits[self._bad.index][:12]
        found = self.boot(self._bad)
        cause = found.cause if isinstance(found, Failure) else ""
        publish("bisect.seed", f"{schedule} at {commit}", cause or "passes: it was found with another binary")
        return Measure.test(self._test, cause, schedule)
