"""Causes of what went wrong in a night: failures that one person would look at together, and how it is told later
whether they are gone."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.analysis.regression.drift_since import Since
from harness.analysis.regression.finding import Finding
from harness.integrations.ci.issue_details import about_step, about_test
from harness.integrations.ci.results import Case, Night
from harness.metrics.history.records import Judged
from harness.metrics.records import Sample
from harness.report.asides import aside_words
from harness.report.markdown import LONGEST_ASIDE, code
from harness.report.model.data import safe_text
from harness.report.model.highlights import in_words, ordered
from harness.report.morning.commits import Commits
from harness.report.morning.persistence import persistence
from harness.report.morning.undone import standing
from harness.runner.failure_titles import title as title_of
from harness.runner.verdict import Outcome

MOST_OF_A_CELL = 0.5
FEWEST_OF_A_CELL = 4
"""A cell with so great a share, and so many, of its tests bad is broken itself: its tests are not the cause."""

MOST_LINES = 40
TITLE = re.compile(r"[^A-Za-z0-9 .,:;+/_()%<>=-]")


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """`members` are hex keys of what fails for this cause, `id` its own; `title` is plain ASCII and `lines` are
    Markdown, in both of which nothing of a guest's is markup."""

    id: str
    title: str
    lines: tuple[str, ...]
    members: frozenset[str]


@dataclass(frozen=True, slots=True)
class Seen:
    """`causes` stand now; `gone` are the keys of what is surely well: what did not run is neither."""

    causes: Sequence[FailureGroup]
    gone: frozenset[str]


def failure_groups(
    night: Night, findings: Sequence[Finding], samples: Sequence[Sample], judged: Sequence[Judged] = (),
    crept: Sequence[Since] = (), *, parts: Sequence[Finding] = (), commits: Commits | None = None,
) -> Seen:  # fmt: skip
    """The causes of a night's failures, and of what has become worse and still is, in a step or by creeping.

    With the history's verdicts, tonight's among them, what failed on one night alone is no cause yet, and what
    may fail again is not gone. `parts` are the findings of phases and sections, which tell whether a step of their
    whole still stands; `commits` have words and authors.
    """
    commits = commits or Commits()
    said = persistence(judged)
    broken = [row.cell for row in night.planned if row.runs and _is_broken(night.of(row.cell))]
    silent = [row.cell for row in night.without_result()]
    bad = [case for case in night.cases if case.bad and case.cell not in broken]
    bad = [case for case in bad if (case.cell, case.test) not in said.fleeting]
    worse = standing_worse(findings, parts)
    stepped = {_series(one) for one in worse}
    creeping = [one for one in crept if one.worse and _series(one) not in stepped]
    found = [
        *_whole_cells("boots or runs next to nothing", broken),
        *_whole_cells("has no result", silent),
        *(_of_tests(list(alike), judged, commits) for _, alike in groupby(sorted(bad, key=_kind), key=_kind)),
        *(_of_findings(list(alike), commits) for _, alike in groupby(sorted(worse, key=_step), key=_step)),
        *(_of_creeps(list(alike)) for _, alike in groupby(sorted(creeping, key=_creep), key=_creep)),
    ]
    passed = [case for case in night.cases if not case.bad and (case.cell, case.test) not in said.lingering]
    well = {key("test", case.cell, case.test) for case in passed}
    sound = {row.cell for row in night.planned if row.runs} - {*broken, *silent}
    well |= {key("cell", cell) for cell in sound}
    measured = {_series(one) for one in samples} - stepped - {_series(one) for one in creeping}
    return Seen(found, frozenset(well | {key("metric", *one) for one in measured}))


def key(*words: str) -> str:
    """What stands for a test, a cell or a metric in an issue: hex digits, so nothing is to be escaped."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]


def standing_worse(findings: Sequence[Finding], parts: Sequence[Finding] = ()) -> list[Finding]:
    """The findings for the worse, of those given by time, that nothing undid since."""
    asked = {id(one) for one in findings}
    return [one for one in standing([*findings, *parts]) if one.worse and id(one) in asked]


def _is_broken(cases: Sequence[Case]) -> bool:
    bad = sum(case.bad for case in cases)
    return bad >= FEWEST_OF_A_CELL and bad >= MOST_OF_A_CELL * len(cases)


def _kind(case: Case) -> tuple[str, str]:
    """What failures of one cause have in common: the title of what a kernel died of, or else the test."""
    if case.outcome == Outcome.CRASHED and (title := title_of(case.reason)):
        return "crash", title
    return "test", case.test


def _step(one: Finding) -> tuple[str, str]:
    return one.cell.partition(":")[0], one.after.commit


def _creep(one: Since) -> tuple[str, str, str]:
    return one.cell.partition(":")[0], one.metric.name, one.since.commit


def _series(one: Finding | Since | Sample) -> tuple[str, str, str]:
    return one.metric.name, one.cell, one.subject


def _whole_cells(what: str, cells: Sequence[str]) -> list[FailureGroup]:
    """One cause for all cells of which the same is to be said: they are likely one kernel's."""
    if not cells:
        return []
    number = f"{len(cells)} cells" if len(cells) > 1 else cells[0]
    title = f"{number} {what if len(cells) == 1 else what.replace('has', 'have')}"
    lines = _limited([f"- {code(cell)} {what}" for cell in cells])
    return [FailureGroup(key("cells", what), _title(title), lines, frozenset(key("cell", cell) for cell in cells))]


def _of_tests(cases: Sequence[Case], judged: Sequence[Judged], commits: Commits) -> FailureGroup:
    first = cases[0]
    kind, word = _kind(first)
    tests = sorted({case.test for case in cases})
    where = f"on {len(cases)} cells" if len(cases) > 1 else f"on {first.cell or 'no cell'}"
    title = f"{', '.join(tests[:3])}{' and others' if len(tests) > 3 else ''} {first.outcome} {where}"
    if kind == "crash":
        title = f"{word}: {title}"
    lines = [
        f"- {code(case.test)} on {code(case.cell)}: {code(case.outcome)}: {code(case.reason)}" for case in cases
    ]
    members = frozenset(key("test", case.cell, case.test) for case in cases)
    return FailureGroup(
        key(kind, word), _title(title), (*_limited(lines), *about_test(cases, judged, commits)), members
    )


def _of_findings(findings: Sequence[Finding], commits: Commits) -> FailureGroup:
    told = [in_words(one, {}) for one in ordered(findings)]
    first = told[0]
    title = f"{first.metric} {first.change} on {first.cell} since {first.after}"
    lines = [
        f"- {code(one.metric)} of {code(one.cell)} {code(one.subject)}: **{one.change}** ({one.interval}), "
        f"{code(one.levels)}, between {code(safe_text(one.before))} and {code(safe_text(one.after))}; "
        f"{one.confidence}; {one.confirmed}"
        for one in told
    ]
    members = frozenset(key("metric", *_series(one)) for one in findings)
    lines_ = (*_limited(lines), *about_step(ordered(findings), commits))
    return FailureGroup(key("step", *_step(findings[0])), _title(title), lines_, members)


def _of_creeps(crept: Sequence[Since]) -> FailureGroup:
    """One metric's: no commit is to be looked at, but what was added since."""
    ordered_by_size = sorted(crept, key=lambda one: -abs(one.change))
    worst = ordered_by_size[0]
    lines = [f"- {code(aside_words(one), LONGEST_ASIDE)}" for one in ordered_by_size]
    title = f"{worst.metric.name} crept on {worst.cell} {worst.words}"
    members = frozenset(key("metric", *_series(one)) for one in crept)
    return FailureGroup(key("creep", *_creep(worst)), _title(title), _limited(lines), members)


def _limited(lines: list[str]) -> tuple[str, ...]:
    more = len(lines) - MOST_LINES
    return (*lines[:MOST_LINES], *([f"- and {more} more"] if more > 0 else []))


def _title(text: str) -> str:
    """Text for a title, in which GitHub reads no markup but code spans."""
    shown = TITLE.sub("?", text)
    return shown if len(shown) <= 120 else f"{shown[:117]}..."
