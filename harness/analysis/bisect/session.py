"""A bisection from its first build to its answer: makes plans, carries them out, records each step."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import replace
from math import isfinite
from time import monotonic

from harness.analysis.bisect.answer import Answer, BisectOutcome, Check
from harness.analysis.bisect.conclusion import conclude
from harness.analysis.bisect.forecast import forecast
from harness.analysis.bisect.journal import Journal
from harness.analysis.bisect.journal_records import (
    Answered,
    Began,
    Booted,
    Checked,
    Concluded,
    Drifted,
    Failed,
    Finished,
    Opened,
    Planned,
    Record,
)
from harness.analysis.bisect.model import (
    Broken,
    Build,
    Builder,
    Built,
    CommitRange,
    Effort,
    Failure,
    Measure,
    NumberedBoots,
    Plan,
)
from harness.analysis.bisect.policy import SearchEnd, decide
from harness.analysis.bisect.state import State
from harness.core.errors import HarnessError
from harness.core.events import publish

REFUTES = {"reverted": BisectOutcome.REFUTED, "relaid": BisectOutcome.LAYOUT, "rebuilt": BisectOutcome.REFUTED}
"""The outcome of an answer that a check refutes; the last of several counts."""

TRIES = 3
"""Failed boots in a row after which a build is called broken: one can fail by chance."""


class Bisection:
    """One bisection. Everything it does follows from its journal, so a session on the journal of a killed one goes
    on where that was, and repeats no finished build.

    `checks`, by name, verify an answer, each once; they build and boot with `run_plan`. `follow` takes the answer
    and returns what is inside its culprit (for a merge: the answer of a session in its branch).
    """

    def __init__(
        self,
        line: CommitRange,
        measure: Measure,
        builder: Builder,
        journal: Journal,
        effort: Effort = Effort(),  # noqa: B008
        host: str = "",
        load: float = 0.0,
    ) -> None:
        """Raises `HarnessError` if the journal is of another bisection."""
        self._builder, self._journal = builder, journal
        opened = Opened(line, measure, effort, builder.layouts, host=host, load=load)
        if not journal.records:
            journal.append(opened)
        first = journal.records[0]
        same = isinstance(first, Opened) and replace(first, load=load) == opened
        if isinstance(first, Opened) and same and first != opened and first.known_load != load:
            raise HarnessError(
                f"The journal's loads took {first.known_load:g} s each, and these would take {load:g} s.",
                f"Go on with --duration {first.known_load:g}, or begin anew with another --state.",
            )
        if not same:
            what = first.measure.name if isinstance(first, Opened) else "nothing that is known"
            raise HarnessError(
                f"The journal is of another bisection, of {what}.",
                "Give the same ends, measure and options as before, or another --state.",
            )
        self.state = State.of(journal.records)

    def run(
        self,
        checks: Sequence[tuple[str, "Checker"]] = (),
        follow: Callable[[Answer], Answer | None] | None = None,
    ) -> Answer:
        """Return the answer. Raises `HarnessError` if an end can't be measured, and what the builder raises."""
        if self.state.answer:
            return Answer.from_json(self.state.answer.answer)
        self._finish_last_plan()
        if self.state.concluded:
            answer = Answer.from_json(self.state.concluded.answer)
        else:
            while (ended := self.advance()) is None:
                pass
            answer = conclude(self.state, ended)
            self._record(Concluded(answer.to_json()))
        for name, check in checks if answer.culprits else ():
            self._check(name, check, answer)
        done = tuple(Check(one.name, one.passed, one.detail) for one in self.state.checks)
        failed = {one.name for one in done if one.passed is False}
        for name, outcome in REFUTES.items():
            if name in failed:
                answer = replace(answer, outcome=outcome, why=next(one.detail for one in done if one.name == name))
        inside = follow(answer) if follow and answer.outcome is BisectOutcome.FOUND else None
        answer = replace(answer, checks=done, inside=inside)
        self._record(Answered(answer.to_json()))
        publish("bisect.answered", self.state.measure.name, answer.outcome)
        return answer

    def advance(self) -> SearchEnd | None:
        """Decide what is next and do it; returns the end of the search if nothing is left to do."""
        step = decide(self.state, self._builder)
        if isinstance(step, SearchEnd):
            return step
        if isinstance(step, Drifted):
            publish("bisect.drifted", self.state.measure.name, f"{step.change:+.1%}")
            self._record(step)
        else:
            self.run_plan(step)
            if step.builds and (ahead := forecast(self.state)):
                publish("bisect.forecast", f"{len(self.state.builds)} builds", str(ahead))
        return None

    @property
    def layouts(self) -> int:
        """How many layouts of a commit can be built."""
        return self._builder.layouts

    def run_plan(self, plan: Plan) -> None:
        """Build and boot what a plan says; all of it is recorded before this returns."""
        self._record(Planned(plan))
        self._finish_last_plan()

    def _check(self, name: str, check: "Checker", answer: Answer) -> None:
        if name not in {one.name for one in self.state.checks}:
            result = check(self, answer)
            self._record(Checked(name, result.passed, result.detail))

    def _finish_last_plan(self) -> None:
        """Do what the last plan still wants."""
        if builds := self.state.pending_builds():
            self._build(builds)
        boots = self.state.pending_boots()
        if isinstance(self._builder, NumberedBoots):
            self._boot_numbered(self._builder, boots)
        else:
            self._boot(boots)

    def _build(self, keys: Sequence[Build]) -> None:
        """Make all builds of a plan. A fault of the host is raised after the others have ended."""
        fault: BaseException | None = None
        with ThreadPoolExecutor(self.state.effort.jobs) as pool:
            running: dict[Future[Built | Broken], Build] = {}
            for key in keys:
                if key not in self.state.began:
                    self._record(Began(key))
                publish("bisect.building", self.state.range.commits[key.index], f"layout {key.layout}")
                running[pool.submit(self._builder.build, key)] = key
            for future in as_completed(running):
                key = running[future]
                try:
                    ended = future.result()
                except BaseException as error:  # whatever it is, the other builds are paid for: keep them
                    fault = fault or error
                    continue
                commit = self.state.range.commits[key.index]
                if isinstance(ended, Broken):
                    publish("bisect.broken", commit, ended.why)
                    self._record(Failed(key, ended.why))
                else:
                    publish("bisect.built", commit, f"{ended.seconds:.0f} s")
                    self._record(Finished(key, ended))
        if fault:
            raise fault

    def _boot(self, boots: Sequence[tuple[Build, int]]) -> None:
        """Make all boots of a plan in turns, so that what else the host does affects all builds alike."""
        left, missed = dict(boots), Counter[Build]()
        while left:
            # the build that wants most comes first, so that a resumed session keeps the order
            key = max(left, key=lambda one: left[one])
            began = monotonic()
            value = self._builder.boot(key)
            if isinstance(value, Broken):
                missed[key] += 1
                if missed[key] == TRIES:
                    publish("bisect.broken", self.state.range.commits[key.index], value.why)
                    self._record(Failed(key, value.why))
                    del left[key]
                continue
            missed[key] = 0
            self._record_boot(key, value, began)
            left[key] -= 1
            # a failure that masks the target in all boots of a build does so in further ones
            if not left[key] or not self.state.usable(key):
                del left[key]

    def _boot_numbered(self, builder: NumberedBoots, boots: Sequence[tuple[Build, int]]) -> None:
        """Make all boots of a plan, one build after the other. Their numbers go on from those of earlier ones."""
        for key, count in boots:
            first = self.state.count(key) + 1
            began = monotonic()
            with closing(builder.boot_numbered(key, range(first, first + count))) as values:
                for value in values:
                    self._record_boot(key, value, began)
                    began = monotonic()
                    if not self.state.usable(key):
                        break

    def _record_boot(self, key: Build, value: float | Failure, began: float) -> None:
        cause = value.cause if isinstance(value, Failure) else ""
        number = 1.0 if isinstance(value, Failure) else float(value)
        if not isfinite(number):
            raise HarnessError(f"A boot gave {number} as {self.state.measure.name}.")
        self._record(Booted(key, number, round(monotonic() - began), cause))

    def _record(self, record: Record) -> None:
        self._journal.append(record)
        self.state.apply(record)


Checker = Callable[[Bisection, Answer], Check]
"""Verifies an answer: may measure more by the session's `run_plan`, and reads its `state`."""
