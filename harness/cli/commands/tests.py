"""List a cell's in-guest tests with what is known of each: seconds, expectation, what became of it so far."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from harness.cli.commands.test import chosen
from harness.cli.declaration import declare
from harness.cli.kernel_files import KernelFiles, session_of
from harness.cli.options import AsJson, CellName, HistoryUrl, TestNames
from harness.cli.output import screen, table
from harness.core.cell import Cell
from harness.core.events import subscribed
from harness.core.text import printable
from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.store import History
from harness.metrics.history.url import is_file, place
from harness.report.progress import Progress
from harness.runner.expectations import Expectation, expected
from harness.runner.verdict import Outcome

SUITE = "unit"
SAYS_NOTHING = (Outcome.SKIPPED, Outcome.HARNESS_ERROR, Outcome.REUSED)
"""Outcomes that don't show whether a test is flaky."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known about a test: the longest duration of its last passes, its expectation, its verdicts."""

    name: str
    seconds: float | None
    expectation: Expectation | None
    verdicts: Sequence[VerdictRecord]

    @property
    def is_flaky(self) -> bool:
        """Whether it ended in different ways on the same kernel, or was flaky in a single run."""
        ways = defaultdict(set)
        for one in self.verdicts:
            if one.outcome not in SAYS_NOTHING:
                ways[one.version.digest].add(one.outcome)
        return any(len(outcomes) > 1 or Outcome.FLAKY in outcomes for outcomes in ways.values())

    @property
    def outcomes(self) -> Counter[str]:
        """The number of each outcome."""
        return Counter(one.outcome for one in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        row: dict[str, Any] = {"test": self.name, "seconds": self.seconds}
        if one := self.expectation:
            row |= {"expected": list(one.outcomes), "reason": one.reason, "expires": one.expires.isoformat()}
        return row | {"outcomes": dict(self.outcomes), "flaky": self.is_flaky}


@dataclass
class Arguments(KernelFiles):
    """The cell, and patterns of test names."""

    cell: CellName
    test: TestNames
    history: HistoryUrl
    json: AsJson


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """List the tests by name. Builds the cell's image if needed, because it has the tests; boots no guest."""
    session = session_of(arguments)
    cell = session.cell(arguments.cell)
    with subscribed(Progress()):
        programs = chosen(session, cell, arguments.test)
    seconds, accelerator = session.known_seconds(cell), session.recorded_accelerator(cell)
    verdicts = _verdicts(arguments.history, cell)
    found = [
        Known(one.name, seconds.get(one.name), expected(cell, one.name, accelerator), verdicts[one.name])
        for one in sorted(programs, key=lambda one: one.name)
    ]
    if arguments.json:
        for one in found:
            print(json.dumps(one.to_json()))
    else:
        _show(found)
    return 0


def _verdicts(url: str | None, cell: Cell) -> dict[str, list[VerdictRecord]]:
    """The history's verdicts by test; empty if there is no history (none is created)."""
    found: dict[str, list[VerdictRecord]] = defaultdict(list)
    where = place(url)
    if is_file(where) and not Path(where.database or "").exists():
        return found
    with History(url) as history:
        for one in history.judged(suite=SUITE, cell=str(cell)):
            found[one.test].append(one)
    return found


def _show(found: Sequence[Known]) -> None:
    rows = table("test", "seconds", "so far", "expected")
    for one in found:
        seconds = "" if one.seconds is None else f"{one.seconds:.1f}"
        rows.add_row(escape(one.name), seconds, _so_far(one), escape(_words(one.expectation)))
    out = screen()
    out.print(rows)
    known = [one.seconds for one in found if one.seconds is not None]
    flaky = sum(one.is_flaky for one in found)
    not_passes = sum(one.expectation is not None for one in found)
    out.print(
        f"{len(found)} test{'' if len(found) == 1 else 's'}: {not_passes} expected not to pass, {flaky} flaky; "
        f"{sum(known):.0f} s of {len(known)} whose seconds are known"
    )


def _so_far(known: Known) -> str:
    """Escapes the text: another's history may contain terminal sequences or markup."""
    counts = ", ".join(f"{count} {outcome}" for outcome, count in known.outcomes.most_common())
    text = escape(printable(counts))
    return f"{text}: [yellow]flaky[/]" if known.is_flaky else text


def _words(expectation: Expectation | None) -> str:
    if expectation is None:
        return ""
    return f"{' or '.join(expectation.outcomes)} until {expectation.expires}: {expectation.reason}"
