"""Makes the plan of what a run reuses, from its images and the history. It takes seconds to import."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from time import time

from harness.core.cell import Cell
from harness.core.text import printable
from harness.integrations.reuse.plan import ReusePlan, Standing
from harness.integrations.reuse.rules import chance_of_change, is_drawn, standing_verdict
from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.store import History
from harness.metrics.reuse_key import ReuseKeys
from harness.report.model.formatting import version_name
from harness.runner.base import Program
from harness.runner.expectations import is_expected
from harness.runner.session import Session
from harness.runner.verdict import Outcome

About = tuple[str, str]
"""A cell and a test."""

SUITE = "unit"
RECENT_SECONDS = 90 * 24 * 3600.0
"""How far back the runs are looked at that tell whether a test is flaky."""


def make_plan(session: Session, cells: Iterable[Cell], url: str | None, run: str, share: float) -> ReusePlan:
    """The plan of a run of all in-guest tests of the cells, whose images are built if need be.

    `url` is the history's, as `History` takes it; `share` of the tests with a standing verdict is checked. Raises
    `HarnessError`.
    """
    makes, keys = ReuseKeys(session), {}
    every: dict[About, tuple[Cell, Program]] = {}
    for cell in cells:
        image = session.image(cell)
        for program in session.programs(cell):
            if key := makes.key(image, program):
                about = str(cell), program.name
                keys[about], every[about] = key, (cell, program)

    def expected(about: About, outcome: Outcome) -> bool:
        cell, program = every[about]
        return is_expected(cell, program.name, session.recorded_accelerator(cell), outcome)

    with History(url) as history:
        return standing_verdicts(history, keys, run, share, expected)


def standing_verdicts(
    history: History, keys: Mapping[About, str], run: str, share: float, expected: Callable[[About, Outcome], bool]
) -> ReusePlan:
    """The plan for what has these keys. `expected` is whether an outcome is expected of a test today. Raises
    `HarnessError` if the history can't be read."""
    found: dict[About, Standing] = {}
    chances: dict[About, float] = {}
    same = _by_test(history.verdicts_of_keys(set(keys.values())))
    since = time() - RECENT_SECONDS
    cells = {cell for cell, _ in keys}
    recent = _by_test(one for cell in cells for one in history.judged(suite=SUITE, cell=cell, since=since))
    for about, key in keys.items():
        of_key = [one for one in same[about] if one.reuse_key == key]
        chances[about] = chance_of_change(recent[about], is_new=not of_key)
        verdict = standing_verdict(of_key, recent[about])
        if verdict and expected(about, Outcome(verdict.outcome)):
            found[about] = _standing(verdict, is_drawn(run, *about, share))
    return ReusePlan(found, keys, chances)


def _by_test(records: Iterable[VerdictRecord]) -> dict[About, list[VerdictRecord]]:
    found: dict[About, list[VerdictRecord]] = defaultdict(list)
    for one in records:
        if one.suite == SUITE:
            found[one.cell, one.test].append(one)
    return found


def _standing(verdict: VerdictRecord, checked: bool) -> Standing:
    """The verdict as it is shown. Its texts may be a guest's, or another history's."""
    reason, run, version = map(printable, (verdict.reason, verdict.run, version_name(verdict.version)))
    return Standing(verdict.outcome, reason, run, version, checked)
