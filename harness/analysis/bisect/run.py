"""A whole bisection of OSv's commits: from the question to the answer, its checks, and what a merge brought."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from harness.analysis.bisect.answer import Answer
from harness.analysis.bisect.commit_range import Commits
from harness.analysis.bisect.history_document import Difference, account
from harness.analysis.bisect.journal import File
from harness.analysis.bisect.journal_records import Opened
from harness.analysis.bisect.local_backend import BuildPool, MetricBackend, TestBackend
from harness.analysis.bisect.model import Build, Builder, Effort, Measure
from harness.analysis.bisect.session import Session
from harness.analysis.bisect.verification import checks_of, parent_and_culprit
from harness.core.cell import Cell
from harness.core.errors import CheckoutError
from harness.core.events import publish
from harness.core.procedure import DURATION
from harness.core.run_id import new_run_id
from harness.metrics import suite
from harness.metrics.records import Document, Sample, Version
from harness.runner.session import Lab


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a metric or an in-guest test of a cell, between which commits, and how sure.

    `duration` is of each load of an app in seconds, `through` what builds are put through; `checked` is whether
    the answer is verified by further builds, `improved` whether it is a change for the better that is looked for;
    `cause` is which of the test's failures is, empty: the bad end's. `run` is the id of the run under which all
    of it is kept.
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
    run: str = field(default_factory=new_run_id)


@dataclass(frozen=True, slots=True)
class Done:
    """The answer, and what the history is to keep: the samples taken, and a document of the bisection."""

    answer: Answer
    kept: list[Sample | Document]


class BuildBackend(Builder, Protocol):
    """Who builds and boots, and knows what is measured. `host` is the one of many whose boots alone may be
    compared, or nothing where that is no question."""

    host: str

    @property
    def samples(self) -> Mapping[Build, Sequence[Sample]]:
        """What was measured of each build."""

    def measure(self) -> Measure:
        """What is measured. Raises `HarnessError` if it can't be had at the good end."""

    def lay_out(self, measure: Measure) -> None:
        """Offer layouts where the measure is one that they move."""

    def differences(self, before: Build, after: Build) -> Sequence[Difference]:
        """What differs between two builds that were measured."""


Benches = Callable[[Question, Opened | None], BuildBackend]
"""Makes the bench for a question; the journal of one that goes on began with the record."""


def bench_here(lab: Lab) -> Benches:
    """Benches of this host."""

    def made(question: Question, opened: Opened | None) -> BuildBackend:
        lab.check_runs(question.cell)
        workshop = BuildPool(lab, question.cell, question.commits, range(question.effort.jobs), question.through)
        if question.test:
            return TestBackend(workshop, question.test)
        return MetricBackend(workshop, question.metric, question.duration, question.run)

    return made


def bisect(benches: Benches, question: Question, state: Path) -> Done:
    """Answer it, with its journal at `state`: what is there already is not done again.

    Raises `HarnessError` where an end can't be measured, the journal is another's, or the host is at fault.
    """
    if question.metric:
        suite.measuring(question.metric, question.cell)
    kept: list[Sample | Document] = []

    def follow(answer: Answer) -> Answer | None:
        """What is inside the culprit, if it is a merge: the answer of a bisection of the branch."""
        if len(answer.culprits) != 1 or len(answer.culprits[0].commits) != 1:
            return None
        merge = answer.culprits[0].commits[0]
        try:
            branch = question.commits.inside(merge)
        except CheckoutError as error:  # an octopus, or a branch without a common past
            publish("bisect.not_followed", merge, error.happened)
            return None
        if branch is None:
            return None
        publish("bisect.followed", merge, f"into its branch of {len(branch.commits) - 1} commits")
        within = replace(question, commits=branch, cause=answer.cause)
        inner = bisect(benches, within, state.with_suffix(f".{merge[:12]}.jsonl"))
        kept.extend(inner.kept)
        return inner.answer

    with File(state) as journal:
        opened = journal.records[0] if journal.records else None
        opened = opened if isinstance(opened, Opened) else None
        line = question.commits.line()
        builder = benches(question, opened)
        measure = opened.measure if opened else builder.measure()
        if question.improved and question.metric and not opened:
            measure = replace(measure, better=measure.better.opposite)
        if question.test and not opened:
            measure = replace(measure, cause=question.cause)
        builder.lay_out(measure)
        load = question.duration if question.metric.startswith("app.") else 0.0
        session = Session(line, measure, builder, journal, question.effort, builder.host, load)
        answer = session.run(checks_of(measure) if question.checked else (), follow)
    differences: Sequence[Difference] = ()
    kept.extend(sample for key, taken in builder.samples.items() if key.layout == 0 for sample in taken)
    if answer.culprits and len(answer.culprits[0].points) == 1:
        differences = builder.differences(
            *(Build(point) for point in parent_and_culprit(line, answer.culprits[0]))
        )
    body = account(session.state, question.commits, answer, differences)
    version = Version(question.commits.bad, "", "", 0.0)
    subject = question.metric or question.test
    kept.append(Document("bisect", str(question.cell), subject, body, version, question.run, time.time()))
    return Done(answer, kept)
