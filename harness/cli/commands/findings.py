"""Show the changes in the history that the statistics stand behind; with --confirm, rerun the suspects first."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from random import Random
from typing import Annotated

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.analysis.regression.ancestry import Graph
from harness.analysis.regression.drift_since import Since, since
from harness.analysis.regression.finding import Finding, OutlierNight
from harness.analysis.regression.notes import notes, unbridged
from harness.analysis.regression.series import Numbers, numbers
from harness.analysis.regression.triage import KIND, confirm_on_host, judged, measure_again, unconfirmed
from harness.cli import completion as complete
from harness.cli.declaration import declare, option
from harness.cli.name_patterns import check_matches
from harness.cli.options import AsJson, Common, HistoryUrl
from harness.cli.output import print_table, screen, table
from harness.core.errors import HarnessError
from harness.core.events import subscribed
from harness.core.garbage_collection import without_garbage_collection
from harness.core.run_id import new_run_id
from harness.core.text import printable
from harness.kernels.osv.checkout import run_git
from harness.metrics.history.store import History
from harness.metrics.records import Sample, Version
from harness.report.findings_lines import WIDE, columns, lines_of, without_repeats
from harness.report.model.formatting import percent, shown
from harness.report.outlier_lines import outlier_line
from harness.report.progress import Progress
from harness.runner.session import Session

LEAST = 0.01
"""Percent: exact numbers show every change, and no kernel's size stays the same from commit to commit."""


@dataclass
class Arguments(Common):
    """Which findings, and whether to rerun."""

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
    confirm: Annotated[
        bool,
        option(
            "--confirm", is_flag=True,
            help="rerun what is suspect and was never rerun; of another builder's, measure a commit again",
        ),
    ]  # fmt: skip
    history: HistoryUrl
    json: AsJson


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """Show the findings; returns 1 if any is for the worse."""
    out = screen()
    with History(arguments.history) as history:
        whole, matching = _numbers(history, arguments)
        if arguments.confirm:
            session, run = Session(arguments.osv_root), new_run_id()
            _confirm(session, history, unconfirmed(matching, history.documents(KIND)), run, out)
            if _measure_again(session, history, unbridged(matching), run, out):
                whole, matching = _numbers(history, arguments)
        # number them before selecting, so that `osv-harness bisect --finding` uses the same numbers
        with without_garbage_collection():
            judgement = judged(whole, history.documents(KIND))
    every = list(enumerate(judgement.findings, 1))
    selected = [(number, one) for number, one in every if _matches(one, arguments)]
    shown_findings = {number: one for number, one in selected if _is_shown(one, arguments)}
    nights = [one for one in judgement.nights if _is_shown(one, arguments)]
    crept = [one for one in since(matching, arguments.since) if _is_shown(one, arguments)]
    if arguments.json:
        for number, one in shown_findings.items():
            alone = [night.to_json() for night in nights if _same_series(night, one)]
            print(json.dumps({"number": number, **one.to_json(), "nights": alone}))
        for total in crept:
            print(json.dumps(total.to_json()))
    elif not shown_findings:
        series = {group.samples[0].series for group in matching.groups}
        count = sum(len(group.samples) for group in matching.groups)
        out.print(f"No change among {len(series)} series of {count} samples.")
    else:
        rows = without_repeats(shown_findings)
        if (width := columns(out)) >= WIDE:
            print_table(out, _table(rows))
        else:
            for line in lines_of(rows, width):
                out.print(Text(line), no_wrap=True, crop=False, overflow="ignore")
        if repeats := len(shown_findings) - len(rows):
            out.print(f"{repeats} more: the same steps in the numbers of another builder.")
        if left_out := len(selected) - len(shown_findings):
            out.print(f"{left_out} others are parts of these (--parts) or smaller than {arguments.least:g}%.")
    aside = Console(stderr=True, highlight=False) if arguments.json else out  # JSON output has findings only
    aside_lines = [] if arguments.json else [outlier_line(one) for one in crept]
    width = columns(out)
    narrow = not arguments.json and width < WIDE  # a line a fact there, as of findings
    for line in aside_lines + [outlier_line(one) for one in nights]:
        text = Text(printable(line))
        if narrow:
            text.truncate(width, overflow="ellipsis")
        aside.print(text, soft_wrap=True)
    for note in notes(matching):
        aside.print(printable(note.text), markup=False, soft_wrap=not narrow, width=width if narrow else None)
    return int(any(one.worse for one in shown_findings.values()) or any(one.worse for one in crept))


def _numbers(history: History, arguments: Arguments) -> tuple[Numbers, Numbers]:
    """All numbers of the history, and those that match the arguments. Raises `HarnessError` if none does."""
    graph, branch = history.graph(), named_commit(arguments)
    with without_garbage_collection():
        return _grouped(history.samples_by_time(), graph, branch, arguments)


def _grouped(every: list[Sample], graph: Graph, branch: str, arguments: Arguments) -> tuple[Numbers, Numbers]:
    check_matches([arguments.cell], {one.cell for one in every}, "cell")
    check_matches([arguments.metric], {one.metric.name for one in every}, "metric")
    whole = numbers(every, graph, branch)
    if (arguments.cell, arguments.metric) == ("*", "*"):
        return whole, whole
    return whole, numbers([one for one in every if _matches(one, arguments)], graph, branch)


def named_commit(arguments: Arguments) -> str:
    """The commit that `--branch` means, if the checkout has it; else the name itself."""
    name = arguments.branch
    root = Session(arguments.osv_root).osv_root if name else None
    if root is None:
        return name
    try:
        return run_git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode().strip()
    except HarnessError:
        return name


def _matches(one: Sample | Finding | OutlierNight | Since, arguments: Arguments) -> bool:
    return fnmatchcase(one.cell, arguments.cell) and fnmatchcase(one.metric.name, arguments.metric)


def _is_shown(one: Finding | OutlierNight | Since, arguments: Arguments) -> bool:
    # Of what changed since a version that was asked for, steps count, too.
    size = one.drift if isinstance(one, Since) and not arguments.since else one.change
    great = abs(size) >= arguments.least / 100
    return great and _matches(one, arguments) and (arguments.parts or not one.metric.is_part)


def _same_series(night: OutlierNight, one: Finding) -> bool:
    """Whether both are of one series."""
    return (night.metric, night.cell, night.subject) == (one.metric, one.cell, one.subject)


def _direction(one: Finding) -> str:
    return "worse" if one.worse else "better"


def _confirm(session: Session, history: History, suspects: list[Finding], run: str, out: Console) -> None:
    rng = Random()
    for suspect in suspects:
        about = f"{suspect.metric.name} on {suspect.cell}, {suspect.before.described} to {suspect.after.described}"
        try:
            with subscribed(Progress()):
                done, document = confirm_on_host(session, suspect, rng, run)
        except HarnessError as error:
            out.print(f"not rerun: {about}: {error.message}", markup=False, soft_wrap=True)
            continue
        history.add([document])
        result = "confirmed" if done.confirmed else "dropped"
        out.print(f"{result} after {done.pairs} pairs of reruns: {about}", markup=False, soft_wrap=True)


def _measure_again(
    session: Session, history: History, wanted: Mapping[tuple[str, Version], Iterable[str]], run: str, out: Console
) -> bool:
    """Measure versions again that another builder built; returns whether anything was measured."""
    measured = False
    for (cell, version), metrics in wanted.items():
        about = f"{version.described or version.commit[:12]} on {cell} with what builds now"
        try:
            with subscribed(Progress()):
                records = measure_again(session, cell, version, metrics, run)
        except HarnessError as error:
            out.print(f"not measured again: {about}: {error.message}", markup=False, soft_wrap=True)
            continue
        history.add(records)
        measured = True
        out.print(f"measured again: {about}", markup=False, soft_wrap=True)
    return measured


def _table(found: Mapping[int, Finding]) -> Table:
    rows = table("", "metric", "cell", "change", "from", "to", "began with", "rerun", "cause")
    for number, finding in found.items():
        low, high = (percent(end) for end in finding.interval)
        change = percent(finding.change) + ("" if finding.metric.exact else f" ({low} to {high})")
        reruns = {True: "confirmed", None: "none yet"}
        rerun = "exact" if finding.metric.exact else reruns.get(finding.confirmed, "")
        rows.add_row(
            str(number), finding.metric.name, finding.cell, f"{change} {_direction(finding)}",
            shown(finding.old_level, finding.metric.unit), shown(finding.new_level, finding.metric.unit),
            finding.after.described or finding.after.commit[:12], rerun, str(finding.cause),
        )  # fmt: skip
    return rows
