"""Turns a verdict into pytest's outcome, with its expectation, its properties and its evidence."""

import warnings
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType

import pytest

from harness.core.cell import Cell
from harness.core.errors import HarnessError, LaunchError, explained
from harness.core.machine import Image
from harness.integrations.reuse.plan import AGREES, PROPERTY, UNDECIDED, ReusePlan, Standing
from harness.report import evidence
from harness.report.load_results import measured, write_loads
from harness.report.reproduce import app_again, test_again
from harness.runner.base import Program, Run
from harness.runner.expectations import expectation_mismatch, expected, is_expected
from harness.runner.interaction import Interaction
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.workloads.apps.app import app
from harness.workloads.apps.run import run_app

SHOWN_LINES = 20


RecordVerdict = Callable[[Image, Run, bool, str], None]
"""Adds a verdict to the history, with whether it was expected, and the key under which it may be reused."""

RecordReuse = Callable[[Image, str, Standing], None]
"""Adds to the history that a test was not run, for an earlier verdict stands."""


class OutcomeReporter:
    """Records the properties of a run, keeps evidence of what did not pass, and ends the test accordingly."""

    def __init__(
        self,
        session: Session,
        runs: Path,
        record: Callable[[str, object], None],
        record_verdict: RecordVerdict | None = None,
        record_reuse: RecordReuse | None = None,
        plan: ReusePlan = ReusePlan(),  # noqa: B008
    ) -> None:
        self._session = session
        self.runs = runs
        self._record = record
        self._record_verdict = record_verdict
        self._record_reuse = record_reuse
        self._plan = plan

    def reuse(self, cell: Cell, image: Image, program: Program, standing: Standing) -> None:
        """End the test as one that is not run."""
        __tracebackhide__ = True
        properties = {
            "cell": cell, "test": program.name, "outcome": Outcome.REUSED, "reason": standing.words,
            "seconds": "0.000", "reused_from": standing.source, PROPERTY: "",
            **self._where(cell, image),
        }  # fmt: skip
        for name, value in properties.items():
            self._record(name, str(value))
        if self._record_reuse:
            self._record_reuse(image, program.name, standing)
        pytest.skip(standing.words)

    def check(self, cell: Cell, run: Run) -> None:
        """Compare a run with the verdict that stood for it, if one did; the session tells a difference. A run that
        decides nothing is no check."""
        standing, outcome = self._plan.of(cell, run.program.name), run.verdict.outcome
        found = (standing.difference(outcome) or AGREES) if standing and outcome not in UNDECIDED else ""
        self._record(PROPERTY, found)

    def conclude(
        self, cell: Cell, image: Image, run: Run, again: str, figures: Mapping[str, object] = MappingProxyType({}),
        keep: Callable[[Path], None] = lambda folder: None, reusable: bool = False,
    ) -> None:  # fmt: skip
        """Return if the run passed, else end the test.

        `again` is a shell command that repeats the run; `figures` become properties; `keep` adds to the evidence;
        `reusable` is whether the verdict rests on the program and its machine alone.
        """
        __tracebackhide__ = True
        outcome, reason = run.verdict.outcome, run.verdict.reason
        accelerator = self._session.recorded_accelerator(cell)
        for note in run.notes:
            warnings.warn(f"{run.program.name}: {note}", stacklevel=2)
        self._note(cell, image, run, figures)
        expectation = expected(cell, run.program.name, accelerator)
        if self._record_verdict:
            # What was run twice is no function of what ran.
            key = "" if run.first or not reusable else self._plan.keys.get((str(cell), run.program.name), "")
            for one in (run.first, run):
                if one:
                    good = is_expected(cell, run.program.name, accelerator, one.verdict.outcome)
                    self._record_verdict(image, one, good, key)
        passed = outcome is Outcome.PASSED
        folder = None if passed and not run.first else self._keep(run, image, accelerator, again, keep)
        if passed and expectation is None:
            return
        if expectation:
            if mismatch := expectation_mismatch(expectation, outcome, date.today()):
                pytest.fail(f"{outcome}: {reason}\n{mismatch}\n{_tail(run, folder)}", pytrace=False)
            if outcome is not Outcome.PASSED:
                pytest.xfail(f"{outcome}, as expected: {expectation.reason}")
        elif outcome is Outcome.SKIPPED:
            pytest.skip(reason)
        elif outcome is Outcome.FLAKY:
            pytest.xfail(f"{outcome}: {reason}; both consoles: {folder}")
        else:
            pytest.fail(f"{outcome}: {reason}\n{_tail(run, folder)}", pytrace=False)

    def _note(self, cell: Cell, image: Image, run: Run, figures: Mapping[str, object]) -> None:
        """Put what reports and the durations need into the item's properties, as plain text."""
        properties = {
            "cell": cell,
            "test": run.program.name,
            "outcome": run.verdict.outcome,
            "reason": run.verdict.reason,
            "seconds": f"{run.verdict.observation.seconds:.3f}",
            "origin": run.origin,
            "notes": " ".join(run.notes),
            **self._where(cell, image),
            **figures,
        }
        for name, value in properties.items():
            self._record(name, str(value))

    def _where(self, cell: Cell, image: Image) -> dict[str, str]:
        """The properties that are the same for all items of a cell."""
        return {
            "accelerator": self._session.recorded_accelerator(cell),
            "qemu": ".".join(str(part) for part in self._session.host.qemu(cell.arch).version),
            "kernel": image.facts.get("commit") or image.facts.get("kernel", ""),
        }

    def _keep(
        self, run: Run, image: Image, accelerator: str, again: str, keep: Callable[[Path], None]
    ) -> Path | None:
        try:
            folder = evidence.write(run, image, accelerator, self.runs, again)
            keep(folder)
        except (HarnessError, OSError) as error:
            pytest.fail(f"harness_error: {explained(error)}", pytrace=False)
        return folder


class GuestRun:
    """Call it with a cell and a program: it returns if the run passes, and else ends the test by its verdict.

    `again` returns the command that repeats the item on a cell by pytest, for runs that the command line can't
    express.
    """

    def __init__(
        self,
        session: Session,
        reporter: OutcomeReporter,
        again: Callable[[Cell], str],
        plan: ReusePlan = ReusePlan(),  # noqa: B008
    ) -> None:
        self._session = session
        self._reporter = reporter
        self._again = again
        self._plan = plan

    def image_of_modules(self, cell: Cell, modules: str) -> Image:
        """The image with `modules` of OSv's tree; ends the test where it can't be built."""
        __tracebackhide__ = True
        try:
            self._session.check_runs(cell)
            return self._session.image_of_modules(cell, modules)
        except (HarnessError, OSError) as error:
            pytest.fail(f"harness_error: {explained(error)}", pytrace=False)

    def __call__(
        self, cell: Cell, program: Program, interaction: Interaction | None = None, modules: str = ""
    ) -> None:
        """`modules` of OSv's tree, if given, are in the image in place of the cell's tests."""
        __tracebackhide__ = True
        only_here = interaction or modules
        standing = None if only_here else self._plan.reused(cell, program.name)
        try:
            if standing:
                self._reporter.reuse(cell, self._session.image(cell), program, standing)
            if modules:
                image = self.image_of_modules(cell, modules)
                run = self._session.run_on(image, program, interaction)
            else:
                run = self._session.run(cell, program, interaction)
                image = self._session.image(cell)
        except (HarnessError, OSError) as error:
            pytest.fail(f"harness_error: {explained(error)}", pytrace=False)
        runs = self._reporter.runs.parent
        again = self._again(cell) if only_here else test_again(self._session, cell, program.name, runs)
        if not only_here:
            self._reporter.check(cell, run)
        self._reporter.conclude(cell, image, run, again, reusable=not only_here)


class AppTest:
    """Call it with a cell and an app's name; it ends the test as `GuestRun` does."""

    def __init__(self, session: Session, reporter: OutcomeReporter, duration: float) -> None:
        self._session = session
        self._reporter = reporter
        self._duration = duration

    def __call__(self, cell: Cell, name: str) -> None:
        __tracebackhide__ = True
        try:
            app_run = run_app(self._session, cell, app(name, cell), duration=self._duration)
        except LaunchError as error:
            pytest.skip(error.message)
        except (HarnessError, OSError) as error:
            pytest.fail(f"harness_error: {explained(error)}", pytrace=False)
        again = app_again(self._session, cell, name, None, self._duration, self._reporter.runs.parent)
        self._reporter.conclude(
            cell, app_run.image, app_run.run, again, measured(app_run), lambda folder: write_loads(app_run, folder)
        )


def _tail(run: Run, folder: Path | None) -> str:
    lines = [f"{line.at:9.3f}  {line.text}" for line in run.verdict.lines[-SHOWN_LINES:]]
    return "\n".join([*lines, f"everything else: {folder}"] if folder else lines)
