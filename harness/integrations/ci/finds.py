"""The finds of hunts, as failures of a night: each stands until enough schedules have passed since."""

from collections.abc import Iterable

from harness.analysis.hunt.record import Hunted, hunts_of, standing_find
from harness.integrations.ci.results import MOST_LINES, Case
from harness.metrics.records import Document
from harness.report.model.data import safe_text
from harness.report.model.formatting import version_name


def finds(documents: Iterable[Document]) -> tuple[list[Case], list[Case]]:
    """The finds that stand, as bad cases, at most one of a test on a cell; and all others, older ones too."""
    standing: list[Case] = []
    gone: list[Case] = []
    for hunts in hunts_of(documents).values():
        last = standing_find(hunts)
        for one in hunts:
            if one.seed:
                (standing if one is last else gone).append(_case(one))
    return standing, gone


def _case(found: Hunted) -> Case:
    console = tuple(safe_text(line) for line in found.console[-MOST_LINES:])
    return Case(
        safe_text(found.cell), safe_text(found.test), safe_text(found.outcome), safe_text(found.reason), True,
        console, seed=safe_text(found.seed), found_at=safe_text(version_name(found.version)),
    )  # fmt: skip
