"""The cells of a night as a Markdown table: the result of each planned cell, or why it could not run."""

from collections import Counter

from harness.integrations.ci.plan import Planned
from harness.integrations.ci.results import Case, Night
from harness.report.markdown import code
from harness.report.reuse_lines import ALARM

MOST_ROWS = 300
CANNOT = "can't"
SIGNS = {"good": "✓", "bad": "✗", "none": "⚠", CANNOT: "·"}


def green(night: Night) -> bool:
    """Whether every planned cell ran, every test ended as expected, and every check of reused verdicts agreed. A
    night without cells is not green."""
    ran = any(row.runs for row in night.planned)
    return ran and not night.without_result() and not any(case.bad or case.differs for case in night.cases)


def summary(night: Night) -> str:
    """The table, the failures that belong to no cell, and the count of cells by result."""
    silent = {row.cell for row in night.without_result()}
    rows = [(row, [] if row.cell in silent else night.cases_of(row.cell)) for row in night.planned]
    kinds = Counter(_kind(row, cases) for row, cases in rows)
    known = {row.cell for row in night.planned}
    alarms = [case for case in night.cases if case.differs]
    strays = [case for case in night.cases if case.cell not in known]
    lines = [
        "## Cells",
        "",
        f"{kinds['good']} as expected, {kinds['bad']} not, {kinds['none']} without a result, "
        f"{kinds[CANNOT]} that can't run here.",
        *(f"\n⚠ {ALARM}: {code(one.cell)} {code(one.test)}: {code(one.differs)}" for one in alarms[:MOST_ROWS]),
        "",
        "| | cell | what came of it |",
        "| --- | --- | --- |",
        *(_row(row, cases) for row, cases in sorted(rows, key=_order)[:MOST_ROWS]),
    ]
    if len(rows) > MOST_ROWS:
        lines += ["", f"And {len(rows) - MOST_ROWS} more cells."]
    lines += [f"\n{SIGNS['bad']} {code(case.test)}: {code(case.reason)}" for case in strays[:MOST_ROWS]]
    return "\n".join(lines) + "\n"


def _kind(row: Planned, cases: list[Case]) -> str:
    if not row.runs:
        return CANNOT
    if not cases:
        return "none"
    return "bad" if any(case.bad for case in cases) else "good"


def _row(row: Planned, cases: list[Case]) -> str:
    kind = _kind(row, cases)
    if kind == CANNOT:
        result = f"{code(row.standing)}: {code(row.reason)}"
    elif kind == "none":
        result = "no result: its job failed, or its tests were all skipped"
    else:
        counted = Counter(case.outcome.replace("_", " ") for case in cases)
        result = ", ".join(f"{number} {code(outcome)}" for outcome, number in counted.most_common())
        bad = [case for case in cases if case.bad]
        result += f"; not as expected: {', '.join(code(case.test) for case in bad[:5])}" if bad else ""
        result += f" and {len(bad) - 5} more" if len(bad) > 5 else ""
    return f"| {SIGNS[kind]} | {code(row.cell)} | {result} |"


def _order(pair: tuple[Planned, list[Case]]) -> tuple[int, str]:
    return ["bad", "none", "good", CANNOT].index(_kind(*pair)), pair[0].cell
