"""Show the changes in the history that the statistics stand behind; with --confirm, rerun the suspects first."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from random import Random
from typing import Annotated
from uuid import uuid4

from rich.console import Console
from rich.text import Text

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
from harness.regress.since import Since, since
from harness.regress.standing import KIND, judged, rerun, unconfirmed
from harness.report.findings_lines import WIDE, columns, lines_of
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
    since: Annotated[
        str,
        option(
            "--since", metavar="VERSION", default="", show_default=False,
            help="also what each metric changed by since this release or commit, in steps or without "
            "(default: only what crept in since the last release)",
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
    shown_ones = {number: one for number, one in asked if _is_shown(one, arguments)}
    nights = [one for one in told.nights if _is_shown(one, arguments)]
    crept = [one for one in since(samples, arguments.since, graph, branch) if _is_shown(one, arguments)]
    if arguments.json:
        for number, one in shown_ones.items():
            alone = [night.to_json() for night in nights if _alike(night, one)]
            print(json.dumps({"number": number, **one.to_json(), "nights": alone}))
        for total in crept:
            print(json.dumps(total.to_json()))
    elif not shown_ones:
        out.print(f"No change among {len({one.series for one in samples})} series of {len(samples)} samples.")
    else:
        if (width := columns(out)) >= WIDE:
            out.print(_table(shown_ones))
        else:
            for line in lines_of(shown_ones, width):
                out.print(Text(line), no_wrap=True, crop=False, overflow="ignore")
        if left_out := len(asked) - len(shown_ones):
            out.print(f"{left_out} others are parts of these (--parts) or smaller than {arguments.least:g}%.")
    aside = Console(stderr=True, highlight=False) if arguments.json else out  # whoever reads JSON reads findings
    told_aside = [] if arguments.json else [_words(one) for one in crept]
    told_aside += [_words(one) for one in nights] + [note.text for note in notes(samples, graph, branch)]
    for line in told_aside:
        aside.print(printable(line.encode("utf-8", "backslashreplace")), markup=False, soft_wrap=True)
    return int(any(one.worse for one in shown_ones.values()) or any(one.worse for one in crept))


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


def _asked_for(one: Sample | Finding | Night | Since, arguments: Arguments) -> bool:
    return fnmatchcase(one.cell, arguments.cell) and fnmatchcase(one.metric.name, arguments.metric)


def _is_shown(one: Finding | Night | Since, arguments: Arguments) -> bool:
    great = abs(one.change) >= arguments.least / 100
    return great and _asked_for(one, arguments) and (arguments.parts or not one.metric.is_part)


def _alike(night: Night, one: Finding) -> bool:
    """Whether both are of one series, as far as they say."""
    return (night.metric, night.cell, night.subject) == (one.metric, one.cell, one.subject)


def _words(one: Night | Since) -> str:
    """A line for what is not one of the steps."""
    values = (one.level, one.value) if isinstance(one, Night) else (one.old_level, one.new_level)
    usual, other = (shown(value, one.metric.unit) for value in values)
    if isinstance(one, Since):
        return f"{one.words}: {one.metric.name} on {one.cell}, {usual} to {other}, {_standing(one)}"
    of = one.version.described or one.version.commit[:12]
    return f"{one.words}: {one.metric.name} on {one.cell}, {other} beside {usual}, {of}"


def _standing(one: Finding | Since) -> str:
    return "worse" if one.worse else "better"


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
            str(number), one.metric.name, one.cell, f"{change} {_standing(one)}",
            shown(one.old_level, one.metric.unit), shown(one.new_level, one.metric.unit),
            one.after.described or one.after.commit[:12], rerun_said, str(one.cause),
        )  # fmt: skip
    return rows
