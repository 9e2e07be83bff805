"""Decides whether good and bad differ at all, before anything between them is built."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from harness.analysis.bisect.likelihood import Failures, Summary, summary
from harness.analysis.bisect.model import Build, Kind, Plan
from harness.analysis.bisect.state import State
from harness.core.errors import HarnessError

FIRST = {Kind.EXACT: 2, Kind.NOISY: 8, Kind.TEST: 5}
"""The boots of each end at the first look; each later look has twice as many. An exact number needs two, to show
that it is exact."""
SURE, LAST = 4.5, 3.5
"""Standard errors that count as a difference at an early look, and at the last. One bisection in 2,000 starts
without a real difference."""
POWER = 1.2816
"""The normal quantile of the 90% of cases in which the smallest detectable difference would have been found."""
LAYOUTS, BOOTS_PER_LAYOUT = 3, 200
"""How many layouts of both ends are measured before the ends are called equal or swapped, and the boots of
each."""
LIKELIHOOD_RATIO, LAST_RATIO = 300.0, 20.0
"""The same for a test, at an early look and at the last: how many times likelier two failure rates are than
one."""
ALWAYS = 10
"""A test that failed in all of so many boots of each end is called failing at both."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The levels of both ends, whether they differ, and the smallest difference that so many boots would have
    found in 90% of cases."""

    good: float
    bad: float
    differ: bool
    smallest: float

    @property
    def change(self) -> float:
        return self.bad - self.good


def compare_ends(state: State, layouts: int) -> Plan | Ends:
    """The next plan for the ends, or their comparison. Both are built, from different binaries.

    A layout can hide a difference or fake one. So before ends of noisy numbers are called equal or swapped, they
    are built in further layouts, of which `layouts` can be made.
    """
    first = FIRST[state.measure.kind]
    counts = [state.count(key) for key in (state.good, state.bad)]
    if min(counts) < first:
        return _boots(state, min(first, state.effort.most_boots))
    if state.measure.kind is Kind.TEST and min(map(state.informative_boots, (state.good, state.bad))) < first:
        return _more_informative_boots(state, first)
    ends = [summary(state.numbers(key)) for key in (state.good, state.bad)]
    last = min(counts) >= state.effort.most_boots
    if state.measure.kind is Kind.EXACT:
        _check_exact(state)
        return Ends(ends[0].mean, ends[1].mean, ends[0].mean != ends[1].mean, 0.0)
    seen, smallest = (_test_ends if state.measure.kind is Kind.TEST else _noisy_ends)(ends, last)
    if state.measure.kind is Kind.TEST and ends[0].mean == ends[1].mean == 1 and not last:
        enough = min(one.count for one in ends) >= ALWAYS
        last = enough or min(counts) >= state.effort.most_boots
        if not last:
            return _boots(state, min(max(counts) + ALWAYS - first, state.effort.most_boots))
    if not seen and not last:
        return _boots(state, min(2 * min(counts), state.effort.most_boots))
    measured_ends = Ends(ends[0].mean, ends[1].mean, seen, smallest)
    if (
        state.measure.kind is Kind.NOISY
        and state.measure.layout
        and not (seen and _is_worse(state, measured_ends.change))
    ):
        return _in_more_layouts(state, measured_ends, min(layouts, LAYOUTS))
    return measured_ends


def _is_worse(state: State, change: float) -> bool:
    return (change > 0) == (state.measure.better == "lower")


def _in_more_layouts(state: State, measured_ends: Ends, layouts: int) -> Plan | Ends:
    """A plan for further layouts of the ends, or the comparison over all of them."""
    both: list[tuple[Summary, Summary]] = []
    for layout in range(layouts):
        keys = [Build(end.index, layout) for end in (state.good, state.bad)]
        if any(key in state.broken for key in keys):
            continue
        if any(state.count(key) < BOOTS_PER_LAYOUT and state.count(key) < state.effort.most_boots for key in keys):
            builds = tuple(key for key in keys if key not in state.builds)
            boots = min(BOOTS_PER_LAYOUT, state.effort.most_boots)
            return Plan("ends", builds, tuple((key, max(boots, state.count(key))) for key in keys))
        good, bad = (summary(state.numbers(key)) for key in keys)
        both.append((good, bad))
        change = float(np.mean([two.mean - one.mean for one, two in both]))
        if any(_noisy_ends([one, two], True)[0] for one, two in both) and _is_worse(state, change):
            break
    levels = [float(np.mean([pair[side].mean for pair in both])) for side in (0, 1)]
    errors = [_noisy_ends(list(pair), True)[1] / (LAST + POWER) for pair in both]
    changes = [two.mean - one.mean for one, two in both]
    spread = max(float(np.std(changes, ddof=1)) if len(both) > 1 else 0.0, float(np.mean(errors)))
    error = spread / np.sqrt(len(both))
    change = levels[1] - levels[0]
    seen = any(_noisy_ends(list(pair), True)[0] for pair in both) and (
        _is_worse(state, change) or abs(change) > 2 * error
    )
    return Ends(
        levels[0],
        levels[1],
        seen,
        max(measured_ends.smallest, (LAST + POWER) * error) if len(both) > 1 else measured_ends.smallest,
    )


def _check_exact(state: State) -> None:
    """Raise `HarnessError` if boots of the same build gave different numbers."""
    for key in (state.good, state.bad):
        if len(values := sorted(set(state.numbers(key)))) > 1:
            raise HarnessError(
                f"{state.measure.name} is called exact, but one build gave {values[0]:g} and {values[-1]:g}.",
                "Something in the guest or its host is left to chance: bisect it as a noisy number.",
            )


def _more_informative_boots(state: State, first: int) -> Plan:
    """Plan more boots of an end with too few informative ones. Raises `HarnessError` if most of them are not."""
    ends = (state.good, state.bad)
    wanted = {key: state.count(key) + max(0, first - state.informative_boots(key)) for key in ends}
    if max(wanted.values()) > state.effort.most_boots:
        raise HarnessError(
            f"Of {state.effort.most_boots} boots of an end, fewer than {first} tell of {state.target_failure}.",
            "Name other ends: these fail by something else.",
        )
    return Plan("ends", (), tuple(wanted.items()))


def _boots(state: State, count: int) -> Plan:
    return Plan("ends", (), tuple((key, max(count, state.count(key))) for key in (state.good, state.bad)))


def _noisy_ends(ends: list[Summary], last: bool) -> tuple[bool, float]:
    freedom = sum(one.count - 1 for one in ends)
    sigma = np.sqrt(sum(one.scatter for one in ends) / max(1, freedom))
    error = float(sigma * np.sqrt(sum(1 / one.count for one in ends)))
    distance = abs(ends[1].mean - ends[0].mean)
    return distance > (LAST if last else SURE) * error, (LAST + POWER) * error


def _test_ends(ends: list[Summary], last: bool) -> tuple[bool, float]:
    count = min(one.count for one in ends)
    good = round(ends[0].mean * ends[0].count)
    seen = _likelihood_ratio(good, ends[0].count, round(ends[1].mean * ends[1].count), ends[1].count)
    needed = next(
        (bad for bad in range(good, count + 1) if _likelihood_ratio(good, count, bad, count) > LAST_RATIO), None
    )
    smallest = 1.0 if needed is None else float(beta.ppf(0.9, needed, count - needed + 1)) - good / count
    return seen > (LAST_RATIO if last else LIKELIHOOD_RATIO), smallest


def _likelihood_ratio(good: int, of_good: int, bad: int, of_bad: int) -> float:
    """How many times likelier the outcomes are with two failure rates than with one."""
    if bad / of_bad == good / of_good:
        return 0.0
    family = Failures()
    builds = [Summary(of_good, good / of_good, 0.0), Summary(of_bad, bad / of_bad, 0.0)]
    sums = family.sums(builds)
    two, one = family.evidence(sums).sum(), family.evidence(sums.sum(axis=0)).sum()
    return float(np.exp(min(two - one, 700.0)))
