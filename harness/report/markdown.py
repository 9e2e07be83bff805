"""The report as GitHub's Markdown, for a pull request: the conclusion first, then ten rows at most, then cells."""

import re
from collections import defaultdict
from collections.abc import Sequence

from harness.report.morning.against import Against, against
from harness.report.morning.changes import Moved
from harness.report.morning.words import change_words, number
from harness.report.page.outcomes import Test, by_test, counts
from harness.report.page.told import Told
from harness.report.readable import version_name

MOST_ROWS = 10
"""Facts that are listed: a comment that nobody reads to its end says nothing."""

MOST_CELLS = 100
MOST_OUTCOMES = 10
MOST_NAMED = 3
LONGEST_CODE, LONGEST_ASIDE = 120, 300


def markdown(told: Told) -> str:
    """The newest version against the one before it, ended by a newline; at most some 30,000 characters, of the
    65,536 that a comment may have."""
    told = told.safe
    if told.empty:
        return "### OSv harness: nothing was run\n\nThe history has nothing to report yet.\n"
    found = against(told)
    tests = by_test(told)
    lines = [f"### {_heading(found)}", "", *_body(found, told.asides), *_cells(tests, found.missing)]
    return "\n".join(lines) + "\n"


def code(text: str, longest: int = LONGEST_CODE) -> str:
    """Text as a code span, in which nothing is markup, a link, an @mention or an issue's number.

    A pipe would still end a table's square, and a backtick the span: each becomes the sign that is most like it.
    """
    shown = re.sub(r"\s+", " ", text).replace("|", "¦").replace("`", "\u02cb").strip()
    more = "…" if len(shown) > longest else ""
    return f"`{shown[:longest]}{more}`" if shown else ""


def _heading(found: Against) -> str:
    about = f"{'OSv' if found.kernel == 'osv' else 'The kernel'} {code(version_name(found.b))}"
    if found.a is None:
        bad = f": {number(len(found.broke), 'test')} not as expected" if found.broke else ""
        return f"{about}{bad}; nothing was compared"
    said = [f"{number(len(found.broke), 'test')} broke"] if found.broke else []
    said += [f"{number(len(found.missing), 'cell')} without a result"] if found.missing else []
    said += [f"{code(one.metric.name)} {_change(one)}" for one in found.moved[:2]]
    said += [f"{len(found.moved) - 2} more metrics changed"] if len(found.moved) > 2 else []
    if not found.compared:
        said.append("nothing was compared")
    elif not said:
        said = ["nothing broke, nothing changed beyond noise"]
    return f"{about} against base {code(version_name(found.a))}: {', '.join(said)}"


def _body(found: Against, asides: Sequence[str]) -> list[str]:
    rows = [
        *(_test("✗ broke", test, cells, reason) for test, (cells, reason) in found.broke.items()),
        *(f"| ⚠ no result | | {code(cell)} | it has one of the base |" for cell in found.missing),
        *(_moved(one) for one in found.moved),
        *(_test("≈ flaky", test, cells, reason) for test, (cells, reason) in found.flaky.items()),
        *(_test("✓ fixed", test, cells, reason) for test, (cells, reason) in found.fixed.items()),
        *(_test("✎ passes unexpectedly", test, cells, "") for test, cells in found.stale.items()),
    ]
    lines = []
    if found.a is None or not found.compared:
        lines += [f"**Nothing was compared**: {found.why}. So nothing is said of what this version changed.", ""]
    else:
        lines += [f"Compared: {found.verdicts:,} verdicts and {found.series:,} series of numbers.", ""]
    if rows:
        lines += ["| | what | cells | |", "| --- | --- | --- | --- |", *rows[:MOST_ROWS]]
        lines += ["", f"And {len(rows) - MOST_ROWS} more: see the whole report."] if len(rows) > MOST_ROWS else []
    if found.already:
        lines += ["", f"{number(len(found.already), 'test')} that failed before too: not shown."]
    if asides:
        lines += ["", *(f"- {code(line, LONGEST_ASIDE)}" for line in asides)]
    if found.broke:
        test, (cells, _) = next(iter(found.broke.items()))
        lines += ["", f"To see it again: {code(f'osv-harness test {cells[0]} {test}')}"]
    return lines


def _test(sign: str, test: str, cells: Sequence[str], reason: str) -> str:
    return f"| {sign} | {code(test)} | {_named(cells)} | {code(reason)} |"


def _moved(one: Moved) -> str:
    sign = "🔺 worse" if one.worse else "▽ better"
    how = "exact" if one.exact == len(one.cells) else f"p ≤ {one.probability:.0e}"
    subject = f" of {code(one.subject)}" if one.subject else ""
    return f"| {sign} | **{_change(one)}** {code(one.metric.name)}{subject} | {_named(one.cells)} | {how} |"


def _change(one: Moved) -> str:
    return change_words(one.change, one.low, one.high)


def _named(cells: Sequence[str]) -> str:
    more = len(cells) - MOST_NAMED
    return ", ".join(map(code, cells[:MOST_NAMED])) + (f" and {more} more" if more > 0 else "")


def _cells(tests: Sequence[Test], missing: Sequence[str]) -> list[str]:
    by_cell: dict[str, list[Test]] = defaultdict(list)
    for test in tests:
        by_cell[test.cell].append(test)
    if not by_cell:
        return []
    told = {cell: "⚠ no result" if cell in missing else _counted(alike) for cell, alike in by_cell.items()}
    rows = [f"| {code(cell)} | {words} |" for cell, words in told.items()]
    return [
        "",
        "<details><summary>Every cell</summary>",
        "",
        "| cell | latest verdicts |",
        "| --- | --- |",
        *rows[:MOST_CELLS],
        *(["", f"And {len(rows) - MOST_CELLS} more cells."] if len(rows) > MOST_CELLS else []),
        "",
        "</details>",
    ]


def _counted(tests: Sequence[Test]) -> str:
    return ", ".join(f"{one.symbol} {one.number} {code(one.words)}" for one in counts(tests)[:MOST_OUTCOMES])
