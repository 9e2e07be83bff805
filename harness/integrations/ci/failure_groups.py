"""Groups the failures of a night: those that one person would look at together become one issue. Also finds which
of them have recovered."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.analysis.regression.drift_since import Since
from harness.analysis.regression.finding import Finding
from harness.integrations.ci.finds import finds
from harness.integrations.ci.issue_details import about_step, about_test, by_seed
from harness.integrations.ci.results import Case, Night
from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Document, Sample
from harness.report.markdown import LONGEST_ASIDE, code
from harness.report.model.data import safe_text
from harness.report.model.highlights import in_words, ordered
from harness.report.morning.commits import Commits
from harness.report.morning.lasting_findings import lasting_findings
from harness.report.morning.nights import Plan
from harness.report.morning.persistence import persistence
from harness.report.outlier_lines import outlier_line
from harness.runner.failure_titles import title as title_of
from harness.runner.verdict import Outcome

MOST_OF_A_CELL = 0.5
FEWEST_OF_A_CELL = 4
"""If this share and this number of a cell's tests are bad, the cell itself is broken, and not its tests."""

MOST_LINES = 40
TITLE = re.compile(r"[^A-Za-z0-9 .,:;+/_()%<>=-]")


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """`members` are the hex keys of what fails, `id` is the group's own. `title` is plain ASCII and `lines` are
    Markdown; neither holds markup from a guest."""

    id: str
    title: str
    lines: tuple[str, ...]
    members: frozenset[str]


@dataclass(frozen=True, slots=True)
class NightFailures:
    """`groups` fail now; `recovered` are the keys of what is known to be well. What did not run is neither."""

    groups: Sequence[FailureGroup]
    recovered: frozenset[str]


def failure_groups(
    night: Night, findings: Sequence[Finding], samples: Sequence[Sample], judged: Sequence[VerdictRecord] = (),
    drifts: Sequence[Since] = (), *, parts: Sequence[Finding] = (), commits: Commits | None = None,
    plans: Sequence[Plan] = (), documents: Sequence[Document] = (),
) -> NightFailures:  # fmt: skip
    """The groups of a night's failures, and of what has become worse, in a step or by drift, and has not
    recovered.

    With the history's verdicts, tonight's included, a test that failed on one night alone forms no group, and one
    that may fail again has not recovered. `parts` are the findings of phases and sections, which tell whether a
    step of their total persists. `commits` have subjects and authors, `plans` are those of the history's nights,
    `documents` too, those of hunts among them: a find fails each time, so it forms a group at once.
    """
    commits = commits or Commits()
    persistent = persistence(judged, plans)
    broken = [row.cell for row in night.planned if row.runs and _is_broken(night.cases_of(row.cell))]
    silent = [row.cell for row in night.without_result()]
    bad = [case for case in night.cases if case.bad and case.cell not in broken]
    bad = [case for case in bad if (case.cell, case.test) not in persistent.fleeting]
    standing, gone = finds(documents)
    bad += standing
    worse = unrecovered_regressions(findings, parts)
    stepped = {_series(one) for one in worse}
    creeping = [one for one in drifts if one.worse and _series(one) not in stepped]
    groups = [
        *_whole_cells("boots or runs next to nothing", broken),
        *_whole_cells("has no result", silent),
        *(
            _test_group(list(similar), judged, commits)
            for _, similar in groupby(sorted(bad, key=_failure_key), key=_failure_key)
        ),
        *(
            _step_group(list(similar), commits)
            for _, similar in groupby(sorted(worse, key=_step_key), key=_step_key)
        ),
        *(_drift_group(list(similar)) for _, similar in groupby(sorted(creeping, key=_drift_key), key=_drift_key)),
    ]
    passed = [case for case in night.cases if not case.bad and (case.cell, case.test) not in persistent.lingering]
    healthy = {one for case in (*passed, *gone) for one in _members(case)}
    healthy -= {one for case in standing for one in _members(case)}
    healthy_cells = {row.cell for row in night.planned if row.runs} - {*broken, *silent}
    healthy |= {key("cell", cell) for cell in healthy_cells}
    measured = {_series(one) for one in samples} - stepped - {_series(one) for one in creeping}
    return NightFailures(groups, frozenset(healthy | {key("metric", *one) for one in measured}))


def key(*words: str) -> str:
    """The key of a test, a cell or a metric in an issue: hex digits, so nothing must be escaped."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]


def unrecovered_regressions(findings: Sequence[Finding], parts: Sequence[Finding] = ()) -> list[Finding]:
    """The findings for the worse that nothing has undone since; `findings` are sorted by time."""
    given = {id(one) for one in findings}
    return [one for one in lasting_findings([*findings, *parts]) if one.worse and id(one) in given]


def _is_broken(cases: Sequence[Case]) -> bool:
    bad = sum(case.bad for case in cases)
    return bad >= FEWEST_OF_A_CELL and bad >= MOST_OF_A_CELL * len(cases)


def _members(case: Case) -> tuple[str, ...]:
    """The keys of a failure in an issue. A find has one of its test and one of its seed, so that an issue is known
    by any find of the test, and is changed by a new seed."""
    if case.seed:
        return key("hunt", case.cell, case.test), key("seed", case.seed)
    return (key("test", case.cell, case.test),)


def _failure_key(case: Case) -> tuple[str, str]:
    """What failures of one group share: the title of the kernel's crash, else the test."""
    if case.outcome == Outcome.CRASHED and (title := title_of(case.reason)):
        return "crash", title
    return "test", case.test


def _step_key(one: Finding) -> tuple[str, str]:
    return one.cell.partition(":")[0], one.after.commit


def _drift_key(one: Since) -> tuple[str, str, str]:
    return one.cell.partition(":")[0], one.metric.name, one.since.commit


def _series(one: Finding | Since | Sample) -> tuple[str, str, str]:
    return one.metric.name, one.cell, one.subject


def _whole_cells(what: str, cells: Sequence[str]) -> list[FailureGroup]:
    """One group for all cells with the same problem: the kernel is the likely cause."""
    if not cells:
        return []
    number = f"{len(cells)} cells" if len(cells) > 1 else cells[0]
    title = f"{number} {what if len(cells) == 1 else what.replace('has', 'have')}"
    lines = _limited([f"- {code(cell)} {what}" for cell in cells])
    return [FailureGroup(key("cells", what), _title(title), lines, frozenset(key("cell", cell) for cell in cells))]


def _test_group(cases: Sequence[Case], judged: Sequence[VerdictRecord], commits: Commits) -> FailureGroup:
    first = cases[0]
    kind, word = _failure_key(first)
    tests = sorted({case.test for case in cases})
    cells = {case.cell for case in cases}
    where = f"on {len(cells)} cells" if len(cells) > 1 else f"on {first.cell or 'no cell'}"
    title = f"{', '.join(tests[:3])}{' and others' if len(tests) > 3 else ''} {first.outcome} {where}"
    if kind == "crash":
        title = f"{word}: {title}"
    lines = [
        f"- {code(case.test)} on {code(case.cell)}: {code(case.outcome)}: {code(case.reason)}{by_seed(case)}"
        for case in cases
    ]
    members = frozenset(one for case in cases for one in _members(case))
    return FailureGroup(
        key(kind, word), _title(title), (*_limited(lines), *about_test(cases, judged, commits)), members
    )


def _step_group(findings: Sequence[Finding], commits: Commits) -> FailureGroup:
    rows = [in_words(one, {}) for one in ordered(findings)]
    first = rows[0]
    title = f"{first.metric} {first.change} on {first.cell} since {first.after}"
    lines = [
        f"- {code(one.metric)} of {code(one.cell)} {code(one.subject)}: **{one.change}** ({one.interval}), "
        f"{code(one.levels)}, between {code(safe_text(one.before))} and {code(safe_text(one.after))}; "
        f"{one.confidence}; {one.confirmed}"
        for one in rows
    ]
    members = frozenset(key("metric", *_series(one)) for one in findings)
    details = (*_limited(lines), *about_step(ordered(findings), commits))
    return FailureGroup(key("step", *_step_key(findings[0])), _title(title), details, members)


def _drift_group(drifts: Sequence[Since]) -> FailureGroup:
    """The drifts of one metric: no single commit did it, but many since the reference."""
    ordered_by_size = sorted(drifts, key=lambda one: -abs(one.change))
    worst = ordered_by_size[0]
    lines = [f"- {code(outlier_line(one), LONGEST_ASIDE)}" for one in ordered_by_size]
    title = f"{worst.metric.name} crept on {worst.cell} {worst.words}"
    members = frozenset(key("metric", *_series(one)) for one in drifts)
    return FailureGroup(key("creep", *_drift_key(worst)), _title(title), _limited(lines), members)


def _limited(lines: list[str]) -> tuple[str, ...]:
    more = len(lines) - MOST_LINES
    return (*lines[:MOST_LINES], *([f"- and {more} more"] if more > 0 else []))


def _title(text: str) -> str:
    """Text for a title: GitHub reads no markup in it except code spans."""
    shown = TITLE.sub("?", text)
    return shown if len(shown) <= 120 else f"{shown[:117]}..."
