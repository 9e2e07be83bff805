"""What the page says of changes: between which commits they lie, what bisections found, what was undone."""

from dataclasses import replace
from random import Random

import pytest
from planted_nights import BEGAN, CELLS, DAY, LARGE, Planted, version

from harness.analysis.regression.finding import Finding
from harness.metrics.records import Document, Metric, Version
from harness.report.html.page import page
from harness.report.model.data import ReportData
from harness.report.morning.bisection_answers import WITHIN, bisection_answers
from harness.report.morning.changes import changes_of
from harness.report.morning.report import morning

ROFS, ZFS, RAMFS, *_ = CELLS
NIGHTS, STEP = 24, 18
CULPRIT = "c0ffee" + "0" * 34
"""A commit between two nights: no night has measured it."""


def says(night: int, cell: str, test: str, dice: Random) -> tuple[str, bool, str] | None:
    """A test that breaks in one of the last nights."""
    return ("failed", False, "status 1") if test == "tst-a.so" and cell == ZFS and night >= STEP else None


def answer(
    name: str, cell: str, good: Version, bad: Version, commit: str = CULPRIT, outcome: str = "found",
    kind: str = "exact", taken: float = BEGAN + NIGHTS * DAY,
) -> Document:  # fmt: skip
    """What the history keeps of a bisection."""
    levels = (0.0, 1.0) if kind == "test" else (9e6, 9.18e6)
    culprit = {
        "points": [1], "commits": [commit], "probability": 0.997, "old_level": levels[0], "new_level": levels[1],
        "change": levels[1] - levels[0], "interval": list(levels), "broken": [],
    }  # fmt: skip
    body = {
        "measure": {"name": name, "unit": "B", "kind": kind}, "range": [good.commit, bad.commit, 3], "commits": [],
        "answer": {
            "outcome": outcome, "culprits": [culprit], "warnings": [], "checks": [], "why": "", "inside": None
        },
        "differences": [],
    }  # fmt: skip
    return Document("bisect", cell, name, body, bad, "r", taken, f"{name}{commit}{outcome}{taken}")


def planted(*documents: Document) -> ReportData:
    told = Planted(NIGHTS, says, sizes=lambda night, cell: 1.02 if night >= STEP and cell != RAMFS else 1.0).told()
    return replace(told, documents=documents)


ENDS = version(ROFS, STEP - 1), version(ROFS, STEP)


@pytest.mark.parametrize("commit", [CULPRIT, ENDS[1].commit])
def test_a_step_says_what_a_bisection_found(commit: str) -> None:
    """Also where the commit was in no night: the step between its ends has it, and no second step is told."""
    told = planted(answer(LARGE.name, ROFS, *ENDS, commit))
    steps = [one for one in morning(told.safe).changes.steps if one.kernel == "osv"]
    assert [(one.after, [found.commit for found in one.bisected]) for one in steps] == [(ENDS[1], [commit])]
    html = page(told)
    assert html.count("found by bisection") == 1
    assert f"bisected: <code>{commit[:12]}</code>, with a probability of 0.997" in html


def test_what_was_bisected_and_is_no_finding_is_a_step() -> None:
    """Such as one that too few nights show."""
    told = planted(answer("boot.instructions", ROFS, *ENDS))
    steps = morning(told.safe).changes.steps
    names = [(one.after.commit, found.name) for one in steps for found in one.bisected]
    assert names == [(CULPRIT, "boot.instructions")]
    assert f"bisected: <code>{CULPRIT[:12]}" in page(told)


@pytest.mark.parametrize(
    "document",
    [
        answer(LARGE.name, ROFS, *ENDS, outcome="refuted"),
        answer(LARGE.name, ROFS, *ENDS, outcome="narrowed"),
        answer(LARGE.name, ROFS, *ENDS, taken=BEGAN + NIGHTS * DAY - WITHIN - 2 * DAY),
        replace(answer(LARGE.name, ROFS, *ENDS), body={"answer": {"outcome": "found", "culprits": [{}]}}),
        replace(answer(LARGE.name, ROFS, *ENDS), body={}),
    ],
    ids=["refuted", "narrowed", "old", "of another format", "empty"],
)
def test_an_answer_that_names_no_commit_blames_none(document: Document) -> None:
    steps = morning(planted(document).safe).changes.steps
    assert steps and not any(one.bisected for one in steps)


def test_a_bisected_change_that_was_undone_stands_no_more() -> None:
    def finding(old: float, new: float, night: int) -> Finding:
        versions = version(ROFS, night - 1), version(ROFS, night)
        return Finding(LARGE, ROFS, "", *versions, old, new, new / old - 1, (0.0, 0.0), 0.0, (5, 5))

    up, down = finding(100.0, 110.0, 5), finding(110.0, 100.0, 9)
    answers = bisection_answers([answer(LARGE.name, ROFS, up.before, up.after)], BEGAN)
    assert len(answers) == 1
    undone = changes_of([up, down], {}, answers).steps
    assert [(one.after, one.undoes, one.bisected) for one in undone] == [(down.after, True, [])]
    (step,) = changes_of([up], {}, answers).steps
    assert step.bisected == answers


@pytest.mark.parametrize("kind", ["its own", "of another test", "from before it began"])
def test_a_failing_test_says_what_a_bisection_found(kind: str) -> None:
    name = "tst-b.so" if kind == "of another test" else "tst-a.so"
    taken = BEGAN + (STEP - 1 if kind == "from before it began" else NIGHTS) * DAY
    html = page(planted(answer(name, ZFS, *ENDS, kind="test", taken=taken)))
    assert html.count(f'data-bisected="{CULPRIT[:12]}"') == (kind == "its own")
    assert "found by bisection" not in html


NOISY = Metric("memory.used", "B")


def noisy(cell: str, night: int, span: tuple[int, int]) -> Finding:
    ends = version(cell, night - 1), version(cell, night)
    wide = version(cell, span[0]), version(cell, span[1])
    return Finding(NOISY, cell, "", *ends, 1e6, 1.1e6, 0.1, (0.09, 0.11), 1e-6, (9, 9), span=wide)


def test_a_noisy_step_names_the_range_in_which_it_surely_lies() -> None:
    """What its cells have in common, and the likeliest version in it; an exact one names its commit."""
    two = [noisy(ROFS, 10, (6, 12)), noisy(ZFS, 10, (8, 14))]
    (step,) = changes_of(two, {}, ()).steps
    assert step.span == (version(ROFS, 8), version(ROFS, 12))
    assert (step.before, step.after) == (version(ROFS, 9), version(ROFS, 10))
    html = page(replace(Planted(NIGHTS).told(), findings=two))
    low, high, likeliest = (version(ROFS, night).described for night in (8, 12, 10))
    assert f">{low}</code>, by <code" in html and f">{high}</code>, likeliest after" in html and likeliest in html
    exact = replace(two[0], metric=LARGE)
    (step, *_) = changes_of([exact], {}, ()).steps
    assert step.span == (step.before, step.after)


def test_a_cell_whose_range_misses_the_commit_by_one_night_has_no_row_of_its_own() -> None:
    """Of the same metric, in the same direction; two nights away it is another change."""
    near, far = noisy(ROFS, 11, (10, 12)), noisy(RAMFS, 12, (11, 13))
    exact = replace(noisy(ZFS, 10, (9, 10)), metric=replace(NOISY, exact=True))
    steps = changes_of([exact, near, far], {}, ()).steps
    cells = {one.after.commit: [change.cells for change in one.wholes] for one in steps}
    assert cells == {version(ZFS, 10).commit: [[ROFS, ZFS]], version(ZFS, 12).commit: [[RAMFS]]}
    better = replace(near, change=-0.1, new_level=0.9e6)
    assert len(changes_of([exact, better], {}, ()).steps) == 2


@pytest.mark.parametrize(("nights", "standing", "new"), [(24, 0, 0), (15, 0, 1)])
def test_what_undoes_a_step_is_told_once_and_stands_not(nights: int, standing: int, new: int) -> None:
    """A regression that was undone leaves no change: neither it nor its undoing, but in the night of that."""
    told = Planted(nights, sizes=lambda night, cell: 1.03 if 8 <= night < 14 else 1.0).told()
    now = morning(told.safe)
    steps = {kernel: [one for one in now.changes.steps if one.kernel == kernel] for kernel in ("osv", "linux")}
    assert [len(found) for found in steps.values()] == [1, 1], "the undoing was found on each kernel"
    assert (len(now.standing_steps), len(now.new_steps)) == (2 * standing, 2 * new)
    assert page(told).count("it brings back what an earlier commit had made worse") == 2 * new
    assert not any(one.worse for one in now.new_steps) and now.headline == "No new failures"


def test_what_takes_back_a_gain_stands() -> None:
    """It made the kernel worse, and somebody must look at it."""
    told = Planted(24, sizes=lambda night, cell: 0.97 if 8 <= night < 14 else 1.0).told()
    assert [one.after for one in morning(told.safe).standing_steps if one.kernel == "osv"] == [version(ROFS, 14)]
