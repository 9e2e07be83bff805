"""Show the changes in the history that the statistics stand behind; with --confirm, rerun the suspects first."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from random import Random
from typing import Annotated
from uuid import uuid4

from rich.console import Console

from harness.commands import _completion as complete
from harness.commands._command import declare, option
from harness.commands._options import AsJson, Common, HistoryUrl
from harness.commands._patterns import check_matches
from harness.commands._screen import screen, table
from harness.console.transcript import printable
from harness.errors import HarnessError
from harness.events import subscribed
from harness.history.store import History
from harness.kernels.osv_checkout import run_git
from harness.lab import Lab
from harness.measure import Sample
from harness.regress import Finding, Night
from harness.regress.notes import notes
from harness.regress.standing import KIND, judged, rerun, unconfirmed
from harness.report.progress import Progress
from harness.report.readable import percent, shown

LEAST = 0.01
"""Percent: an exact number tells every change, and no kernel's size stays the same from commit to commit."""


@dataclass
class Arguments(Common):
    """Which, and whether to rerun."""

    cell: Annotated[
        str,
        option(
            "--cell", metavar="PATTERN", default="*", show_default=False, shell_complete=complete.full_cells,
            help="only these cells: 'osv:*-rofs-*'",
        ),
    ]  # fmt: skip
    metric: Annotated[
        str,
        option(
            "--metric", metavar="PATTERN", default="*", show_default=False, shell_complete=complete.metrics,
            help="only these metrics: 'boot.*'",
        ),
    ]  # fmt: skip
    least: Annotated[
        float, option("--least", type=float, default=LEAST, metavar="PERCENT", help="no smaller changes")
    ]
    branch: Annotated[
        str,
        option(
            "--branch", metavar="NAME", default="", show_default=False, shell_complete=complete.commits,
            help="along the first parents of this branch or commit (default: where most versions lie)",
        ),
    ]  # fmt: skip
    parts: Annotated[
        bool, option("--parts", is_flag=True, help="phases, sections and folders too, not wholes alone")
    ]
    confirm: Annotated[bool, option("--confirm", is_flag=True, help="rerun what is suspect and was never rerun")]
    history: HistoryUrl
    json: AsJson


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """Show them; 1 if any is for the worse."""
    out = screen()
    with History(arguments.history) as history:
        every_sample = list(history.samples())
        check_matches([arguments.cell], (one.cell for one in every_sample), "cell")
        check_matches([arguments.metric], (one.metric.name for one in every_sample), "metric")
        samples = [one for one in every_sample if _asked_for(one, arguments)]
        graph, branch = history.graph(), named_commit(arguments)
        if arguments.confirm:
            suspects = unconfirmed(samples, history.documents(KIND), graph, branch)
            _confirm(Lab(arguments.osv_root), history, suspects, out)
        # numbered before they are chosen from, so that `osv-harness bisect --finding` means the same one
        told = judged(every_sample, history.documents(KIND), graph, branch)
    every = list(enumerate(told.findings, 1))
    asked = [(number, one) for number, one in every if _asked_for(one, arguments)]
    found = {number: one for number, one in asked if abs(one.change) >= arguments.least / 100}
    shown_ones = {number: one for number, one in found.items() if arguments.parts or not one.metric.is_part}
    nights = [
        one for one in told.nights if _asked_for(one, arguments) and abs(one.change) >= arguments.least / 100
    ]
    nights = [one for one in nights if arguments.parts or not one.metric.is_part]
    if arguments.json:
        for number, one in shown_ones.items():
            print(json.dumps({"number": number, **one.to_json()}))
    elif not shown_ones:
        out.print(f"No change among {len({one.series for one in samples})} series of {len(samples)} samples.")
    else:
        out.print(_table(shown_ones))
        if left_out := len(asked) - len(shown_ones):
            out.print(f"{left_out} others are parts of these (--parts) or smaller than {arguments.least:g}%.")
    aside = Console(stderr=True, highlight=False) if arguments.json else out  # whoever reads JSON reads findings
    _tell(nights, aside)
    for note in notes(samples, graph, branch):
        aside.print(printable(note.text.encode("utf-8", "backslashreplace")), markup=False, soft_wrap=True)
    return int(any(one.worse for one in shown_ones.values()))


def named_commit(arguments: Arguments) -> str:
    """The commit that `--branch` means in the checkout, if one is named and has it; else the name as it is."""
    name = arguments.branch
    root = Lab(arguments.osv_root).osv_root if name else None
    if root is None:
        return name
    try:
        return run_git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode().strip()
    except HarnessError:
        return name


def _asked_for(one: Sample | Finding | Night, arguments: Arguments) -> bool:
    return fnmatchcase(one.cell, arguments.cell) and fnmatchcase(one.metric.name, arguments.metric)


def _tell(nights: Sequence[Night], out: Console) -> None:
    """A line for each night that is none of the findings."""
    for one in nights:
        beside = f"{shown(one.value, one.metric.unit)} beside {shown(one.level, one.metric.unit)}"
        of = one.version.described or one.version.commit[:12]
        out.print(f"{one.words}: {one.metric.name} on {one.cell}, {beside}, {of}", markup=False, soft_wrap=True)


def _confirm(lab: Lab, history: History, suspects: list[Finding], out: Console) -> None:
    dice, mark = Random(), uuid4().hex
    for one in suspects:
        about = f"{one.metric.name} on {one.cell}, {one.before.described} to {one.after.described}"
        try:
            with subscribed(Progress()):
                done, document = rerun(lab, one, dice, mark)
        except HarnessError as error:
            out.print(f"not rerun: {about}: {error.happened}", markup=False, soft_wrap=True)
            continue
        history.add([document])
        said = "confirmed" if done.confirmed else "dropped"
        out.print(f"{said} after {done.pairs} pairs of reruns: {about}", markup=False, soft_wrap=True)


def _table(found: Mapping[int, Finding]) -> object:
    rows = table("", "metric", "cell", "change", "from", "to", "began with", "rerun", "cause")
    for number, one in found.items():
        low, high = (percent(end) for end in one.interval)
        change = percent(one.change) + ("" if one.metric.exact else f" ({low} to {high})")
        rerun_said = "exact" if one.metric.exact else {True: "confirmed", None: "none yet"}.get(one.confirmed, "")
        rows.add_row(
            str(number), one.metric.name, one.cell, f"{change} {'worse' if one.worse else 'better'}",
            shown(one.old_level, one.metric.unit), shown(one.new_level, one.metric.unit),
            one.after.described or one.after.commit[:12], rerun_said, str(one.cause),
        )  # fmt: skip
    return rows
