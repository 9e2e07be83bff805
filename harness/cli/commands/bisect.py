"""Find the commit that changed a metric or a test, and say how sure that is."""

import hashlib
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import click

from harness.analysis.bisect.answer import BisectOutcome
from harness.analysis.bisect.commit_range import Commits
from harness.analysis.bisect.journal import read
from harness.analysis.bisect.journal_records import Opened
from harness.analysis.bisect.model import Effort, Kind
from harness.analysis.bisect.replay import replay_journal
from harness.analysis.bisect.run import BackendFactory, BisectRequest, bisect, local_backends
from harness.analysis.hunt.seed import Seed, check_cell
from harness.analysis.regression.triage import KIND, reportable_findings
from harness.cli import completion as complete
from harness.cli.bisect_output import show_answer, show_journal
from harness.cli.commit_tests import check_test
from harness.cli.declaration import argument, declare, option
from harness.cli.farm_options import FarmOptions, tls
from harness.cli.number_types import COUNT
from harness.cli.options import FILE, HistoryUrl, LoadSeconds
from harness.cli.output import screen
from harness.cli.parallel import runs
from harness.core.builders import builder_of, builders
from harness.core.cell import Cell
from harness.core.errors import CheckoutError, HarnessError
from harness.core.events import publish, subscribed
from harness.core.schedule import Schedule
from harness.kernels.osv.checkout import Checkout
from harness.metrics import suite
from harness.metrics.history.store import History
from harness.metrics.records import NAME
from harness.report.progress import Progress
from harness.runner.session import Session


@dataclass
class Arguments(FarmOptions):
    """What to bisect, between which commits, with which confidence."""

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
    seed: Annotated[
        str | None,
        option("--seed", metavar="SEED", help="a failure that hunt found, by its seed; with its test and cell"),
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
            "--build-with", metavar="BUILDER|COMMAND", default="", show_default=False,
            shell_complete=complete.builders,
            help="what builds old commits: a builder's name (debian12), or a command that enters an environment, "
            "and is given each command of a build: 'podman run --rm -v {tree}:{tree} -w {tree} IMAGE'",
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
    """Bisect; returns 1 if no commit was found."""
    if arguments.do and arguments.state:
        return _show_past(arguments.do, arguments.state)
    session = Session(arguments.osv_root)
    if session.osv_root is None:
        raise CheckoutError("No OSv checkout is named whose commits could be bisected.", "Set OSV_ROOT.")
    request = request_of(session, arguments)
    state = arguments.state or _state(session, request)
    if arguments.do:
        return _show_past(arguments.do, state)
    if state.exists() and not arguments.resume:
        raise HarnessError(
            f"This bisection was begun before: {state}.",
            "Go on with --resume, or begin anew with another --state.",
        )
    with subscribed(Progress()):
        if changes := Checkout(session.osv_root).state().changes:
            publish(
                "bisect.uncommitted", ", ".join(changes[:3]), "is not part of any commit, and of no build here"
            )
        with _backend_factory(session, arguments) as make_backend:
            done = bisect(make_backend, request, state)
    with History(arguments.history) as history:
        history.add(done.records)
    show_answer(done.answer, screen(), bool(request.test))
    return 0 if done.answer.outcome is BisectOutcome.FOUND else 1


@contextmanager
def _backend_factory(session: Session, arguments: Arguments) -> Iterator[BackendFactory]:
    """The backends that build and boot: this host's, or a farm's."""
    if not arguments.farm:
        yield local_backends(session, runs)
        return
    known = tls(arguments)
    from harness.integrations.farm.bisect_backend import farm_backends
    from harness.integrations.farm.run import Farm

    with farm_backends(Farm(arguments.farm, known), session) as make_backend:
        yield make_backend


def request_of(session: Session, arguments: Arguments) -> BisectRequest:
    """The request that the arguments make. Raises `HarnessError` with what is wrong with them."""
    assert session.osv_root
    if arguments.finding is not None:
        _use_finding(arguments, arguments.finding)
    schedule = _use_seed(arguments, arguments.seed) if arguments.seed else None
    if bool(arguments.metric) == bool(arguments.test) or not arguments.good:
        raise HarnessError("A bisection wants --good, and either --metric, --test or --seed; or a --finding.")
    if arguments.metric and not NAME.fullmatch(arguments.metric):
        raise HarnessError(f"{arguments.metric!r} is no metric's name.")
    cell = session.cell(arguments.cell)
    if cell.kernel != "osv":
        raise HarnessError(f"{cell} has no commits here.", "Name a cell of osv.")
    through = tuple(shlex.split(arguments.build_with))
    if through and through[0] in builders():
        cell, through = _with_builder(session, cell, through), ()
    elif through and builder_of(cell):
        raise HarnessError(
            f"{cell} names its builder: --build-with {through[0]} would be a second one.", "Leave one of them out."
        )
    if schedule:
        check_cell(cell)
    commits = Commits(session.osv_root, arguments.good, arguments.bad)
    if arguments.metric:
        suite.measuring(arguments.metric, cell)
    else:
        check_test(session.osv_root, arguments.test or "", (commits.good, commits.bad))
    return BisectRequest(
        cell,
        commits,
        Effort(confidence=arguments.confidence, jobs=arguments.jobs),
        arguments.metric or "",
        arguments.test or "",
        arguments.duration,
        through,
        not arguments.no_checks,
        arguments.improved,
        schedule=schedule,
    )


def _with_builder(session: Session, cell: Cell, words: Sequence[str]) -> Cell:
    """The cell as this builder builds it. Raises `HarnessError` if it names another, or the words say more."""
    if len(words) > 1:
        raise HarnessError(
            f"{words[0]} is a builder, and enters its root by itself: it takes no words after it.",
            f"Give --build-with {words[0]} alone, or ./{words[0]} for a program of that name.",
        )
    return session.matrix.with_options(cell, [builders()[words[0]].option])


def _use_seed(arguments: Arguments, text: str) -> Schedule:
    """Set the arguments to a seed's test and cell; returns its schedule."""
    if arguments.metric or arguments.test:
        raise HarnessError("--seed names the test: give neither --metric, --test nor --finding.")
    if arguments.farm:
        raise HarnessError("A seed is bisected on this host alone.", "Leave out --farm, or bisect with --test.")
    seed = Seed.parse(text)
    arguments.test, arguments.cell = seed.test, seed.cell
    return seed.schedule


def _use_finding(arguments: Arguments, number: int) -> None:
    """Set the arguments to a finding's metric and cell, and to the commits between which it lies."""
    if arguments.metric or arguments.test or arguments.good:
        raise HarnessError("--finding names the metric and the commits: give neither --metric, --test nor --good.")
    with History(arguments.history) as history:
        found = reportable_findings(list(history.samples()), history.documents(KIND), history.graph())
    if not 1 <= number <= len(found):
        raise HarnessError(
            f"There is no finding {number}; the history has {len(found)}.",
            "See `osv-harness findings`.",
        )
    one = found[number - 1]
    before, after = one.span or (one.before, one.after)
    arguments.metric, arguments.cell = one.metric.name, one.cell
    arguments.good, arguments.bad, arguments.improved = before.commit, after.commit, not one.worse


def _state(session: Session, request: BisectRequest) -> Path:
    """The path of the journal: the same for the same request."""
    commits, effort = request.commits, request.effort
    asked = [
        str(request.cell),
        request.metric or request.test,
        commits.good,
        commits.bad,
        str(effort.confidence),
    ]
    asked += [*request.through, *(["improved"] if request.improved else [])]
    asked += [str(request.schedule)] if request.schedule else []
    return session.cache.root / "bisect" / f"{hashlib.sha256(' '.join(asked).encode()).hexdigest()[:16]}.jsonl"


def _show_past(how: str, state: Path) -> int:
    records = read(state) if state.exists() else []
    if not records or not isinstance(records[0], Opened):
        raise HarnessError("There is no such bisection.", "Give its ends and its metric, or its --state.")
    if how == "log":
        show_journal(records, records[0])
        return 0
    answer = replay_journal(records)
    show_answer(answer, screen(), records[0].measure.kind is Kind.TEST)
    return 0 if answer.outcome is BisectOutcome.FOUND else 1
