"""Runs a whole bisection of OSv's commits: from the request to the answer, its checks, and the branch of a
merge."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from harness.analysis.bisect.answer import Answer
from harness.analysis.bisect.commit_range import Commits
from harness.analysis.bisect.history_document import Difference, bisection_document
from harness.analysis.bisect.journal import JournalFile
from harness.analysis.bisect.journal_records import Opened
from harness.analysis.bisect.local_backend import BuildPool, MetricBackend, TestBackend
from harness.analysis.bisect.model import Build, Builder, Effort, Measure
from harness.analysis.bisect.seed_backend import Runs, SeedBackend
from harness.analysis.bisect.session import Bisection
from harness.analysis.bisect.verification import checks_of, parent_and_culprit
from harness.core.cell import Cell
from harness.core.errors import CheckoutError
from harness.core.events import publish
from harness.core.procedure import DURATION
from harness.core.run_id import new_run_id
from harness.core.schedule import Schedule
from harness.metrics import suite
from harness.metrics.records import Document, Sample, Version
from harness.runner.session import Session


@dataclass(frozen=True, slots=True)
class BisectRequest:
    """What to bisect: a metric or an in-guest test of a cell, between which commits, with which effort.

    `duration` is the length of each load of an app in seconds; `through` is put before each command of a build.
    `checked` verifies the answer by further builds. `improved` looks for a change for the better. `cause` is the
    failure of the test to look for; empty: the bad end's. `schedule` is a seed's: the test runs in deterministic
    guests by schedules near it. `run` is the id of the run that stores the results.
    """

    cell: Cell
    commits: Commits
    effort: Effort
    metric: str = ""
    test: str = ""
    duration: float = DURATION
    through: tuple[str, ...] = ()
    checked: bool = True
    improved: bool = False
    cause: str = ""
    schedule: Schedule | None = None
    run: str = field(default_factory=new_run_id)


@dataclass(frozen=True, slots=True)
class BisectResult:
    """The answer, and the records for the history: the samples, and a document of the bisection."""

    answer: Answer
    records: list[Sample | Document]


class BuildBackend(Builder, Protocol):
    """Builds, boots, and knows what is measured. `host` is the only farm host whose boots may be compared; empty
    if that does not matter."""

    host: str

    @property
    def samples(self) -> Mapping[Build, Sequence[Sample]]:
        """The samples of each build."""

    def measure(self) -> Measure:
        """What is measured. Raises `HarnessError` if the good end can't be measured."""

    def offer_layouts(self, measure: Measure) -> None:
        """Offer layouts if they move the measure."""

    def differences(self, before: Build, after: Build) -> Sequence[Difference]:
        """What differs between two measured builds."""


BackendFactory = Callable[[BisectRequest, Opened | None], BuildBackend]
"""Makes the backend for a request. The second argument is the first record of the journal, if a bisection goes
on."""


def local_backends(session: Session, runs: Runs) -> BackendFactory:
    """Make backends that build and boot on this host; `runs` runs what may run at once."""

    def make_backend(request: BisectRequest, opened: Opened | None) -> BuildBackend:
        session.check_runs(request.cell)
        workshop = BuildPool(session, request.cell, request.commits, range(request.effort.jobs), request.through)
        if request.schedule:
            line = request.commits.line()
            bad = Build(line.first_alike(line.last))
            return SeedBackend(workshop, request.test, request.schedule, bad, runs)
        if request.test:
            return TestBackend(workshop, request.test)
        return MetricBackend(workshop, request.metric, request.duration, request.run)

    return make_backend


def bisect(make_backend: BackendFactory, request: BisectRequest, state: Path) -> BisectResult:
    """Bisect, with the journal at `state`: what it holds is not done again.

    Raises `HarnessError` if an end can't be measured, the journal is of another bisection, or the host is at
    fault.
    """
    if request.metric:
        suite.measuring(request.metric, request.cell)
    records: list[Sample | Document] = []

    def bisect_branch(answer: Answer) -> Answer | None:
        """If the culprit is a merge, the answer of a bisection of its branch."""
        if len(answer.culprits) != 1 or len(answer.culprits[0].commits) != 1:
            return None
        merge = answer.culprits[0].commits[0]
        try:
            branch = request.commits.inside(merge)
        except CheckoutError as error:  # an octopus, or a branch without a common past
            publish("bisect.not_followed", merge, error.message)
            return None
        if branch is None:
            return None
        publish("bisect.followed", merge, f"into its branch of {len(branch.commits) - 1} commits")
        within = replace(request, commits=branch, cause=answer.cause)
        inner = bisect(make_backend, within, state.with_suffix(f".{merge[:12]}.jsonl"))
        records.extend(inner.records)
        return inner.answer

    with JournalFile(state) as journal:
        opened = journal.records[0] if journal.records else None
        opened = opened if isinstance(opened, Opened) else None
        line = request.commits.line()
        builder = make_backend(request, opened)
        measure = opened.measure if opened else builder.measure()
        if request.improved and request.metric and not opened:
            measure = replace(measure, better=measure.better.opposite)
        if request.cause and not opened:
            measure = replace(measure, cause=request.cause)
        builder.offer_layouts(measure)
        load = request.duration if request.metric.startswith("app.") else 0.0
        bisection = Bisection(line, measure, builder, journal, request.effort, builder.host, load)
        answer = bisection.run(checks_of(measure) if request.checked else (), bisect_branch)
    differences: Sequence[Difference] = ()
    records.extend(sample for key, taken in builder.samples.items() if key.layout == 0 for sample in taken)
    if answer.culprits and len(answer.culprits[0].points) == 1:
        differences = builder.differences(
            *(Build(point) for point in parent_and_culprit(line, answer.culprits[0]))
        )
    body = bisection_document(bisection.state, request.commits, answer, differences)
    version = Version(request.commits.bad, "", "", 0.0)
    subject = request.metric or request.test
    records.append(Document("bisect", str(request.cell), subject, body, version, request.run, time.time()))
    return BisectResult(answer, records)
