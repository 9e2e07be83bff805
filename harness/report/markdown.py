"""The report as GitHub's Markdown, for a pull request: what changed, what is not as expected, what was run."""

import html
import re
from collections import defaultdict
from collections.abc import Sequence

from harness.report.page.news import Cause, FindingWords, by_cause, unexpected
from harness.report.page.outcomes import Test, by_test, counts
from harness.report.page.timeline import Timeline
from harness.report.page.told import Told

MOST_ROWS = 20
"""Findings and verdicts that are listed: a comment that nobody reads to its end says nothing."""

MOST_CELLS = 100
MOST_OUTCOMES = 10
LONGEST_CODE = 120


def markdown(told: Told) -> str:
    """The report, ended by a newline; at most some 60,000 characters, of the 65,536 that a comment may have."""
    told = told.safe
    if told.empty:
        return "## OSv harness\n\nThe history has nothing to report yet.\n"
    tests = by_test(told)
    kernels = [f"{number} of {code(kernel)}" for kernel, number in Timeline(told).kernels().items()]
    lines = [
        "## OSv harness",
        "",
        f"{len(told.samples)} measurements, {len(told.judged)} verdicts; versions: {', '.join(kernels)}.",
        *_findings(by_cause(told.findings)),
        *(line for note in told.notes for line in ("", plain(note))),
        *_unexpected(tests),
        *_cells(tests),
    ]
    return "\n".join(lines) + "\n"


def code(text: str) -> str:
    """Text as a code span, in which nothing is markup, a link, an @mention or an issue's number.

    A pipe would still end a table's square, and a backtick the span: each becomes the sign that is most like it.
    """
    shown = re.sub(r"\s+", " ", text).replace("|", "¦").replace("`", "\u02cb").strip()
    more = "…" if len(shown) > LONGEST_CODE else ""
    return f"`{shown[:LONGEST_CODE]}{more}`" if shown else ""


def plain(text: str) -> str:
    """A sentence in which nothing is markup, a link, an @mention or an issue's number."""
    shown = html.escape(re.sub(r"\s+", " ", text), quote=False)
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|~@$])", lambda sign: f"&#{ord(sign[0])};", shown)


def _findings(causes: Sequence[Cause]) -> list[str]:
    if not causes:
        return ["", "### Findings", "", "None: no metric changed by more than its noise."]
    rows = [
        "",
        "### Findings",
        "",
        "| | change | metric | cell | began by | confidence | also |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_finding(cause.first, len(cause.others)) for cause in causes[:MOST_ROWS]),
    ]
    return rows + _rest(len(causes), "findings")


def _finding(found: FindingWords, others: int) -> str:
    sign = "🔺 worse" if found.worse else "▽ better"
    subject = f" of {code(found.subject)}" if found.subject else ""
    return (
        f"| {sign} | **{found.change}** ({found.interval}) {code(found.levels)} | {code(found.metric)}{subject} "
        f"| {code(found.cell)} | {code(found.after)}, after {code(found.before)} "
        f"| {found.confidence}; {found.confirmed} | {f'{others} more of this cause' if others else ''} |"
    )


def _unexpected(tests: Sequence[Test]) -> list[str]:
    rows = unexpected(tests)
    if not rows:
        return ["", "### Verdicts", "", "Every test's latest verdict is as expected."] if tests else []
    return [
        "",
        f"### {len(rows)} not as expected",
        "",
        "| test | verdict | since | cell | reason |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {code(row.judged.test)} | {row.symbol} {code(row.words)} | {code(row.since)} "
            f"| {code(row.judged.cell)} | {code(row.judged.reason)} |"
            for row in rows[:MOST_ROWS]
        ),
        *_rest(len(rows), "verdicts"),
    ]


def _cells(tests: Sequence[Test]) -> list[str]:
    by_cell: dict[str, list[Test]] = defaultdict(list)
    for test in tests:
        by_cell[test.cell].append(test)
    if not by_cell:
        return []
    rows = [f"| {code(cell)} | {_counted(alike)} |" for cell, alike in by_cell.items()]
    return [
        "",
        "<details><summary>Every cell</summary>",
        "",
        "| cell | latest verdicts |",
        "| --- | --- |",
        *rows[:MOST_CELLS],
        *_rest(len(rows), "cells", MOST_CELLS),
        "",
        "</details>",
    ]


def _counted(tests: Sequence[Test]) -> str:
    return ", ".join(f"{one.symbol} {one.number} {code(one.words)}" for one in counts(tests)[:MOST_OUTCOMES])


def _rest(number: int, what: str, shown: int = MOST_ROWS) -> list[str]:
    return ["", f"And {number - shown} more {what}: see the whole report."] if number > shown else []
