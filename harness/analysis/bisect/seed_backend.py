"""Builds OSv's commits and boots them for the failure that a seed has found.

A seed stands for one run of one binary. For another commit its schedule is one of many, and tells no more than
they do, so each boot of a build has a schedule of its own. They are drawn near the seed's: where that failed,
others like it fail more often than any.
"""

import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

from harness.analysis.bisect.local_backend import BuildPool, TestBackend
from harness.analysis.bisect.model import Broken, Build, Built, Failure, Measure
from harness.analysis.hunt.seed import check, seeded
from harness.core.errors import CellError
from harness.core.events import publish
from harness.core.schedule import Schedule


class SeedBackend(TestBackend):
    """Boots of a test by schedules near one that failed: as many at once as this process has cpus.

    `bad` is the build of the bad end, where the seed should fail.
    """

    def __init__(self, pool: BuildPool, test: str, schedule: Schedule, bad: Build) -> None:
        super().__init__(pool, test)
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
        return self._boot_by(key, self._schedule)

    def boot_numbered(self, key: Build, numbers: range) -> Generator[float | Failure, None, None]:
        """Run the test once by the schedule of each number, near the seed's."""
        pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        try:
            waiting = [pool.submit(self._boot_by, key, self._schedule.near(number)) for number in numbers]
            for one in waiting:
                yield one.result()
        finally:
            pool.shutdown(cancel_futures=True)

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

    def _boot_by(self, key: Build, schedule: Schedule) -> float | Failure:
        session, program = self._prepared(key)
        return self._outcome(key, session.run(self._pool.cell, seeded(program, schedule)).verdict)
