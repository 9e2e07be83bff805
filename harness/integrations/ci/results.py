"""The results of a night: its plans and JUnit files, from the folder where its jobs' results were gathered."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from harness.core.errors import HarnessError
from harness.integrations.ci.plan import Planned, read
from harness.integrations.reuse.plan import AGREES, PROPERTY
from harness.report.model.data import safe_text
from harness.runner.verdict import Outcome

BAD = ("failure", "error")
HAS_RESULT = (Outcome.PASSED, Outcome.FLAKY, Outcome.REUSED)
MOST_LINES = 8
"""Lines of the console that are shown."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test of one cell. `bad` is whether it did not end as expected; `console` holds the last lines, shown
    below the reason. `differs` says how a check of what could have been reused differs, if it does. `seed` is that
    of a find of a hunt, which ran on the version `found_at`. All texts are safe to show, though not as markup."""

    cell: str
    test: str
    outcome: str
    reason: str
    bad: bool
    console: tuple[str, ...] = ()
    differs: str = ""
    seed: str = ""
    found_at: str = ""


@dataclass(frozen=True, slots=True)
class Night:
    """The cells that were planned, and the tests that ran."""

    planned: Sequence[Planned]
    cases: Sequence[Case]

    def cases_of(self, cell: str) -> list[Case]:
        """The tests of one cell."""
        return [case for case in self.cases if case.cell == cell]

    def without_result(self) -> list[Planned]:
        """The cells that were to run and of which no test passed or failed: a skipped test proves nothing."""
        with_result = {
            case.cell for case in self.cases if case.bad or case.outcome in HAS_RESULT
        }
        return [row for row in self.planned if row.runs and row.cell not in with_result]


def night(folder: Path) -> Night:
    """Read the folder. Raises `HarnessError` if it has no plan, or has a file that can't be read."""
    plans = sorted(folder.rglob("plan-*.json"))
    if not plans:
        raise HarnessError(f"There is no plan of a night in {folder}.", "`osv-harness ci plan` writes one.")
    planned = [row for path in plans for row in read(path)]
    known = {row.cell for row in planned}
    cases = [case for path in sorted(folder.rglob("*.xml")) for case in _cases(path)]
    # A case without a cell is a test of the harness itself, or one that never started: a failure counts.
    return Night(planned, [case for case in cases if case.cell in known or case.bad])


def _cases(path: Path) -> list[Case]:
    try:
        root = ET.parse(path).getroot()
    except (ET.ParseError, OSError) as error:
        raise HarnessError(f"{path} is no JUnit file: {error}.", "Gather the results again.") from error
    return [_case(element) for element in root.iter("testcase")]


def _case(element: ET.Element) -> Case:
    values = {
        one.get("name", ""): safe_text(one.get("value", "")) for one in element.iterfind("properties/property")
    }
    faults = [fault for kind in BAD for fault in element.iterfind(kind)]
    named = f"{element.get('classname', '')}::{element.get('name', '')}"
    reason = values.get("reason") or (safe_text(_first_line(faults[0])) if faults else "")
    outcome = values.get("outcome", "harness_error" if faults else "passed")
    console = _console(faults[0]) if faults else ()
    check = values.get(PROPERTY, AGREES)
    return Case(
        values.get("cell", ""), values.get("test") or safe_text(named), outcome, reason, bool(faults), console,
        "" if check == AGREES else check,
    )  # fmt: skip


def _console(fault: ET.Element) -> tuple[str, ...]:
    """The end of the console, which follows the reason."""
    lines = (fault.text or fault.get("message") or "").strip().splitlines()
    return tuple(safe_text(line) for line in lines[1:][-MOST_LINES:])


def _first_line(fault: ET.Element) -> str:
    lines = (fault.get("message") or fault.text or "").strip().splitlines()
    return lines[0] if lines else "it says nothing"
