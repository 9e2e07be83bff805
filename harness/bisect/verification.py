"""Is the answer still true of fresh builds? Checks that a session makes after its answer."""

import numpy as np

from harness.bisect import Key, Kind, Plan
from harness.bisect.answer import Answer, Check
from harness.bisect.levels import summary
from harness.bisect.session import Session

LAYOUTS = 2
"""The fresh layouts of the culprit and of its parent that are compared."""
BOOTS = 100
KEPT, GONE = 0.5, 0.25
"""The share of the change in fresh layouts that confirms it; and with less than which it was the layout's."""


def relaid(session: Session, answer: Answer) -> Check:
    """The culprit against its parent in layouts that neither was built in before: a change of the code's layout
    alone is not there again.

    Cannot say for a set of commits, where no further layout can be built, and where there is no noise to speak of.
    """
    name, state = relaid.__name__, session.state
    culprit = answer.culprits[0]
    if len(culprit.points) > 1 or state.measure.kind is not Kind.NOISY or not state.measure.layout:
        return Check(name, None, "Not asked of this answer.")
    place = culprit.points[0]
    pair = (state.line.first_alike(place - 1), state.line.first_alike(place))
    tried = [key.layout for key in (*state.builds, *state.broken) if key.index in pair and not _ours(session, key)]
    first = max(tried, default=0) + 1
    layouts = range(first, min(first + LAYOUTS, session.layouts))
    if not layouts:
        return Check(name, None, "No further layout of the culprit can be built.")
    keys = [Key(index, layout) for layout in layouts for index in pair]
    plan = Plan(name, tuple(keys), tuple((key, BOOTS) for key in keys))
    if plan not in state.plans:
        session.measure_also(plan)
    changes = [
        summary(state.numbers(Key(pair[1], layout))).mean - summary(state.numbers(Key(pair[0], layout))).mean
        for layout in layouts
        if all(state.count(Key(index, layout)) for index in pair)
    ]
    if not changes:
        return Check(name, None, "No further layout of the culprit boots.")
    share = float(np.mean(changes)) / culprit.change
    detail = f"{share:.0%} of the change is there in {len(changes)} other layouts."
    return Check(name, True if share >= KEPT else False if share < GONE else None, detail)


def _ours(session: Session, key: Key) -> bool:
    """Whether a build was made for this check, by a session that was killed in it."""
    return any(plan.why == relaid.__name__ and key in plan.builds for plan in session.state.plans)
