"""The report as a summary for a terminal: one line for each fact, the most important last, at the prompt."""

from collections import defaultdict
from collections.abc import Iterator, Sequence, Set

from rich.console import Console
from rich.text import Text

from harness.report.model.data import ReportData
from harness.report.model.formatting import version_name
from harness.report.model.outcomes import BAD, EXPECTED, GOOD, STALE, Test, by_test, counts
from harness.report.model.timeline import Timeline
from harness.report.morning.changes import Step
from harness.report.morning.commits import Commits
from harness.report.morning.report import Morning, morning
from harness.report.morning.tests import Group
from harness.report.morning.text import cells_words, change_words, number, short

MOST_ROWS = 20
"""The most lines of one kind."""
STYLES = {BAD: "bold red", GOOD: "green", EXPECTED: "yellow", STALE: "bold yellow"}

Line = tuple[str, str]
"""A style of `STYLES`, and the words."""


def show(report_data: ReportData, out: Console, commits: Commits | None = None) -> None:
    """Print the facts, each on one line that is cut at the console's width; they contain no markup."""
    report_data = report_data.safe
    if report_data.empty:
        out.print("The history has nothing to report yet: `tox -e qemu-rofs` fills it.", markup=False)
        return
    kernels = ", ".join(f"{count} of {kernel or '?'}" for kernel, count in Timeline(report_data).kernels().items())
    _line(
        out,
        "",
        f"{len(report_data.samples):,} measurements, {len(report_data.judged):,} verdicts; versions: {kernels}",
    )
    for note in report_data.notes:
        out.print(note, markup=False)
    today = morning(report_data, commits)
    parts = {
        "Cells, by their latest verdicts": list(_cells(by_test(report_data), {one.cell for one in today.missing})),
        "Changes that stand, newest last": list(_steps(today.standing_steps)),
        "Slower tests, nights alone, creeps": [("", line) for line in today.asides],
        "Suspected": [("", line) for line in today.suspected],
        "To edit": list(_edits(today)),
        "Fixed": [(GOOD, f"✓ {_group(one)}: none for {_nights(one, today)}") for one in today.tests.fixed],
        "Still failing": list(_still(today)),
        "Flaky": [(EXPECTED, f"≈ {_rate(one)}") for one in today.tests.flaky],
        "No result last night": list(_missing(today)),
        "New last night": list(_new(today)),
    }
    for title, lines in parts.items():
        if lines:
            _line(out, "bold", f"\n{title}")
            if len(lines) > MOST_ROWS:
                _line(out, "", f"… and {len(lines) - MOST_ROWS} more before these")
            for style, words in lines[-MOST_ROWS:]:
                _line(out, STYLES.get(style, ""), words)
    name = f", {version_name(today.version)}" if today.version else ""
    _line(out, STYLES[today.sign], f"\n{today.headline}: night of {today.date}{name}")
    _line(out, "", f"{today.tests.good:,} of {today.tests.tonight:,} as expected on {number(today.ran, 'cell')}")


def _line(out: Console, style: str, words: str) -> None:
    """Exactly one line: rich would interpret square brackets in a string, and wrap what is too long."""
    for part in words.split("\n"):
        out.print(Text(part, style), no_wrap=True, overflow="ellipsis", crop=True)


def _group(one: Group) -> str:
    where = f"on {number(len(one.cells), 'cell')} ({cells_words([cell.cell for cell in one.cells], 2)})"
    return f"{one.test} {one.outcome.replace('_', ' ')} {where}"


def _nights(one: Group, today: Morning) -> str:
    return number(today.nights.last - one.began + 1, "night")


def _rate(one: Group) -> str:
    low, high = one.interval
    where = number(len(one.cells), "cell")
    return f"{one.test}: {one.bad} of {one.runs} runs bad, {one.rate:.0%} ({low:.0%} to {high:.0%}), {where}"


def _missing(today: Morning) -> Iterator[Line]:
    for one in today.missing:
        old = f"its last result is {number(one.nights, 'night')} old"
        yield EXPECTED, f"⚠ {short(one.cell)}: {'planned, and never had one' if one.never else old}"
    for test, cells in today.tests.unrun:
        yield EXPECTED, f"⚠ {test} did not run on {number(len(cells), 'cell')}"
    for fault in today.tests.faults:
        yield EXPECTED, f"⚠ {fault.test} on {short(fault.cell)}: {fault.reason}"


def _new(today: Morning) -> Iterator[Line]:
    yield from _steps(today.new_steps)
    for one in today.new_broken:
        yield BAD, f"✗ {short(one.cell)} boots or runs next to nothing: {one.reason}"
    for group in today.tests.new:
        yield BAD, f"✗ {_group(group)}"
        yield "", f"  {group.reason}"
        if group.since:
            good, bad = (version_name(version) for version in group.since)
            yield "", f"  good at {good}, bad at {bad}"


def _still(today: Morning) -> Iterator[Line]:
    for one in today.still_broken:
        nights = number(today.nights.last - one.began + 1, "night")
        yield BAD, f"✗ {short(one.cell)} boots or runs next to nothing, for {nights}: {one.reason}"
    for group in today.tests.still:
        yield BAD, f"✗ {_group(group)}, for {_nights(group, today)}"


def _edits(today: Morning) -> Iterator[Line]:
    for place in today.expiring:
        yield STALE, f"⌛ {place}: {place.entry.tests} is to be looked at by {place.entry.expires}"
    for edit in today.edits:
        where = f"{edit.place}" if edit.place else "expectations.toml"
        yield STALE, f"✎ {edit.stale.test} passes on {number(len(edit.stale.cells), 'cell')}: remove {where}"


def _steps(steps: Sequence[Step]) -> Iterator[Line]:
    for step in reversed(steps):
        name = version_name(step.after)
        for one in step.wholes:
            sign, style = ("▲", BAD) if one.worse else ("▽", GOOD)
            change = change_words(one.change, one.low, one.high)
            yield style, f"{sign} {change} {one.metric.name}, {len(one.cells)} of {one.of} cells, {name}"
        for answer in step.bisected:
            words = f"{answer.change:+.3%} {answer.name}, {short(answer.cell)}, bisected to {answer.commit[:12]}"
            yield BAD, f"▲ {words}"


def _cells(tests: Sequence[Test], missing: Set[str]) -> Iterator[Line]:
    by_cell: dict[str, list[Test]] = defaultdict(list)
    for test in tests:
        by_cell[test.cell].append(test)
    for cell, alike in by_cell.items():
        if cell in missing:
            yield EXPECTED, f"{cell}  ⚠ no result last night"
            continue
        yield "", f"{cell}  " + "  ".join(f"{one.symbol} {one.number} {one.words}" for one in counts(alike))
