"""Turns the end of a search into the answer, with its warnings."""

from collections import Counter

import numpy as np

from harness.analysis.bisect.answer import Answer, BisectOutcome, Culprit, Warn, Warning
from harness.analysis.bisect.bimodality import bimodal
from harness.analysis.bisect.exact_search import MATTERS
from harness.analysis.bisect.failure_cause import UNKNOWN_FAILURE, is_informative
from harness.analysis.bisect.model import Kind
from harness.analysis.bisect.policy import SearchEnd, Step, block_of, blocks
from harness.analysis.bisect.state import State

SUSPECTED = 0.1
"""The probability of several steps from which an answer with one step gets a warning; the prior is 0.07."""
MOST_OTHERS = 3
"""How many failures other than the target are listed."""
INTERVAL = 1.96
"""Half the width of a 95% interval, in standard deviations."""


def conclude(state: State, end: SearchEnd) -> Answer:
    """The answer, before its checks."""
    good, bad, smallest = (end.ends.good, end.ends.bad, end.ends.smallest) if end.ends else (0.0, 0.0, 0.0)
    culprits = tuple(sorted((_culprit(state, step) for step in end.steps), key=lambda one: -abs(one.change)))
    outcome, why = _outcome(state, end, culprits)
    kept = culprits if outcome in (BisectOutcome.FOUND, BisectOutcome.NARROWED) else ()
    return Answer(
        outcome=outcome,
        culprits=kept,
        good_level=good,
        bad_level=bad,
        smallest=smallest,
        why=why,
        warnings=tuple(_warnings(state, end, kept)),
        builds=len(set(state.builds) | set(state.broken)),
        cached=sum(built.cached for built in state.builds.values()),
        broken=len(state.broken),
        boots=state.boots,
        layouts=sum(key.layout > 0 for key in state.builds),
        cause=state.target_failure if state.measure.kind is Kind.TEST else "",
    )


def _outcome(state: State, end: SearchEnd, culprits: tuple[Culprit, ...]) -> tuple[BisectOutcome, str]:
    ends, unit = end.ends, state.measure.unit
    if ends is None:
        return BisectOutcome.NO_DIFFERENCE, "Good and bad are the same binary."
    if state.measure.kind is Kind.TEST and ends.good == ends.bad == 1:
        return BisectOutcome.NO_DIFFERENCE, "It fails at the good end too, each time: name one where it passes."
    if not ends.differ:
        least = f"{ends.smallest:.3g} {unit}".rstrip()
        seen = "it is exact" if state.measure.kind is Kind.EXACT else f"one of {least} would have been seen"
        return BisectOutcome.NO_DIFFERENCE, f"No difference between good and bad was seen; {seen}."
    if (ends.change > 0) != (state.measure.better == "lower"):
        return (
            BisectOutcome.SWAPPED,
            f"Bad is better than good: {ends.bad:.6g} against {ends.good:.6g} {unit}".rstrip() + ".",
        )
    sure = [float(blocks(state, step.mass).max()) >= state.effort.confidence for step in end.steps]
    alone = (end.shapes or {}).get("none", 0.0)
    if alone > 0.5 and not all(sure):
        return (
            BisectOutcome.LAYOUT,
            "Builds differ among themselves no less than good and bad do: as layouts of code do.",
        )
    if not culprits:
        return BisectOutcome.SPREAD, f"No commit makes {MATTERS:.0%} of the change: it is made of many small ones."
    if all(sure):
        return BisectOutcome.FOUND, ""
    return BisectOutcome.NARROWED, end.why


def _culprit(state: State, step: Step) -> Culprit:
    """The set of commits that no measurement can divide, or the smallest set that reaches the confidence asked
    for."""
    masses, of = blocks(state, step.mass), block_of(state)
    kept: list[int] = []
    for block in np.argsort(-masses, kind="stable"):
        kept.append(int(block))
        if masses[kept].sum() >= state.effort.confidence:
            break
    points = np.flatnonzero(np.isin(of, kept) & (step.mass > 0))
    commits = state.range.commits
    first, last = int(points[0]), int(points[-1])
    broken = {state.range.first_alike(key.index) for key in state.broken if key.layout == 0}
    hidden = [at for at in range(first, last + 1) if state.range.first_alike(at) in broken] if last > first else []
    spread = INTERVAL * step.deviation
    return Culprit(
        points=tuple(int(at) for at in points),
        commits=tuple(commits[at] for at in points),
        probability=float(min(1.0, masses[kept].sum())),
        old_level=step.old,
        new_level=step.new,
        change=step.change,
        interval=(step.change - spread, step.change + spread),
        broken=tuple(commits[at] for at in hidden),
    )


def _warnings(state: State, end: SearchEnd, culprits: tuple[Culprit, ...]) -> list[Warning]:
    found: list[Warning] = []
    doubt = 1 - state.effort.confidence
    shapes = end.shapes or {}
    if len(culprits) > 1:
        found.append(Warning(Warn.SEVERAL, f"{len(culprits)} commits changed it, not one."))
    elif shapes.get("two", 0.0) + shapes.get("back", 0.0) > SUSPECTED:
        found.append(
            Warning(Warn.SEVERAL, f"More than one commit may have: {shapes['two'] + shapes['back']:.0%} likely.")
        )
    if len({one.change > 0 for one in culprits}) > 1:
        found.append(Warning(Warn.WENT_AWAY, "The change went away again, and came back, between good and bad."))
    if culprits and shapes.get("none", 0.0) > doubt:
        text = f"It may be the code's layout alone, and no commit: {shapes['none']:.0%} likely."
        found.append(Warning(Warn.LAYOUT, text))
    if any(one.broken for one in culprits):
        found.append(Warning(Warn.HIDDEN, "The culprit hides among commits that could not be measured."))
    if others := _other_failures(state):
        found.append(Warning(Warn.OTHER, others))
    if state.drifts:
        sizes = ", ".join(f"{one:+.1%}" for one in state.drifts)
        found.append(Warning(Warn.DRIFT, f"The host's speed changed ({sizes}); all was booted again after it."))
    if state.measure.kind is Kind.NOISY and culprits:
        if bimodal([[value for _, value in values] for values in state.values.values()]):
            found.append(
                Warning(Warn.BIMODAL, "Boots of one build have two modes: look at them, not at the mean.")
            )
    elif state.measure.kind is Kind.EXACT and culprits and end.ends:
        rest = end.ends.change - sum(one.change for one in culprits)
        if abs(rest) > 1e-9 * abs(end.ends.change):
            text = f"{rest / end.ends.change:.1%} of the change between good and bad is other commits'."
            found.append(Warning(Warn.REST, text))
    return found


def _other_failures(state: State) -> str:
    """Lists the failures that were seen besides the target; empty if there were none."""
    if state.measure.kind is not Kind.TEST:
        return ""
    seen = Counter(
        one
        for boots in state.boot_failures.values()
        for one in boots
        if not is_informative(one, state.target_failure)
    )
    unknown = seen.pop(UNKNOWN_FAILURE, 0)
    listed = "; ".join(f"{count} times: {one}" for one, count in seen.most_common(MOST_OTHERS))
    sentences = [f"It failed otherwise too, which says nothing of this cause: {listed}."] if listed else []
    sentences += (
        [f"{unknown} failures are from before failures were told apart: they are not counted."] if unknown else []
    )
    return " ".join(sentences)
