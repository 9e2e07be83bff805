"""The report as GitHub's Markdown, for a pull request: first the conclusion, then at most ten rows, then cells."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from harness.analysis.ab.sequential_test import Decision, Judgement
from harness.metrics.records import Better
from harness.report.model.data import ReportData
from harness.report.model.formatting import percent, shown, version_name
from harness.report.model.outcomes import Test, by_test, counts
from harness.report.morning.changes import MetricChange
from harness.report.morning.text import change_words, number
from harness.report.morning.version_comparison import VersionComparison, compare_versions

MOST_ROWS = 10
"""How many facts are listed: nobody reads a long comment to its end."""

LINK = re.compile(r"https://[A-Za-z0-9._/-]+")

MOST_CELLS = 100
MOST_OUTCOMES = 10
MOST_NAMED = 3
LONGEST_CODE, LONGEST_ASIDE = 120, 400


def markdown(
    report_data: ReportData, commit: str = "", silent: Sequence[str] | None = None, link: str = ""
) -> str:
    """The commit's version, or the newest one, compared with the one before it. It ends with a newline and has at
    most some 30,000 of the 65,536 characters that a comment may have.

    `silent` are cells that were to run and reported nothing, if known; `link` is the address of the whole report.
    """
    report_data = report_data.safe
    if report_data.empty:
        return "### OSv harness: nothing was run\n\nThe history has nothing to report yet.\n"
    found = compare_versions(report_data, commit)
    if silent is not None:
        found = replace(found, missing=sorted(silent))
    judged = report_data.verdicts.of_versions(lambda version: commit in ("", version.commit))
    tests = by_test(replace(report_data, judged=judged))
    body = _body(found, [*report_data.notes, *report_data.suspected, *report_data.asides])
    lines = [f"### {_heading(found)}", "", *body, *_cells(tests, found.missing)]
    if LINK.fullmatch(link):
        lines += ["", f"[Everything of this run]({link})"]
    return re.sub("\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def code(text: str, longest: int = LONGEST_CODE) -> str:
    """Text as a code span, in which nothing is markup, a link, an @mention or an issue's number. A pipe would
    still end a table's cell, and a backtick the span: each is replaced by a similar sign."""
    shown = re.sub(r"\s+", " ", text).replace("|", "¦").replace("`", "\u02cb").strip()
    more = "…" if len(shown) > longest else ""
    return f"`{shown[:longest]}{more}`" if shown else ""


def _heading(found: VersionComparison) -> str:
    about = f"{'OSv' if found.kernel == 'osv' else 'The kernel'} {code(version_name(found.b))}"
    if found.a is None:
        bad = f": {number(len(found.broke), 'test')} not as expected" if found.broke else ""
        return f"{about}{bad}; nothing was compared"
    phrases = [f"{number(len(found.broke), 'test')} broke"] if found.broke else []
    phrases += [f"{number(len(found.missing), 'cell')} without a result"] if found.missing else []
    phrases += [f"{code(one.metric.name)} {_change(one)}" for one in found.moved[:2]]
    phrases += [f"{len(found.moved) - 2} more metrics changed"] if len(found.moved) > 2 else []
    phrases += [f"{code(one.metric.name)} {_pairs_change(one)}" for _, one in _changed(found)[:2]]
    phrases += [f"{len(_changed(found)) - 2} more compared metrics changed"] if len(_changed(found)) > 2 else []
    if not found.compared:
        phrases.append("nothing was compared")
    elif not phrases:
        phrases = ["nothing broke, nothing changed beyond noise"]
    return f"{about} against base {code(version_name(found.a))}: {', '.join(phrases)}"


def _body(found: VersionComparison, asides: Sequence[str]) -> list[str]:
    rows = [
        *(_test("✗ broke", test, cells, reason) for test, (cells, reason) in found.broke.items()),
        *(f"| ⚠ no result | | {code(cell)} | it was to have one |" for cell in found.missing),
        *(_moved(one) for one in found.moved),
        *(_of_pairs(cell, one) for cell, one in _changed(found)),
        *(_test("≈ flaky", test, cells, reason) for test, (cells, reason) in found.flaky.items()),
        *(_test("✓ fixed", test, cells, reason) for test, (cells, reason) in found.fixed.items()),
        *(_test("✎ passes unexpectedly", test, cells, "") for test, cells in found.stale.items()),
    ]
    lines = []
    if found.a is None or not found.compared:
        lines += [f"**Nothing was compared**: {found.why}. So nothing is said of what this version changed.", ""]
    else:
        pairs = f"; {number(len(found.judgements), 'metric')} in pairs" if found.judgements else ""
        lines += [f"Compared: {found.verdicts:,} verdicts and {found.series:,} series of numbers{pairs}.", ""]
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


def _moved(change: MetricChange) -> str:
    sign = "🔺 worse" if change.worse else "▽ better"
    how = "exact" if change.exact == len(change.cells) else f"p ≤ {change.probability:.0e}"
    subject = f" of {code(change.subject)}" if change.subject else ""
    what = f"**{_change(change)}** {code(change.metric.name)}{subject}"
    return f"| {sign} | {what} | {_named(change.cells)} | {how} |"


def _changed(found: VersionComparison) -> list[tuple[str, Judgement]]:
    """Changes that a comparison of pairs found and no finding reports; worse before better."""
    reported = {one.metric.name for one in found.moved}
    changed = [
        (cell, one) for cell, one in found.judgements
        if one.decision is Decision.CHANGED and one.change is not None and one.metric.name not in reported
    ]  # fmt: skip
    return sorted(changed, key=lambda row: (not _is_worse(row[1]), -abs(row[1].change or 0.0)))


def _is_worse(one: Judgement) -> bool:
    return ((one.change or 0.0) > 0) == (one.metric.better == Better.LOWER)


def _of_pairs(cell: str, judgement: Judgement) -> str:
    sign = "🔺 worse" if _is_worse(judgement) else "▽ better"
    ends = " … ".join(_share(end, judgement) for end in judgement.interval) if judgement.interval else ""
    how = "exact" if judgement.metric.exact else f"95%: {ends}, {judgement.pairs} pairs"
    return f"| {sign} | **{_pairs_change(judgement)}** {code(judgement.metric.name)} | {code(cell)} | {how} |"


def _pairs_change(one: Judgement) -> str:
    return _share(one.change or 0.0, one)


def _share(value: float, one: Judgement) -> str:
    return percent(value) if one.relative else code(shown(value, one.metric.unit))


def _change(change: MetricChange) -> str:
    return change_words(change.change, change.low, change.high)


def _named(cells: Sequence[str]) -> str:
    more = len(cells) - MOST_NAMED
    return ", ".join(map(code, cells[:MOST_NAMED])) + (f" and {more} more" if more > 0 else "")


def _cells(tests: Sequence[Test], missing: Sequence[str]) -> list[str]:
    by_cell: dict[str, list[Test]] = defaultdict(list)
    for test in tests:
        by_cell[test.cell].append(test)
    if not by_cell:
        return []
    results = {cell: "⚠ no result" if cell in missing else _counted(alike) for cell, alike in by_cell.items()}
    rows = [f"| {code(cell)} | {words} |" for cell, words in results.items()]
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
