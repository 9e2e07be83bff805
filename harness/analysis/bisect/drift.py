"""Detects that the host's speed changed: both ends are booted again from time to time."""

import numpy as np

from harness.analysis.bisect.journal_records import Drifted
from harness.analysis.bisect.likelihood import summary
from harness.analysis.bisect.model import Build, Kind, Plan
from harness.analysis.bisect.state import State

EVERY = 5
"""The number of builds after which both ends are booted again."""
REFERENCES = ("ends", "reference")
"""The plans that boot the ends: the first time, and again."""
SURE = 4.5
"""Standard errors."""
HARMLESS = 0.1
"""A drift below this share of the difference between the ends changes no answer."""


def builds_since(state: State) -> int:
    """The number of builds since both ends were last booted."""
    count = 0
    for plan in reversed(state.plans):
        if plan.why in REFERENCES and plan.boots:
            break
        count += len(plan.builds)
    return count


def reference_plan(state: State, boots: int) -> Plan:
    """A plan with so many more boots of both ends."""
    return Plan("reference", (), tuple((key, state.count(key) + boots) for key in (state.good, state.bad)))


def detect_drift(state: State) -> Drifted | None:
    """Compare the latest boots of the ends with all earlier ones; None if they agree, or if there are none."""
    if state.measure.kind is not Kind.NOISY or not state.plans or state.plans[-1].why not in REFERENCES:
        return None
    number = len(state.plans)
    parts = [_parts(state, key, number) for key in (state.good, state.bad)]
    if any(not early or not late for early, late in parts):
        return None
    change = variance = 0.0
    both = [(summary(early), summary(late)) for early, late in parts]
    freedom = sum(one.count - 1 for pair in both for one in pair)
    noise = sum(one.scatter for pair in both for one in pair) / max(1, freedom)
    for early, late in both:
        change += (late.mean - early.mean) / 2
        variance += noise * (1 / early.count + 1 / late.count) / 4
    apart = abs(both[1][0].mean - both[0][0].mean)
    if abs(change) <= max(SURE * float(np.sqrt(variance)), HARMLESS * apart):
        return None
    level = abs(both[0][0].mean) or 1.0
    return Drifted(change / level)


def _parts(state: State, key: Build, number: int) -> tuple[list[float], list[float]]:
    values = state.values.get(state.same_as(key), [])
    return [value for plan, value in values if plan < number], [value for plan, value in values if plan == number]
