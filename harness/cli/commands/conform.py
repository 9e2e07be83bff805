"""Run the same programs on OSv and on Linux, and say of each difference whose it is."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from rich.markup import escape

from harness.cli.declaration import declare, option
from harness.cli.number_types import COUNT
from harness.cli.options import AsJson, CellName, Common, RunsFolder, TestNames
from harness.cli.output import screen, table
from harness.cli.parallel import runs
from harness.cli.streams import print_error
from harness.core.errors import CellError, HarnessError
from harness.core.events import subscribed
from harness.core.link_mode import LinkMode, launch_of
from harness.core.run_id import new_run_id
from harness.core.suggestions import nearest
from harness.core.text import one_line, printable
from harness.report import evidence, reproduce
from harness.report.progress import Progress
from harness.runner.base import Run
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.workloads.conformance import Conformance, Pair, comparison, conformance


@dataclass
class Arguments(Common):
    """OSv's cell, and which programs."""

    cell: CellName
    test: TestNames
    jobs: Annotated[
        int, option("--jobs", "-j", type=COUNT, default=1, metavar="N", help="programs that run at once")
    ]
    all: Annotated[bool, option("--all", is_flag=True, help="show what passes on both, too")]
    runs: RunsFolder
    json: AsJson


@dataclass(frozen=True, slots=True)
class Compared:
    """A program with the outcome and the reason of its runs."""

    name: str
    linux: tuple[Outcome, str]
    osv: tuple[Outcome, str]

    @property
    def says(self) -> Conformance:
        """Whose the difference is."""
        return conformance(self.linux[0], self.osv[0])

    def to_json(self) -> dict[str, object]:
        """Plain JSON values."""
        (linux, on_linux), (osv, on_osv) = self.linux, self.osv
        rows = {"linux": {"outcome": linux, "reason": on_linux}, "osv": {"outcome": osv, "reason": on_osv}}
        return {"program": self.name, "is": self.says, **rows}


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """Every program on Linux and on OSv; 1 if a difference is OSv's, 2 if nothing could be compared."""
    session = Session(arguments.osv_root)
    cell = session.cell(arguments.cell)
    if not launch_of(cell):
        cell = session.cell(str(replace(cell, options=(*cell.options, LinkMode.PIE))))
    with subscribed(Progress()):
        compared = comparison(session, cell)
    patterns = arguments.test or ["*"]
    left_out = {name: why for name, why in compared.left_out.items() if _matches(name, patterns)}
    pairs = chosen(compared.pairs, patterns, left_out)
    session = Session(arguments.osv_root, images=compared.images)
    run_id = new_run_id()
    found: list[Compared] = []
    with closing(runs(session, [one for pair in pairs for one in pair], arguments.jobs)) as results:
        for pair in pairs:
            both = (next(results), next(results))
            found.append(Compared(pair[0][1].name, _outcome_of(both[0]), _outcome_of(both[1])))
            if found[-1].says is not Conformance.BOTH:
                again = reproduce.conform_again(session, cell, found[-1].name, arguments.runs)
                _keep(session, pair, both, arguments.runs / run_id, again)
            if arguments.json:
                print(json.dumps(found[-1].to_json()), flush=True)
    if arguments.json:
        for name, why in left_out.items():
            print(json.dumps({"program": name, "is": "left out", "why": one_line(why)}))
    else:
        _show(found, left_out, arguments.all)
    says = {one.says for one in found}
    return 1 if Conformance.OSV in says else 2 if says <= {Conformance.UNKNOWN} else 0


def chosen(pairs: Sequence[Pair], patterns: Sequence[str], left_out: Mapping[str, str]) -> list[Pair]:
    """The programs that match the patterns. Raises `CellError` if a pattern has none: with the reason if what it
    names is left out, else with the nearest names."""
    names = [pair[0][1].name for pair in pairs]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            meant = [
                f"{name} is left out: {one_line(why)}"
                for name, why in left_out.items()
                if fnmatchcase(name, pattern)
            ]
            near = f"The nearest are: {', '.join(nearest(pattern, names)) or 'none'}."
            raise CellError(f"No program {pattern!r} runs on both kernels.", "\n".join(meant) or near)
    return [pair for pair in pairs if _matches(pair[0][1].name, patterns)]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _outcome_of(run: Run) -> tuple[Outcome, str]:
    return run.verdict.outcome, printable(run.verdict.reason)


def _keep(session: Session, pair: Pair, both: tuple[Run, Run], folder: Path, again: str) -> None:
    """Write the evidence of both runs."""
    for (cell, program), run in zip(pair, both, strict=True):
        try:
            evidence.write(run, session.image(cell), session.recorded_accelerator(cell), folder, again)
        except HarnessError as error:
            print_error(HarnessError(f"The evidence of {program.name} was not kept: {error}"))


def _show(found: Sequence[Compared], left_out: Mapping[str, str], all_of_them: bool) -> None:
    """Print the table, in which programs that end in the same ways share a row, and what each row is."""
    rows: dict[Compared, list[str]] = defaultdict(list)
    for one in found:
        if all_of_them or one.says is not Conformance.BOTH:
            rows[replace(one, name="")].append(one.name)
    shown = table("programs", "on Linux", "on OSv", "the difference is")
    for one, names in rows.items():
        shown.add_row(" ".join(names), *(escape(": ".join(kernel)) for kernel in (one.linux, one.osv)), one.says)
    out = screen()
    out.print(shown)
    counts = Counter(one.says for one in found)
    out.print(", ".join(f"{count} {says}" for says, count in counts.most_common()), markup=False)
    for name, why in left_out.items():
        out.print(f"left out: {name}: {one_line(why)}", markup=False)
