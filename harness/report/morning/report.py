"""Collects the facts of a morning: what is new last night, what is flaky, what still fails, what must be
edited."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from time import gmtime, strftime

from harness.metrics.records import CONSOLE, Document, Version
from harness.report.model.data import ReportData
from harness.report.model.spans import PLAN, Span, recorded_spans, spans_of
from harness.report.morning.bisection_answers import BisectionAnswer, bisection_answers
from harness.report.morning.changes import Changes, Step, changes_of
from harness.report.morning.classification import tests_of
from harness.report.morning.commits import Commits
from harness.report.morning.expectation_edits import Entries, EntryLocation
from harness.report.morning.nights import MissingCell, Nights, plans_of
from harness.report.morning.tests import BrokenCell, Group, StaleExpectation, Tests
from harness.report.morning.version_rows import VersionRow, version_rows

OSV = "osv"
CONSOLE_LINES = 5
"""Lines of a console that a failure shows."""


@dataclass(frozen=True, slots=True)
class ExpectationEdit:
    """A stale expectation that must be edited, and where its entry is written, if that is known."""

    stale: StaleExpectation
    place: EntryLocation | None


@dataclass(frozen=True)
class Morning:
    """All facts of the morning. Their texts are single lines that are safe to print, but not yet escaped for HTML
    or Markdown.

    - `version` is the newest version of last night, `previous` that of the night before. `heads` counts the
      versions that ran last night.
    - `kernel` is the kernel that `version` is of, if that is OSv.
    - `firsts` has the night in which each commit was first seen, `heads_by_night` the newest version of each
      night.
    - `asides` are notes that belong to no test and no metric.
    - `consoles` are the ends of consoles by the id of their verdict, `versions` the newest versions, a row each.
    - `bisected` is what bisections of tests found.
    """

    nights: Nights
    tests: Tests
    missing: Sequence[MissingCell]
    changes: Changes
    edits: Sequence[ExpectationEdit]
    expiring: Sequence[EntryLocation]
    version: Version | None
    previous: Version | None
    heads: int
    commits: Commits
    kernel: str = ""
    firsts: Mapping[str, int] = field(default_factory=dict)
    heads_by_night: Mapping[int, Span] = field(default_factory=dict)
    asides: Sequence[str] = ()
    suspected: Sequence[str] = ()
    consoles: Mapping[str, Sequence[str]] = field(default_factory=dict)
    versions: Sequence[VersionRow] = ()
    bisected: Sequence[BisectionAnswer] = ()

    @property
    def date(self) -> str:
        """The day on which the last night began, in UTC: `27 Nov 2026`."""
        when = self.nights.every[-1].began if self.nights.every else 0.0
        try:
            return strftime("%d %b %Y", gmtime(when)).lstrip("0")
        except (ValueError, OverflowError, OSError):
            return ""

    @cached_property
    def new_steps(self) -> list[Step]:
        """The changes whose version was first measured last night."""
        return [one for one in self.changes.steps if self._is_new(one)]

    @cached_property
    def standing_steps(self) -> list[Step]:
        """The changes of earlier nights that were not undone since, without those that undid others."""
        return [one for one in self.changes.steps if not self._is_new(one) and not one.undoes]

    def _is_new(self, step: Step) -> bool:
        return self.nights.last > 0 and self.firsts.get(step.after.commit) == self.nights.last

    @property
    def failures(self) -> int:
        """The number of new failures of last night; a cell that is broken as a whole counts as one."""
        return len(self.tests.new) + len(self.new_broken)

    @property
    def new_broken(self) -> list[BrokenCell]:
        """The cells that are broken as a whole since last night."""
        return [one for one in self.tests.broken if one.began == self.nights.last]

    @property
    def still_broken(self) -> list[BrokenCell]:
        """The cells that were broken as a whole before last night, too."""
        return [one for one in self.tests.broken if one.began < self.nights.last]

    def console(self, group: Group) -> Sequence[str]:
        """The end of the console of the group's newest failure that has one."""
        bad = (run.judged for one in group.cells for run in one.runs if run.bad and run.judged.id in self.consoles)
        newest = max(bad, key=lambda judged: judged.taken, default=None)
        return self.consoles[newest.id][-CONSOLE_LINES:] if newest else ()

    def answers(self, group: Group) -> list[BisectionAnswer]:
        """What bisections found of the group since it began to fail."""
        began, cells = group.first.first_bad.judged.taken, {one.cell for one in group.cells}
        return [
            one for one in self.bisected if one.name == group.test and one.cell in cells and one.taken >= began
        ]

    @property
    def headline(self) -> str:
        """The conclusion in a few words: `2 new failures and 1 new change for the worse`."""
        if self.missing and not self.ran:
            return "No result"
        worse = sum(one.worse for one in self.new_steps)
        phrases = [_number(self.failures, "new failure")] if self.failures or not worse else []
        phrases += [_number(worse, "new change for the worse", "new changes for the worse")] if worse else []
        return " and ".join(phrases)

    @property
    def sign(self) -> str:
        """`bad` if something new is worse, `expected` if a result is missing, else `good`."""
        if self.failures or any(one.worse for one in self.new_steps):
            return "bad"
        return "expected" if self.missing or self.tests.unrun or self.tests.faults else "good"

    @property
    def ran(self) -> int:
        """The number of cells that have a result of last night."""
        return len(self.nights.every[-1].cells) if self.nights.every else 0


def morning(
    report_data: ReportData, commits: Commits | None = None, spans: Sequence[Span] | None = None
) -> Morning:
    """Collect the facts of a history whose texts are safe (`ReportData.safe`).

    `spans` are those of its samples and verdicts, if the caller has them already.
    """
    judged = report_data.verdicts
    spans = recorded_spans(report_data.samples, judged) if spans is None else spans
    nights = Nights.of(spans, plans_of(report_data.documents))
    entries = Entries()
    tests = tests_of(judged, nights, entries.is_expired)
    every = [*spans, *spans_of(one for one in report_data.documents if one.kind != PLAN)]
    heads = _heads(every, nights)
    latest = [one.version for one in heads.get(nights.last, ())]
    before = next((heads[number] for number in range(nights.last - 1, -1, -1) if heads.get(number)), [])
    since, _ = nights.within(nights.last)
    measured = _measured(report_data)
    by_night = {number: found[-1] for number, found in heads.items() if found}
    in_turn = {by_night[number].version.commit: by_night[number].version for number in sorted(by_night)}
    answers = bisection_answers(report_data.documents, _now(nights))
    rows = version_rows(
        [*in_turn.values()], judged, report_data.findings, {one.test for one in tests.flaky}, measured
    )
    return Morning(
        nights, tests, nights.missing(),
        changes_of(report_data.findings, measured, answers),
        [ExpectationEdit(one, entries.of(one.judged)) for one in tests.stale],
        entries.expiring(judged.between(since, inf)),
        latest[-1] if latest else None, before[-1].version if before else None, len(latest), commits or Commits(),
        OSV if any(one.cell.startswith(f"{OSV}:") for one in every) else "", _firsts(every, nights),
        by_night, report_data.asides, report_data.suspected, _consoles(report_data.documents), rows,
        [one for one in answers if one.of_test],
    )  # fmt: skip


def _consoles(documents: Iterable[Document]) -> dict[str, Sequence[str]]:
    """The last lines of consoles, by the id of their verdict. Skips documents of another format."""
    found: dict[str, Sequence[str]] = {}
    for document in documents:
        lines = document.body.get("lines") if document.kind == CONSOLE else None
        if isinstance(lines, list) and all(isinstance(line, str) for line in lines):
            found[document.id.removesuffix(f"-{CONSOLE}")] = lines
    return found


def _number(count: int, singular: str, many: str = "") -> str:
    return f"{count or 'No'} {singular if count == 1 else many or singular + 's'}"


def _now(nights: Nights) -> float:
    return nights.every[-1].ended if nights.every else 0.0


def _heads(spans: Iterable[Span], nights: Nights) -> dict[int, list[Span]]:
    """The versions that ran in each night, one a commit, ordered by the commits' dates; those of OSv alone if
    there are any."""
    rows = sorted(spans, key=lambda one: one.first)
    kernel = OSV if any(one.cell.startswith(f"{OSV}:") for one in rows) else ""
    found: dict[int, dict[str, Span]] = {}
    for span in rows:
        if not kernel or span.cell.startswith(f"{kernel}:"):
            found.setdefault(nights.number(span.first), {}).setdefault(span.version.commit, span)
    return {
        number: sorted(versions.values(), key=lambda span: (span.version.committed, span.first))
        for number, versions in found.items()
    }


def _firsts(spans: Iterable[Span], nights: Nights) -> dict[str, int]:
    """The number of the night in which each commit was first seen."""
    found: dict[str, float] = {}
    for span in spans:
        found[span.version.commit] = min(span.first, found.get(span.version.commit, span.first))
    return {commit: nights.number(taken) for commit, taken in found.items()}


def _measured(report_data: ReportData) -> dict[tuple[str, str, str], int]:
    """The number of cells that measure each (kernel, metric, subject)."""
    found: dict[tuple[str, str, str], set[str]] = {}
    measured = (group.samples[0] for group in report_data.numbers.groups)
    for cell, name, subject in {(one.cell, one.metric.name, one.subject) for one in measured}:
        found.setdefault((cell.partition(":")[0], name, subject), set()).add(cell)
    return {key: len(cells) for key, cells in found.items()}
