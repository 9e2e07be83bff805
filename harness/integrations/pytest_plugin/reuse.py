"""Reused verdicts in a pytest run: shown and counted as their own kind, and an alarm where a check differs."""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest

from harness.core.cell import Cell
from harness.integrations.pytest_plugin.progress import SECONDS_OF_UNKNOWN
from harness.integrations.pytest_plugin.workers import at_once
from harness.integrations.reuse.plan import AGREES, PROPERTY, ReusePlan
from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Document, Version
from harness.metrics.verdict_writer import Writer
from harness.report.reuse_lines import ALARM, REUSE
from harness.runner.base import Program
from harness.runner.ordering import telling_first
from harness.runner.session import Session
from harness.runner.verdict import Outcome

PLAN = pytest.StashKey[ReusePlan]()
"""What the session reuses; empty without `--reuse`."""


class ReuseReporter:
    """A plugin of the controlling process. `writers` has what adds to the history, if anything does."""

    def __init__(self, run: str, writers: Sequence[Writer]) -> None:
        self._run = run
        self._writers = writers
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._differed: dict[str, dict[str, str]] = defaultdict(dict)
        self._sources: Counter[str] = Counter()
        self._versions: dict[str, Version] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count an item of a cell."""
        properties = {name: str(value) for name, value in report.user_properties}
        if report.when != "call" or "cell" not in properties or PROPERTY not in properties:
            return
        cell, test, found = properties["cell"], properties["test"], properties[PROPERTY]
        reused = properties["outcome"] == Outcome.REUSED
        self._counts[cell]["reused" if reused else "ran"] += 1
        if reused:
            self._sources[properties.get("reused_from", "")] += 1
        elif found:
            self._counts[cell]["checked"] += 1
            if found != AGREES:
                self._differed[cell][test] = found
        for kind, row in getattr(report, "osv_records", ()):
            if kind == VerdictRecord.__name__:
                self._versions[cell] = Version(**row["version"])

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Show a reused verdict as such: it is no pass and no skip."""
        if report.when == "call" and dict(report.user_properties).get("outcome") == Outcome.REUSED:
            return "reused", "r", ("REUSED", {"cyan": True})
        return None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how much was reused, from which runs, and each check that differs."""
        total = sum(self._counts.values(), Counter[str]())
        if not total["reused"] and not total["checked"]:
            return
        terminalreporter.section("reused verdicts")
        for source, count in self._sources.most_common():
            terminalreporter.write_line(f"{count} reused from {source}")
        differ = sum(map(len, self._differed.values()))
        terminalreporter.write_line(f"{total['checked']} run all the same to check them: {differ} differ")
        if differ:
            terminalreporter.section(ALARM, red=True)
            for cell, found in self._differed.items():
                for test, difference in found.items():
                    terminalreporter.write_line(f"{cell}/{test}: {difference}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Keep the counts, before the history is closed; fail the session if a check differs."""
        for cell, counts in self._counts.items():
            if cell in self._versions:
                body: dict[str, object] = {name: counts[name] for name in ("ran", "reused", "checked")}
                body["differed"] = self._differed.get(cell, {})
                document = Document(REUSE, cell, "", body, self._versions[cell], self._run, time.time())
                for writer in self._writers:
                    writer.add(document)
        if self._differed and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def plan_reuse(
    config: pytest.Config, session: Session, cells: list[Cell], run: str, writers: Sequence[Writer]
) -> dict[str, float]:
    """Decide what the run reuses; returns the seconds of those items, which are none. Raises `HarnessError`."""
    from harness.integrations.reuse.planning import make_plan  # it takes seconds

    plan = make_plan(session, cells, config.getoption("--history"), run, config.getoption("--reuse-check"))
    config.stash[PLAN] = plan
    config.pluginmanager.register(ReuseReporter(run, writers))
    return {f"{cell}/{test}": 0.0 for (cell, test), one in plan.standing.items() if not one.checked}


def in_order(
    session: Session, programs: Sequence[tuple[Cell, Program]], plan: ReusePlan
) -> list[tuple[Cell, Program]]:
    """The tests in the order in which they begin: what tells most first, what does not run last.

    Without a plan the order is as given. It is the same in all of xdist's workers.
    """
    if not plan.keys:
        return list(programs)
    runs = [one for one in programs if not plan.reused(one[0], one[1].name)]
    known = {cell: session.expected_seconds(cell) for cell, _ in runs}
    seconds = [known[cell].get(program.name, SECONDS_OF_UNKNOWN) for cell, program in runs]
    chances = [plan.chances.get((str(cell), program.name), 0.0) for cell, program in runs]
    ordered = [runs[place] for place in telling_first(seconds, chances, at_once())]
    return ordered + [one for one in programs if plan.reused(one[0], one[1].name)]
