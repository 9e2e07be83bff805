"""Decides the next step of a bisection from its state: a plan, a drift of the host's speed, or the end.

It is a pure function of the state, so a resumed session decides what the one before would have decided.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.bisect import drift, endpoints, exact_search
from harness.analysis.bisect.information_gain import NoiselessChannel, channel_for
from harness.analysis.bisect.journal_records import Drifted
from harness.analysis.bisect.likelihood import Array
from harness.analysis.bisect.model import Build, Builder, Kind, Plan
from harness.analysis.bisect.posterior import MeasuredPoints, Posterior, measured_points, posterior
from harness.analysis.bisect.probe_selection import Probe, choose_probe, enough_boots, separable
from harness.analysis.bisect.segmentation import Segmentation, segment, segments_at
from harness.analysis.bisect.state import State
from harness.core.errors import HarnessError

SEVERAL = 0.9
"""The probability of several steps from which each is searched for by itself."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was searched for: the probability of each point (`mass`), its levels, its size with a standard
    deviation."""

    mass: Array
    old: float
    new: float
    change: float
    deviation: float


@dataclass(frozen=True, slots=True)
class SearchEnd:
    """Nothing is left to do.

    `ends` is None if good and bad are the same binary. `shapes` is the probability of each number of steps (None
    for an exact number). `why` says why a step is not certain.
    """

    ends: endpoints.Ends | None
    steps: tuple[Step, ...] = ()
    shapes: dict[str, float] | None = None
    why: str = ""


def decide(state: State, builder: Builder) -> Plan | Drifted | SearchEnd:
    """Decide what to do next. Raises `HarnessError` if an end can't be measured: then nothing can be bisected."""
    both = (state.good, state.bad)
    for key, name in zip(both, ("good", "bad"), strict=True):
        if key in state.broken:
            raise HarnessError(
                f"The {name} end, {state.range.commits[key.index][:12]}, can't be measured: {state.broken[key]}",
                "Name another; or give a command that builds old commits, with --build-with.",
            )
    if state.good == state.bad:
        return SearchEnd(None)
    if not all(key in state.builds for key in both):
        return Plan("ends", both)
    if state.same_as(state.good) == state.same_as(state.bad):
        return SearchEnd(None)
    if changed := drift.detect_drift(state):
        return changed
    ends = endpoints.compare_ends(state, builder.layouts)
    if isinstance(ends, Plan):
        return ends
    if not ends.differ or (ends.change > 0) != (state.measure.better == "lower"):
        return SearchEnd(ends)
    return _exact(state, builder, ends) if state.measure.kind is Kind.EXACT else _noisy(state, builder, ends)


def _exact(state: State, builder: Builder, ends: endpoints.Ends) -> Plan | SearchEnd:
    if plan := exact_search.repeat_plan(state, exact_search.isolated_points(state)):
        return plan
    left = exact_search.gaps(state)
    for gap in left:
        if probe := choose_probe(state, builder, gap.mass, NoiselessChannel(np.cumsum(gap.mass))):
            return _within_budget(state, probe) or _exact_end(ends, left, _budget_spent(state))
    if plan := exact_search.repeat_plan(state, [at for gap in left for at in (gap.first, gap.last)]):
        return plan
    return _exact_end(ends, left, "")


def _exact_end(ends: endpoints.Ends, left: Sequence[exact_search.Gap], why: str) -> SearchEnd:
    return SearchEnd(ends, tuple(Step(gap.mass, gap.old, gap.new, gap.change, 0.0) for gap in left), None, why)


def _noisy(state: State, builder: Builder, ends: endpoints.Ends) -> Plan | SearchEnd:
    suspects = np.array(state.range.suspects(), dtype=float)
    prior = suspects / suspects.sum()
    found = measured_points(state.measure, state.observations())
    shapes = segment(found, prior)
    searched = _posteriors(found, shapes, prior, ends.change > 0)
    boots = max(enough_boots(state, one.mass, channel_for(found.levels, one)) for one in searched)
    if min(state.count(state.good), state.count(state.bad)) < boots:
        return Plan("ends", (), tuple((key, max(boots, state.count(key))) for key in (state.good, state.bad)))
    if state.measure.kind is Kind.NOISY and drift.builds_since(state) >= drift.EVERY:
        return drift.reference_plan(state, boots)
    why = ""
    for one in searched:
        if blocks(state, one.mass).max() >= state.effort.confidence:
            continue
        if probe := choose_probe(state, builder, one.mass, channel_for(found.levels, one)):
            if plan := _within_budget(state, probe):
                return plan
            why = _budget_spent(state)
        else:
            why = _why_undecided(state, builder, one, found)
    if state.measure.kind is Kind.NOISY and drift.builds_since(state):
        return drift.reference_plan(state, boots)
    steps = tuple(Step(one.mass, *one.levels(), *one.change()) for one in searched)
    return SearchEnd(ends, steps, shapes.shapes, why)


def _posteriors(found: MeasuredPoints, shapes: Segmentation, prior: Array, upwards: bool) -> list[Posterior]:
    """The posterior of the single step, or of each step if several are likely."""
    if shapes.several >= SEVERAL:
        each = [posterior(part.found, prior, None, part.noise) for part in segments_at(found, shapes.cuts)]
    else:
        each = [posterior(found, prior, upwards)]
    return [one for one in each if one is not None]


def blocks(state: State, mass: Array) -> Array:
    """The mass of each set of culprits that no measurement can tell apart."""
    return np.asarray(np.bincount(block_of(state), weights=mass), dtype=float)


def block_of(state: State) -> NDArray[np.int64]:
    """The number of each point's set."""
    apart = separable(state)
    return np.concatenate([[0], np.cumsum(apart[:-1])])


def _within_budget(state: State, probe: Probe) -> Plan | None:
    left = state.effort.most_builds - len({*state.builds, *state.broken})
    if len(probe.builds) <= left:
        return Plan("tell", probe.builds, probe.boots)
    kept: tuple[Build, ...] = probe.builds[:left]
    return Plan("tell", kept, tuple(pair for pair in probe.boots if pair[0] in kept)) if kept else None


def _budget_spent(state: State) -> str:
    return f"All {state.effort.most_builds} builds were used."


def _why_undecided(state: State, builder: Builder, found: Posterior, all_found: MeasuredPoints) -> str:
    """Why no measurement would reveal more."""
    size, _ = found.change()
    tau = getattr(all_found.levels, "tau", None)
    if tau is not None and float(found.noise @ tau) > abs(size) / 20:
        spread = f"{float(found.noise @ tau):.3g} {state.measure.unit}".rstrip()
        return (
            f"Builds of one level differ by {spread} among themselves, beside a change of {abs(size):.3g}; "
            f"of a commit, {builder.layouts} layouts can be built."
        )
    return f"{state.effort.most_boots} boots of a build do not tell the levels apart."
