"""Checks whether the answer holds for other builds of the largest culprit.

A check can't decide for a set of commits, nor if a build that it needs fails.
"""

from dataclasses import dataclass

import numpy as np

from harness.analysis.bisect.answer import Answer, Check, Culprit
from harness.analysis.bisect.model import FRESH, REVERTED, Build, CommitRange, Kind, Measure, Plan
from harness.analysis.bisect.session import Bisection, Checker

LAYOUTS = 2
"""How many further layouts of the culprit and of its parent are compared."""
FEWEST, MOST = 8, 100
"""The boots of each build: as many as the culprit or its parent had, within these bounds."""
KEPT, GONE, SURELY = 0.5, 0.25, 2.0
"""The share of the change that confirms it; the share below which it is gone; and by how many standard errors it
must then be below the whole."""
NOT_ASKED = "Not asked of this answer."


def rebuilt(bisection: Bisection, answer: Answer) -> Check:
    """The culprit against its parent, both built from scratch: incremental builds may be stale."""
    name, pair = rebuilt.__name__, _pair(bisection, answer)
    if pair is None:
        return Check(name, None, NOT_ASKED)
    parent, culprit = (Build(index, FRESH) for index in pair)
    share = _share(bisection, answer, name, [(parent, culprit)])
    if share is None:
        return Check(name, None, "One of them can't be built from scratch.")
    return Check(name, share.passed, f"Built from scratch, {share} of the change is there.")


def relaid(bisection: Bisection, answer: Answer) -> Check:
    """The culprit against its parent in layouts that neither had before: a change of layout alone does not
    repeat."""
    name, state, pair = relaid.__name__, bisection.state, _pair(bisection, answer)
    if pair is None:
        return Check(name, None, NOT_ASKED)
    ours = {key for plan in state.plans if plan.why == name for key in plan.builds}
    tried = [key.layout for key in (*state.builds, *state.broken) if key.index in pair and key not in ours]
    first = max(tried, default=0) + 1
    layouts = range(first, min(first + LAYOUTS, bisection.layouts))
    pairs = [(Build(pair[0], layout), Build(pair[1], layout)) for layout in layouts]
    share = _share(bisection, answer, name, pairs) if pairs else None
    if share is None:
        return Check(name, None, "No further layout of the culprit can be built.")
    return Check(name, share.passed, f"{share} of the change is there in {len(pairs)} other layouts.")


def reverted(bisection: Bisection, answer: Answer) -> Check:
    """The bad end against itself without the culprit, if that reverts cleanly."""
    name, pair = reverted.__name__, _pair(bisection, answer)
    if pair is None:
        return Check(name, None, NOT_ASKED)
    without = Build(pair[1], REVERTED)
    share = _share(bisection, answer, name, [(without, bisection.state.bad)])
    if share is None:
        return Check(name, None, bisection.state.broken.get(without, "It can't be built."))
    return Check(name, share.passed, f"Reverting it on the bad end takes {share} of the change away.")


CHECKS: tuple[tuple[str, Checker], ...] = tuple((one.__name__, one) for one in (rebuilt, relaid, reverted))


def checks_of(measure: Measure) -> list[tuple[str, Checker]]:
    """The checks that apply to the measure: layouts move no exact number and no test."""
    return [(name, check) for name, check in CHECKS if check is not relaid or measure.layout]


def parent_and_culprit(line: CommitRange, culprit: Culprit) -> tuple[int, int]:
    """The points that are built for a culprit's parent and for the culprit."""
    place = culprit.points[0]
    return line.first_alike(place - 1), line.first_alike(place)


def _pair(bisection: Bisection, answer: Answer) -> tuple[int, int] | None:
    """The same; None if the culprit is a set."""
    greatest = answer.culprits[0]
    return parent_and_culprit(bisection.state.range, greatest) if len(greatest.points) == 1 else None


@dataclass(frozen=True, slots=True)
class _Share:
    """The share of the culprit's change that was seen again, with its standard error."""

    mean: float
    error: float

    def __str__(self) -> str:
        return f"{self.mean:.0%}"

    @property
    def passed(self) -> bool | None:
        if self.mean >= KEPT:
            return True
        return False if self.mean < GONE and self.mean + SURELY * self.error < 1 else None


def _share(bisection: Bisection, answer: Answer, name: str, pairs: list[tuple[Build, Build]]) -> _Share | None:
    """The mean difference within each pair of builds, as a share of the change; None if no pair can be
    measured."""
    state = bisection.state
    keys = [key for pair in pairs for key in pair]
    had = max((state.count(Build(index)) for index in _pair(bisection, answer) or ()), default=0)
    boots = 1 if state.measure.kind is Kind.EXACT else min(max(FEWEST, had), MOST)
    plan = Plan(
        name,
        tuple(key for key in keys if key not in state.builds and key not in state.broken),
        tuple((key, boots) for key in keys),
    )
    if not any(one.why == name for one in state.plans):
        bisection.run_plan(plan)
    both = [
        (state.numbers(old), state.numbers(new))
        for old, new in pairs
        if state.informative_boots(old) and state.informative_boots(new)
    ]
    if not both:
        return None
    change = answer.culprits[0].change
    mean = float(np.mean([np.mean(new) - np.mean(old) for old, new in both]))
    variance = sum(np.var(side) / len(side) for pair in both for side in pair)
    return _Share(mean / change, float(np.sqrt(variance)) / len(both) / abs(change))
