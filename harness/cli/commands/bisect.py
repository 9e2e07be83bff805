"""Find the commit that changed a metric or a test, and say how sure that is."""

import hashlib
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import click
from rich.console import Console

from harness.analysis.bisect.answer import Answer, Culprit, Outcome
from harness.analysis.bisect.commit_range import Commits
from harness.analysis.bisect.journal import read
from harness.analysis.bisect.journal_records import Booted, Failed, Finished, Opened, Record, to_json
from harness.analysis.bisect.model import FRESH, REVERTED, Effort, Key, Kind
from harness.analysis.bisect.replay import replayed
from harness.analysis.bisect.run import Benches, Question, bench_here, bisect
from harness.analysis.regression.triage import KIND, standing
from harness.cli import completion as complete
from harness.cli.commit_tests import check_test
from harness.cli.declaration import argument, declare, option
from harness.cli.farm_options import OnFarm, tls
from harness.cli.number_types import COUNT
from harness.cli.options import FILE, HistoryUrl, LoadSeconds
from harness.cli.output import screen, table
from harness.core.errors import CheckoutError, HarnessError
from harness.core.events import publish, subscribed
from harness.kernels.osv.checkout import Checkout
from harness.metrics import suite
from harness.metrics.history.store import History
from harness.metrics.records import NAME
from harness.report.model.formatting import percent, shown
from harness.report.progress import Progress
from harness.runner.session import Lab

SHORT = 12
SAYS = {
    Outcome.FOUND: "found",
    Outcome.NARROWED: "narrowed down, and no further",
    Outcome.NO_DIFFERENCE: "good and bad do not differ",
    Outcome.SWAPPED: "the bad end is the better one: swapped, or to be looked for with --improved?",
    Outcome.LAYOUT: "builds differ as the layout of code does, not as commits",
    Outcome.SPREAD: "many small changes, none of which is the one",
    Outcome.REFUTED: "a commit was found, and a check refutes it",
}


@dataclass
class Arguments(OnFarm):
    """What, between which commits, how sure."""

    do: Annotated[
        str | None,
        argument(
            "do", required=False, type=click.Choice(["log", "replay"]),
            help="show what a bisection has done by now; or decide again from what it measured, building nothing",
        ),
    ]  # fmt: skip
    metric: Annotated[
        str | None,
        option(
            "--metric", metavar="NAME", shell_complete=complete.metrics,
            help="boot.instructions, memory.minimum, app.nginx.most.throughput",
        ),
    ]  # fmt: skip
    test: Annotated[
        str | None,
        option("--test", metavar="NAME", shell_complete=complete.tests, help="an in-guest test: tst-mmap.so"),
    ]
    finding: Annotated[
        int | None, option("--finding", type=int, metavar="N", help="what `osv-harness findings` shows as N")
    ]
    good: Annotated[
        str | None,
        option("--good", metavar="COMMIT", shell_complete=complete.commits, help="where it still was right"),
    ]
    bad: Annotated[
        str,
        option(
            "--bad", metavar="COMMIT", default="HEAD", shell_complete=complete.commits,
            help="where it no longer is",
        ),
    ]  # fmt: skip
    improved: Annotated[
        bool,
        option("--improved", is_flag=True, help="look for what made it better: good is before, bad is after"),
    ]
    cell: Annotated[
        str, option("--cell", default="qemu-ramfs", metavar="CELL", shell_complete=complete.cells, help="where")
    ]
    confidence: Annotated[
        float, option("--confidence", type=float, default=0.99, metavar="P", help="how sure")
    ]
    jobs: Annotated[
        int, option("--jobs", type=COUNT, default=1, metavar="K", help="kernels built at once")
    ]
    build_with: Annotated[
        str,
        option(
            "--build-with", metavar="COMMAND", default="", show_default=False,
            help="what enters an environment that builds old commits, and is given each command of a build: "
            "'podman run --rm -v {tree}:{tree} -w {tree} IMAGE'",
        ),
    ]  # fmt: skip
    duration: LoadSeconds
    state: Annotated[
        Path | None,
        option("--state", type=FILE, metavar="FILE", help="its journal (default: in the cache, by its question)"),
    ]
    no_checks: Annotated[
        bool,
        option(
            "--no-checks", is_flag=True, help="do not verify the answer by builds from scratch and a revert"
        ),
    ]
    resume: Annotated[bool, option("--resume", is_flag=True, help="go on with the journal that is there")]
    history: HistoryUrl


@declare(__doc__)
def command(arguments: Arguments) -> int:
    """Bisect; 1 where there is no commit to name."""
    if arguments.do and arguments.state:
        return _look_back(arguments.do, arguments.state)
    lab = Lab(arguments.osv_root)
    if lab.osv_root is None:
        raise CheckoutError("No OSv checkout is named whose commits could be bisected.", "Set OSV_ROOT.")
    question = _question(lab, arguments)
    state = arguments.state or _state(lab, question)
    if arguments.do:
        return _look_back(arguments.do, state)
    if state.exists() and not arguments.resume:
        raise HarnessError(
            f"This bisection was begun before: {state}.",
            "Go on with --resume, or begin anew with another --state.",
        )
    with subscribed(Progress()):
        if changes := Checkout(lab.osv_root).state().changes:
            publish(
                "bisect.uncommitted", ", ".join(changes[:3]), "is not part of any commit, and of no build here"
            )
        with _benches(lab, arguments) as benches:
            done = bisect(benches, question, state)
    with History(arguments.history) as history:
        history.add(done.kept)
    _show(done.answer, screen(), bool(question.test))
    return 0 if done.answer.outcome is Outcome.FOUND else 1


@contextmanager
def _benches(lab: Lab, arguments: Arguments) -> Iterator[Benches]:
    """Who builds and boots: this host, or a farm."""
    if not arguments.farm:
        yield bench_here(lab)
        return
    known = tls(arguments)
    from harness.integrations.farm.bisect_backend import benches_of
    from harness.integrations.farm.run import Farm

    with benches_of(Farm(arguments.farm, known), lab) as benches:
        yield benches


def _question(lab: Lab, arguments: Arguments) -> Question:
    """What the arguments ask. Raises `HarnessError` with what is wrong with them."""
    assert lab.osv_root
    if arguments.finding is not None:
        _take_over(arguments, arguments.finding)
    if bool(arguments.metric) == bool(arguments.test) or not arguments.good:
        raise HarnessError("A bisection wants --good, and either --metric or --test; or a --finding.")
    if arguments.metric and not NAME.fullmatch(arguments.metric):
        raise HarnessError(f"{arguments.metric!r} is no metric's name.")
    cell = lab.cell(arguments.cell)
    if cell.kernel != "osv":
        raise HarnessError(f"{cell} has no commits here.", "Name a cell of osv.")
    commits = Commits(lab.osv_root, arguments.good, arguments.bad)
    if arguments.metric:
        suite.measuring(arguments.metric, cell)
    else:
        check_test(lab.osv_root, arguments.test or "", (commits.good, commits.bad))
    return Question(
        cell,
        commits,
        Effort(confidence=arguments.confidence, jobs=arguments.jobs),
        arguments.metric or "",
        arguments.test or "",
        arguments.duration,
        tuple(shlex.split(arguments.build_with)),
        not arguments.no_checks,
        arguments.improved,
    )


def _take_over(arguments: Arguments, number: int) -> None:
    """A finding's metric and cell, and the commits between which it lies, as if they had been given."""
    if arguments.metric or arguments.test or arguments.good:
        raise HarnessError("--finding names the metric and the commits: give neither --metric, --test nor --good.")
    with History(arguments.history) as history:
        found = standing(list(history.samples()), history.documents(KIND), history.graph())
    if not 1 <= number <= len(found):
        raise HarnessError(
            f"There is no finding {number}; the history has {len(found)}.",
            "See `osv-harness findings`.",
        )
    one = found[number - 1]
    before, after = one.span or (one.before, one.after)
    arguments.metric, arguments.cell = one.metric.name, one.cell
    arguments.good, arguments.bad, arguments.improved = before.commit, after.commit, not one.worse


def _state(lab: Lab, question: Question) -> Path:
    """The journal's path: of the same question, the same."""
    commits, effort = question.commits, question.effort
    asked = [
        str(question.cell),
        question.metric or question.test,
        commits.good,
        commits.bad,
        str(effort.confidence),
    ]
    asked += [*question.through, *(["improved"] if question.improved else [])]
    return lab.cache.root / "bisect" / f"{hashlib.sha256(' '.join(asked).encode()).hexdigest()[:16]}.jsonl"


def _look_back(how: str, state: Path) -> int:
    records = read(state) if state.exists() else []
    if not records or not isinstance(records[0], Opened):
        raise HarnessError("There is no such bisection.", "Give its ends and its metric, or its --state.")
    if how == "log":
        _log(records, records[0])
        return 0
    answer = replayed(records)
    _show(answer, screen(), records[0].measure.kind is Kind.TEST)
    return 0 if answer.outcome is Outcome.FOUND else 1


def _show(answer: Answer, out: Console, of_test: bool) -> None:
    out.print(SAYS[answer.outcome].capitalize(), style="bold")
    if answer.why:
        out.print(answer.why, markup=False, soft_wrap=True)
    if answer.cause:
        out.print(f"looked for: {answer.cause}", markup=False, soft_wrap=True)
    for culprit in answer.culprits:
        size = _in_runs(culprit) if of_test else _in_units(culprit)
        sure = f"with a probability of {culprit.probability:.4g}"
        out.print(f"{_named(culprit)}: {size}, {sure}", markup=False, soft_wrap=True)
    for warning in answer.warnings:
        out.print(f"beware: {warning.text}", markup=False, soft_wrap=True)
    for check in answer.checks:
        said = {True: "holds", False: "does not hold", None: "can't say"}[check.passed]
        out.print(f"{check.name}: {said}. {check.detail}", markup=False, soft_wrap=True)
    out.print(
        f"from {answer.builds} builds ({_kinds(answer)}) and "
        f"{answer.boots} boots; the ends: {answer.good_level:,.10g} and {answer.bad_level:,.10g}",
        soft_wrap=True,
    )
    if answer.inside:
        out.print("inside the merge:", style="bold")
        _show(answer.inside, out, of_test)


def _kinds(answer: Answer) -> str:
    rows = (answer.cached, "cached"), (answer.broken, "broken"), (answer.layouts, "further layouts")
    return ", ".join(f"{count} {kind}" for count, kind in rows if count or kind != "further layouts")


def _named(one: Culprit) -> str:
    commits = [commit[:SHORT] for commit in one.commits]
    return commits[0] if len(commits) == 1 else f"{len(commits)} commits ({', '.join(commits[:8])})"


def _in_units(one: Culprit) -> str:
    low, high = one.interval
    relative = "" if one.relative is None else f" ({percent(one.relative)})"
    interval = f", 95% interval {low:+,.6g} to {high:+,.6g}" if low < high else ""
    return f"{one.change:+,.6g}{relative}{interval}"


def _in_runs(one: Culprit) -> str:
    return f"from failing in {one.old_level:.0%} of its runs to {one.new_level:.0%}"


def _log(records: list[Record], opened: Opened) -> None:
    rows = table("commit", "layout", "what", "")
    for record in records:
        if isinstance(record, Finished | Failed | Booted):
            commit = opened.line.commits[record.key.index][:SHORT]
            what, detail = _row(record, opened)
            rows.add_row(commit, _layout(record.key), what, detail)
        elif not isinstance(record, Opened):
            rows.add_row("", "", str(to_json(record)["record"]), "")
    screen().print(rows)


def _layout(key: Key) -> str:
    return {FRESH: "from scratch", REVERTED: "reverted", 0: ""}.get(key.layout, str(key.layout))


def _row(record: Finished | Failed | Booted, opened: Opened) -> tuple[str, str]:
    if isinstance(record, Finished):
        return "built", f"{record.built.seconds:.0f} s, {record.built.digest[:SHORT]}"
    if isinstance(record, Failed):
        return "broken", record.why
    return "booted", record.cause or shown(record.value, opened.measure.unit)
