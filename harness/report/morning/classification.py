"""Sorts the tests of a history into new failures, flaky ones, those that still fail, and those that were fixed."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from operator import attrgetter

from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.verdict_table import VerdictKind, VerdictTable
from harness.metrics.records import Version
from harness.report.morning.broken_cells import broken_cells, broken_nights
from harness.report.morning.nights import Nights
from harness.report.morning.rates import PatternKind, failure_pattern, interval, rate_changed
from harness.report.morning.several_cells import mended, scattered
from harness.report.morning.tests import INCONCLUSIVE, CellRuns, Group, Run, StaleExpectation, Tests, failed
from harness.runner.failure_titles import identity

RECENT = 30
"""Nights over which rates are computed, and which strips show."""
NEWEST = 10
"""The newest nights, whose rate of failure is compared with that of the nights before them."""
FIXED_WITHIN = 7
"""Nights for which a fix is reported."""

Key = tuple[str, str, str]
"""Suite, test, cell."""


def tests_of(
    judged: VerdictTable, nights: Nights, expired: Callable[[VerdictRecord], bool] = lambda one: False
) -> Tests:
    """Classify all tests. `expired` tells whether an entry that has run out since expected the verdict."""
    # Of a year there are a million, and nearly all are passes of tests that never did anything else.
    unusual = {_key(kind) for kind in judged.kinds if not kind.expected or kind.outcome == "flaky"}
    rows = [_as_expected(one, expired) for one in judged.where(lambda kind: _key(kind) in unusual)]
    odd = [(nights.number(one.taken), one) for one in rows if not one.expected or one.outcome == "flaky"]
    broken = broken_nights(odd, judged, nights)
    runs = _runs(odd, rows, nights, broken)
    tonight = _of_night([_as_expected(one, expired) for one in judged.between(*nights.within(nights.last))])
    on_cells = [
        CellRuns(test, cell, ran, failure_pattern([run.bad for run in ran]))
        for (_, test, cell), ran in runs.items()
        if any(run.bad for run in ran)
    ]
    by_test: dict[tuple[str, str], list[CellRuns]] = defaultdict(list)
    for cell_runs in on_cells:
        by_test[cell_runs.cell.partition(":")[0], cell_runs.test].append(cell_runs)
    well = Counter((cell.partition(":")[0], test) for (_, test, cell), one in tonight.items() if _good(one))
    sorted_out = [_of_test(found, nights.last, well[key]) for key, found in sorted(by_test.items())]
    new, flaky, still, fixed = (list(chain.from_iterable(one[kind] for one in sorted_out)) for kind in range(4))
    return Tests(
        sorted(new, key=lambda one: (-len(one.cells), one.test)),
        sorted(flaky, key=lambda one: (-one.bad, one.test)),
        sorted(still, key=lambda one: (-one.began, one.test)),
        sorted(fixed, key=lambda one: (-one.began, one.test)),
        _stale(odd, rows, nights),
        broken_cells(broken, nights),
        _unrun(tonight, judged, nights),
        [one for one in tonight.values() if one.outcome == "harness_error"],
        len(tonight),
        sum(map(_good, tonight.values())),
    )


def _as_expected(verdict: VerdictRecord, expired: Callable[[VerdictRecord], bool]) -> VerdictRecord:
    """The verdict, as expected if an entry that has run out expected it: such entries are reported themselves."""
    return replace(verdict, expected=True) if failed(verdict) and expired(verdict) else verdict


def _key(one: VerdictRecord | VerdictKind) -> Key:
    return one.suite, one.test, one.cell


def _good(judged: VerdictRecord) -> bool:
    return judged.expected or judged.outcome == "skipped"


def _runs(
    odd: Iterable[tuple[int, VerdictRecord]], rows: Iterable[VerdictRecord], nights: Nights,
    broken: Mapping[tuple[str, int], str],
) -> dict[Key, list[Run]]:  # fmt: skip
    """The runs of each test that ever failed, oldest first. Leaves out runs that say nothing of the kernel, and
    those of a night in which the whole cell was broken."""
    keys = {_key(one) for _, one in odd if one.outcome not in (*INCONCLUSIVE, "passed")}
    wanted = [one for one in rows if _key(one) in keys]
    runs: dict[Key, list[Run]] = defaultdict(list)
    for verdict in sorted(wanted, key=attrgetter("taken")):
        night = nights.number(verdict.taken)
        if verdict.outcome in INCONCLUSIVE or (verdict.cell, night) in broken:
            continue
        ran = runs[_key(verdict)]
        if verdict.outcome == "flaky" and not (ran and ran[-1].bad and ran[-1].judged.run == verdict.run):
            ran.append(Run(night, True, verdict))  # its first run failed, and was not recorded by itself
        ran.append(Run(night, failed(verdict), verdict))
    return runs


def _of_night(rows: Iterable[VerdictRecord]) -> dict[Key, VerdictRecord]:
    """The last verdict of each test among those of one night."""
    return {_key(one): one for one in sorted(rows, key=attrgetter("taken"))}


def _of_test(
    found: Sequence[CellRuns], last: int, well: int
) -> tuple[list[Group], list[Group], list[Group], list[Group]]:
    """The groups of one test on one kernel: new failures, flaky, still failing, fixed. `found` are its runs on
    each cell where it ever failed; `well` counts the cells that passed it last night."""
    fixed_together = mended(found)
    flaky = [
        one for one in found
        if one not in fixed_together and (one.pattern.kind is PatternKind.FLAKY or _comes_and_goes(one))
    ]  # fmt: skip
    known = {_identity(run.judged) for one in flaky for run in one.runs if run.bad}
    failing_kinds = (PatternKind.BROKEN, PatternKind.UNDECIDED)
    failing = [one for one in found if one not in flaky and one.pattern.kind in failing_kinds]
    undecided = [one for one in failing if one.pattern.kind is PatternKind.UNDECIDED]
    joined = [one for one in undecided if _identity(one.last.judged) in known]
    failing = [one for one in failing if one not in joined]
    if not flaky and (rare := scattered(found, failing, last - RECENT + 1)):
        flaky = rare
    flaky += joined
    ran = [one for one in failing if one.last.night == last]
    silent = [one.cell for one in failing if one.last.night < last]
    new = [one for one in ran if one.first_bad.night == last]
    old = [one for one in ran if one.first_bad.night < last]
    lately = [one for one in fixed_together if one.last.night == last and _failed_within(one, last - FIXED_WITHIN)]
    fixed = [one for one in found if one not in flaky and one not in failing and _is_fixed(one, last)]
    fixed += [one for one in lately if one not in fixed]
    if not ran and silent:
        old = [one for one in failing if one.cell in silent]
    return (
        [_group(new, last, well, silent=())] if new else [],
        [_group(flaky, last, well, kind=PatternKind.FLAKY)] if _is_told(flaky, last) else [],
        [_group(old, last, well, silent=tuple(silent))] if old else [],
        [_group(fixed, last, well, kind=PatternKind.WELL)] if fixed else [],
    )


def _comes_and_goes(cell_runs: CellRuns) -> bool:
    """Whether the test fails now, and failed and recovered before: then no single commit broke it."""
    now = cell_runs.pattern
    return now.kind is PatternKind.UNDECIDED and any(run.bad for run in cell_runs.runs[: now.began])


def _failed_within(cell_runs: CellRuns, night: int) -> bool:
    """Whether the test failed in that night or in a later one."""
    return any(run.bad and run.night >= night for run in cell_runs.runs)


def _is_told(flaky: Sequence[CellRuns], last: int) -> bool:
    """Whether any cell failed in a recent night."""
    return any(run.bad and run.night > last - RECENT for one in flaky for run in one.runs)


def _is_fixed(cell_runs: CellRuns, last: int) -> bool:
    """Whether the test passes now, and was broken or flaky within the last `FIXED_WITHIN` nights."""
    if cell_runs.pattern.kind is not PatternKind.WELL or cell_runs.last.bad or cell_runs.last.night != last:
        return False
    before = [run.bad for run in cell_runs.runs if run.night <= last - FIXED_WITHIN]
    lately = [run for run in cell_runs.runs if run.night > last - FIXED_WITHIN]
    broke = sum(run.bad for run in lately) > 1 and cell_runs.pattern.before is not PatternKind.WELL
    return broke or (any(before) and failure_pattern(before).kind in (PatternKind.BROKEN, PatternKind.FLAKY))


def _identity(judged: VerdictRecord) -> str:
    return identity(judged.outcome, judged.reason)


def _group(
    found: Sequence[CellRuns], last: int, well: int, silent: Sequence[str] = (), kind: PatternKind | None = None
) -> Group:
    """Join the runs of one test on several cells; `kind` is decided by all of them unless it is given."""
    cells = sorted(found, key=lambda one: one.cell)
    first = min(cells, key=lambda one: one.first_bad.judged.taken)
    worst = Counter(_identity(run.judged) for one in cells for run in one.runs if run.bad).most_common(1)[0][0]
    example = next(
        run.judged for one in cells for run in reversed(one.runs) if run.bad and _identity(run.judged) == worst
    )
    recent = [run for one in cells for run in one.runs if run.night > last - RECENT and _since(one, run)]
    counted = [run for one in cells for run in _after_first(one) if run.night > last - RECENT]
    newest = [run.bad for run in counted if run.night > last - NEWEST]
    older = [run.bad for run in counted if run.night <= last - NEWEST]
    clean = all(one.pattern.clean for one in cells)
    began = first.first_bad.night
    if kind is PatternKind.WELL:
        began = max((run.night for one in cells for run in one.runs if run.bad), default=last) + 1
    return Group(
        first.test, cells, kind or _together(cells), example.outcome, example.reason, began,
        sum(run.bad for run in recent), len(recent),
        sum(run.bad for run in counted) / len(counted) if counted else 0.0,
        interval(sum(run.bad for run in counted), len(counted)),
        rate_changed((sum(older), len(older)), (sum(newest), len(newest))),
        _range(cells) if clean else None, well, silent,
    )  # fmt: skip


def _since(cell_runs: CellRuns, run: Run) -> bool:
    """Whether the run belongs to the current state of the test on that cell. Every run does if it is well now."""
    if cell_runs.pattern.kind is PatternKind.WELL:
        return True
    return run.judged.taken >= cell_runs.first_bad.judged.taken


def _after_first(cell_runs: CellRuns) -> Sequence[Run]:
    """The runs that count for the rate: those after the first failure, which only marks where the state began."""
    start = cell_runs.pattern.began
    return cell_runs.runs[start + 1 :] if start else cell_runs.runs


def _together(cells: Sequence[CellRuns]) -> PatternKind:
    """Whether the test is broken or undecided, by the runs of all cells together. The first failures, by which
    the cells were chosen, count once."""
    kinds = {one.pattern.kind for one in cells}
    if kinds == {PatternKind.BROKEN}:
        return PatternKind.BROKEN
    first = min(cells, key=lambda one: one.first_bad.judged.taken)
    before = [run.bad for run in first.runs[: first.pattern.began]]
    after = sorted((run.night, one.cell, run.bad) for one in cells for run in one.runs[one.pattern.began + 1 :])
    return failure_pattern([*before, True, *(bad for *_, bad in after)]).kind


def _range(cells: Sequence[CellRuns]) -> tuple[Version, Version] | None:
    """The last version that passed and the first that failed; None if the test was never seen to pass before."""
    first = min((one.first_bad for one in cells), key=lambda run: run.judged.taken)
    good = [one.good_before for one in cells]
    before = [run for run in good if run and run.judged.taken < first.judged.taken]
    if not before:
        return None
    last_good = max(before, key=lambda run: run.judged.taken)
    return last_good.judged.version, first.judged.version


def _stale(
    odd: Iterable[tuple[int, VerdictRecord]], rows: Iterable[VerdictRecord], nights: Nights
) -> list[StaleExpectation]:
    """The tests whose last verdict was a pass although their failure is expected, by kernel and test."""
    keys = {_key(one) for _, one in odd if one.outcome == "passed"}
    if not keys:
        return []
    latest: dict[Key, tuple[int, VerdictRecord]] = {}
    since: dict[Key, int] = {}
    wanted = [one for one in rows if _key(one) in keys]
    for verdict in sorted(wanted, key=attrgetter("taken")):
        key, night = _key(verdict), nights.number(verdict.taken)
        if verdict.outcome == "passed" and not verdict.expected:
            since.setdefault(key, night)
        elif verdict.outcome not in INCONCLUSIVE:
            since.pop(key, None)
        latest[key] = night, verdict
    by_test: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for key in since:
        if latest[key][0] == nights.last and latest[key][1].outcome == "passed":
            by_test[key[2].partition(":")[0], key[1]].append(key)
    return [
        StaleExpectation(
            test, sorted(key[2] for key in keys_), nights.last - min(since[key] for key in keys_) + 1,
            latest[keys_[0]][1],
        )
        for (_, test), keys_ in sorted(by_test.items())
    ]  # fmt: skip


def _unrun(
    tonight: Iterable[Key], judged: VerdictTable, nights: Nights
) -> list[tuple[str, Sequence[str]]]:
    """The tests that ran the night before and not last night, on cells with other results of last night."""
    if nights.last < 1:
        return []
    cells = nights.every[nights.last].cells
    ran = judged.between(*nights.within(nights.last - 1))
    before = {(one.test, one.cell) for one in ran if one.cell in cells}
    gone: dict[str, list[str]] = defaultdict(list)
    for test, cell in before - {(test, cell) for _, test, cell in tonight}:
        gone[test].append(cell)
    return [(test, sorted(found)) for test, found in sorted(gone.items())]
