"""Shows a bisection's answer and its journal on a terminal."""

from rich.console import Console

from harness.analysis.bisect.answer import Answer, BisectOutcome, Culprit
from harness.analysis.bisect.journal_records import Booted, Failed, Finished, Opened, Record, to_json
from harness.analysis.bisect.model import FRESH, REVERTED, Build
from harness.cli.output import screen, table
from harness.report.model.formatting import percent, shown

SHORT = 12
OUTCOME_TEXTS = {
    BisectOutcome.FOUND: "found",
    BisectOutcome.NARROWED: "narrowed down, and no further",
    BisectOutcome.NO_DIFFERENCE: "good and bad do not differ",
    BisectOutcome.SWAPPED: "the bad end is the better one: swapped, or to be looked for with --improved?",
    BisectOutcome.LAYOUT: "builds differ as the layout of code does, not as commits",
    BisectOutcome.SPREAD: "many small changes, none of which is the one",
    BisectOutcome.REFUTED: "a commit was found, and a check refutes it",
}


def show_answer(answer: Answer, out: Console, of_test: bool) -> None:
    out.print(OUTCOME_TEXTS[answer.outcome].capitalize(), style="bold")
    if answer.why:
        out.print(answer.why, markup=False, soft_wrap=True)
    if answer.cause:
        out.print(f"looked for: {answer.cause}", markup=False, soft_wrap=True)
    for culprit in answer.culprits:
        size = _failure_rates(culprit) if of_test else _change_text(culprit)
        sure = f"with a probability of {culprit.probability:.4g}"
        out.print(f"{_culprit_name(culprit)}: {size}, {sure}", markup=False, soft_wrap=True)
    for warning in answer.warnings:
        out.print(f"beware: {warning.text}", markup=False, soft_wrap=True)
    for check in answer.checks:
        result = {True: "holds", False: "does not hold", None: "can't say"}[check.passed]
        out.print(f"{check.name}: {result}. {check.detail}", markup=False, soft_wrap=True)
    out.print(
        f"from {answer.builds} builds ({_kinds(answer)}) and "
        f"{answer.boots} boots; the ends: {answer.good_level:,.10g} and {answer.bad_level:,.10g}",
        soft_wrap=True,
    )
    if answer.inside:
        out.print("inside the merge:", style="bold")
        show_answer(answer.inside, out, of_test)


def _kinds(answer: Answer) -> str:
    rows = (answer.cached, "cached"), (answer.broken, "broken"), (answer.layouts, "further layouts")
    return ", ".join(f"{count} {kind}" for count, kind in rows if count or kind != "further layouts")


def _culprit_name(one: Culprit) -> str:
    commits = [commit[:SHORT] for commit in one.commits]
    return commits[0] if len(commits) == 1 else f"{len(commits)} commits ({', '.join(commits[:8])})"


def _change_text(culprit: Culprit) -> str:
    low, high = culprit.interval
    relative = "" if culprit.relative is None else f" ({percent(culprit.relative)})"
    interval = f", 95% interval {low:+,.6g} to {high:+,.6g}" if low < high else ""
    return f"{culprit.change:+,.6g}{relative}{interval}"


def _failure_rates(one: Culprit) -> str:
    return f"from failing in {one.old_level:.0%} of its runs to {one.new_level:.0%}"


def show_journal(records: list[Record], opened: Opened) -> None:
    rows = table("commit", "layout", "what", "")
    for record in records:
        if isinstance(record, Finished | Failed | Booted):
            commit = opened.line.commits[record.key.index][:SHORT]
            what, detail = _row(record, opened)
            rows.add_row(commit, _layout(record.key), what, detail)
        elif not isinstance(record, Opened):
            rows.add_row("", "", str(to_json(record)["record"]), "")
    screen().print(rows)


def _layout(key: Build) -> str:
    return {FRESH: "from scratch", REVERTED: "reverted", 0: ""}.get(key.layout, str(key.layout))


def _row(record: Finished | Failed | Booted, opened: Opened) -> tuple[str, str]:
    if isinstance(record, Finished):
        return "built", f"{record.built.seconds:.0f} s, {record.built.digest[:SHORT]}"
    if isinstance(record, Failed):
        return "broken", record.why
    return "booted", record.cause or shown(record.value, opened.measure.unit)
