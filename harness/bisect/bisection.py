"""A whole bisection of OSv's commits: from the question to the answer, its checks, and what a merge brought."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from harness.bisect import Effort, Key, Measure
from harness.bisect.account import Difference, account
from harness.bisect.answer import Answer
from harness.bisect.commits import Commits
from harness.bisect.journal import File
from harness.bisect.kernels import Kernels, Tests, Workshop
from harness.bisect.records import Opened
from harness.bisect.session import Session
from harness.bisect.verification import checks_of, parent_and_culprit
from harness.cell import Cell
from harness.errors import CheckoutError
from harness.events import publish
from harness.history.records import Document
from harness.lab import Lab
from harness.measure import Sample, Version, suite


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a metric or an in-guest test of a cell, between which commits, and how sure.

    `duration` is of each load of an app in seconds, `through` what builds are put through; `checked` is whether
    the answer is verified by further builds, `improved` whether it is a change for the better that is looked for.
    """

    cell: Cell
    commits: Commits
    effort: Effort
    metric: str = ""
    test: str = ""
    duration: float = 3.0
    through: tuple[str, ...] = ()
    checked: bool = True
    improved: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """The answer, and what the history is to keep: the samples taken, and a document of the bisection."""

    answer: Answer
    kept: list[Sample | Document]


def bisect(lab: Lab, question: Question, state: Path) -> Done:
    """Answer it, with its journal at `state`: what is there already is not done again.

    Raises `HarnessError` where an end can't be measured, the journal is another's, or the host is at fault.
    """
    if question.metric:
        suite.measuring(question.metric, question.cell)
    lab.check_runs(question.cell)
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
        inner = bisect(lab, replace(question, commits=branch), state.with_suffix(f".{merge[:12]}.jsonl"))
        kept.extend(inner.kept)
        return inner.answer

    workshop = Workshop(lab, question.cell, question.commits, question.effort.jobs, question.through)
    with File(state) as journal:
        opened = journal.records[0] if journal.records else None
        known = opened.measure if isinstance(opened, Opened) else None
        line = question.commits.line()
        builder: Kernels | Tests
        if question.test:
            builder, measure = Tests(workshop, question.test), known or Measure.test(question.test)
        else:
            builder = Kernels(workshop, question.metric, question.duration)
            measure = known or builder.measure()
            if question.improved and not known:
                measure = replace(measure, better=measure.better.opposite)
            builder.lay_out(measure)
        session = Session(line, measure, builder, journal, question.effort)
        answer = session.run(checks_of(measure) if question.checked else (), follow)
    differences: list[Difference] = []
    if isinstance(builder, Kernels):
        kept.extend(sample for key, taken in builder.samples.items() if key.layout == 0 for sample in taken)
        if answer.culprits and len(answer.culprits[0].points) == 1:
            differences = builder.differences(
                *(Key(point) for point in parent_and_culprit(line, answer.culprits[0]))
            )
    body = account(session.state, question.commits, answer, differences)
    version = Version(question.commits.bad, "", "", 0.0)
    subject = question.metric or question.test
    kept.append(Document("bisect", str(question.cell), subject, body, version, uuid4().hex, time.time()))
    return Done(answer, kept)
