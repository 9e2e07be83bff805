"""Renders the facts of the morning as HTML. They come first on the page, and need no script."""

from math import isfinite
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from harness.report.model.formatting import percent, version_name
from harness.report.morning import text as words
from harness.report.morning.changes import FLOOR, Step
from harness.report.morning.report import Morning
from harness.report.morning.tests import CellRuns, Group
from harness.report.morning.version_rows import COLUMNS


def facts(jinja: Environment, morning: Morning) -> Markup:
    """Render the first part of the page; the template escapes every text."""
    last = morning.nights.last
    context: dict[str, Any] = {
        name: getattr(words, name)
        for name in ("cells_words", "change_words", "kind_words", "number", "rate_words", "short", "strip")
    }
    return Markup(  # of the template's own output
        jinja.get_template("morning.html").render(
            context,
            morning=morning, tests=morning.tests, last=last, percent=percent, version_name=version_name,
            floor=FLOOR, names=_names, runs_before=_runs_before,
            bad_tonight=lambda group: _bad_tonight(group, last), bad_nights=_bad_nights,
            new_cells=len({one.cell for group in morning.tests.new for one in group.cells}),
            step_cells=_step_cells, step_metrics=_step_metrics, step_size=_step_size,
        )
    )  # fmt: skip


def commit_rows(jinja: Environment, morning: Morning) -> Markup:
    """The table of the newest versions; empty without any."""
    if not morning.versions:
        return Markup()
    return Markup(  # of the template's own output
        jinja.get_template("commits.html").render(
            morning=morning, columns=COLUMNS, number=words.number, percent=percent
        )
    )


def _names(group: Group) -> list[str]:
    return [one.cell for one in group.cells]


def _runs_before(group: Group) -> int:
    """The number of runs on these cells before the first failure."""
    moment = group.first.first_bad.judged.taken
    return sum(run.judged.taken < moment for one in group.cells for run in one.runs)


def _bad_tonight(group: Group, last: int) -> int:
    return sum(run.bad for one in group.cells for run in one.runs if run.night == last)


def _bad_nights(one: CellRuns) -> str:
    """What the strip of nights shows, for people who can't see it."""
    nights = {run.night for run in one.runs if run.bad}
    return words.number(len(nights), "night") + " with a failure in all"


def _step_cells(step: Step) -> list[str]:
    return sorted({cell for one in step.wholes for cell in one.cells} | {one.cell for one in step.bisected})


def _step_metrics(step: Step) -> str:
    return " ".join(
        dict.fromkeys([one.metric.name for one in step.wholes] + [one.name for one in step.bisected])
    )


def _step_size(step: Step) -> float:
    """The greatest relative change at this commit, in percent."""
    changes = [one.change for one in step.wholes] + [one.change for one in step.bisected]
    return 100 * max(map(abs, filter(isfinite, changes)), default=0.0)
