"""Run nights by themselves: GitHub's workflows or a shell script, and what their steps ask."""

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Annotated

import click

from harness.analysis.regression.drift_since import Since, since
from harness.analysis.regression.finding import Finding
from harness.analysis.regression.series import numbers
from harness.analysis.regression.triage import reportable_findings
from harness.cli import completion as complete
from harness.cli.declaration import Group, argument, option
from harness.cli.options import DIR, FILE, CellName, Common
from harness.cli.output import screen, table
from harness.core.arch import host_arch
from harness.core.errors import HarnessError
from harness.core.events import subscribed
from harness.core.matrix import Matrix
from harness.core.whole_files import write_whole
from harness.integrations.ci import (
    comment,
    cross_check,
    failure_groups,
    gh_cli,
    image_bundle,
    issues,
    plan,
    results,
    summary,
    workflow,
)
from harness.metrics.history.jsonl import line_of
from harness.metrics.history.store import History
from harness.report.model.spans import PLAN
from harness.report.morning.commits import Commits
from harness.report.morning.nights import plans_of
from harness.report.progress import Progress
from harness.runner.session import Session

LEAST = 1.0
"""Percent: a smaller regression is in the report, but makes no issue."""

WhichKernel = Annotated[
    str, option("--kernel", type=click.Choice(["osv", "linux"]), default="osv", help="which is tested")
]


@dataclass
class GithubArguments(Common):
    """The workflows, and where to write them."""

    kernel: WhichKernel
    home: Annotated[
        str,
        option(
            "--home", type=click.Choice(workflow.HOMES), default="harness", help="whose repository they are for"
        ),
    ]
    other: Annotated[
        str | None,
        option("--other", metavar="OWNER/NAME", help="the other's (default: cloudius-systems/osv)"),
    ]
    output: Annotated[
        Path,
        option(
            "--output", type=DIR, default=Path(".github/workflows"), metavar="DIR", help="where they are written"
        ),
    ]


@dataclass
class ShellArguments(Common):
    """The kernel and the cells of the night."""

    kernel: WhichKernel
    set: Annotated[
        str,
        option("--set", default="nightly", metavar="NAME", shell_complete=complete.sets, help="of cells"),
    ]


@dataclass
class PlanArguments(Common):
    """The cells, and the format of the plan."""

    matrix: Annotated[
        Path, argument("matrix", type=FILE, help="what osv-harness matrix --format json said here")
    ]
    write: Annotated[
        Path | None,
        option("--write", type=FILE, metavar="FILE", help="keep the plan there, and beside it for the history"),
    ]
    lines: Annotated[
        str | None,
        option("--lines", type=click.Choice(["builds", "cells"]), help="for a shell: one a line, in words"),
    ]


@dataclass
class PackArguments(Common):
    """The image, and where to put it."""

    cell: CellName
    folder: Annotated[Path, argument("folder", type=DIR, help="gets a folder for the cell")]


@dataclass
class ResultsArguments(Common):
    """The results of a night."""

    folder: Annotated[Path, argument("folder", type=DIR, help="where the jobs' results were gathered")]


@dataclass
class IssuesArguments(ResultsArguments):
    """The existing issues, the history, and whether to change anything."""

    issues: Annotated[
        Path,
        option(
            "--issues", type=FILE, required=True, metavar="FILE", help="what gh issue list --json told"
        ),
    ]
    history: Annotated[
        str, option("--history", required=True, metavar="URL", help="the whole history, tonight's in it")
    ]
    least: Annotated[
        float, option("--least", type=float, default=LEAST, metavar="PERCENT", help="no issues of smaller changes")
    ]
    night: Annotated[
        str | None,
        option("--night", metavar="URL", help="where the night can be seen (default: GitHub's run)"),
    ]
    do: Annotated[bool, option("--do", is_flag=True, help="with gh")]


@dataclass
class CommentArguments(ResultsArguments):
    """The run of a pull request, and the history."""

    history: Annotated[str, option("--history", required=True, metavar="URL", help="the history of nights")]
    head: Annotated[str, option("--head", required=True, metavar="SHA", help="the pull request's commit")]
    link: Annotated[str | None, option("--link", metavar="URL", help="where the run can be seen")]


@dataclass
class SameArguments(Common):
    """Two histories."""

    a: Annotated[str, argument("a", help="a history")]
    b: Annotated[str, argument("b", help="a history")]


command = Group(__doc__, Common)


@command.subcommand("github", "write the workflows: a night, and a pull request")
def _github(arguments: GithubArguments) -> int:
    if arguments.home == "osv" and not arguments.other:
        raise HarnessError("The workflows of OSv's repository check the harness out.", "Give --other OWNER/NAME.")
    home = workflow.Home(arguments.home, arguments.other or workflow.Home().other)
    for name in workflow.NAMES:
        path = arguments.output / name
        text = workflow.workflow(name, arguments.kernel, home, _command(arguments, home))
        write_whole(path, text, make_folder=True)
        screen().print(str(path), markup=False)
    return 0


def _command(arguments: GithubArguments, home: workflow.Home) -> str:
    words = ["osv-harness", "ci", "github"]
    words += ["--kernel", arguments.kernel] if arguments.kernel != "osv" else []
    words += ["--home", home.name] if home.name != "harness" else []
    words += ["--other", home.other] if home.other != workflow.Home().other else []
    return shlex.join(words)


@command.subcommand("shell", "print the night as a script for sh, for any other CI")
def _shell(arguments: ShellArguments) -> int:
    Matrix.load().set(arguments.set, arguments.kernel)  # raises for an unknown set
    print(workflow.script(arguments.kernel, arguments.set), end="")
    return 0


@command.subcommand("plan", "say what a night builds and runs on this arch")
def _plan(arguments: PlanArguments) -> int:
    """Print `builds=` and `cells=` as JSON for GITHUB_OUTPUT, or words for a shell."""
    try:
        rows = json.loads(arguments.matrix.read_text())
        if not isinstance(rows, list):
            raise TypeError("no list")
        planned = plan.plan(Matrix.load(), rows, host_arch())
    except (OSError, ValueError, KeyError, TypeError) as error:
        cure = "Write it with `osv-harness matrix --format json`."
        why = (error.strerror or error) if isinstance(error, OSError) else repr(error)
        raise HarnessError(f"{arguments.matrix} is no list of cells: {why}.", cure) from error
    if arguments.write:
        plan.write(planned, arguments.write)
        run = os.environ.get("GITHUB_RUN_ID", "plan")
        document = plan.record(planned, host_arch(), run, time())
        arguments.write.with_suffix(".jsonl").write_bytes(line_of(document))
    builds, cells = plan.builds(planned), plan.cells(planned)
    if arguments.lines == "builds":
        print("".join(f"{row['name']} {row['cells']}\n" for row in builds), end="")
    elif arguments.lines == "cells":
        print("".join(f"{row['slug']} {row['cell']}\n" for row in cells), end="")
    else:
        print(f"builds={json.dumps(builds)}\ncells={json.dumps(cells)}")
    return 0


@command.subcommand("pack", "put a cell's image where another machine can boot it from")
def _pack(arguments: PackArguments) -> int:
    session = Session(arguments.osv_root)
    cell = session.cell(arguments.cell)
    with subscribed(Progress()):
        image = session.image(cell)
    image_bundle.write_bundle(image, session.kernel(cell.kernel).origin(image), arguments.folder / cell.slug)
    screen().print(str(arguments.folder / cell.slug), markup=False)
    return 0


@command.subcommand("summary", "show what came of a night's cells, as Markdown; 0 if all is as expected")
def _summary(arguments: ResultsArguments) -> int:
    night = results.night(arguments.folder)
    print(summary.summary(night), end="")
    return 0 if summary.green(night) else 1


@command.subcommand("issues", "say which issues are to be opened, updated, closed; with --do, do it")
def _issues(arguments: IssuesArguments) -> int:
    night = results.night(arguments.folder)
    try:
        known = issues.parse_issues(json.loads(arguments.issues.read_text()))
    except (OSError, ValueError) as error:
        raise HarnessError(f"{arguments.issues} can't be read: {error}.", "Let gh write it.") from error
    with History(arguments.history) as history:
        samples, judged, plans = history.samples(), history.judged(), plans_of(history.documents(PLAN))
        measured, documents = numbers(samples, history.graph()), history.documents()
        found = reportable_findings(measured, documents)
    whole = [one for one in found if _wants_an_issue(one, arguments)]
    parts = [one for one in found if one.metric.is_part]
    creeping = [one for one in since(measured) if _wants_an_issue(one, arguments)]
    commits = Commits(Session(arguments.osv_root).osv_root)
    seen = failure_groups.failure_groups(
        night, whole, samples, judged, creeping, parts=parts, commits=commits, plans=plans, documents=documents
    )
    actions, left_out = issues.actions(seen, known, arguments.night or _this_night())
    for action in actions:
        about = f"#{action.number} " if action.number else ""
        screen().print(f"{action.verb} {about}{action.title}", markup=False)
        if arguments.do:
            gh_cli.perform(action)
    if not actions:
        screen().print("No issue is to be changed.")
    if left_out:
        screen().print(f"{left_out} more failure groups wait: one night opens {issues.MOST_NEW} issues at most.")
    return 0


def _wants_an_issue(one: Finding | Since, arguments: IssuesArguments) -> bool:
    size = one.drift if isinstance(one, Since) else one.change
    return not one.metric.is_part and abs(size) >= arguments.least / 100


def _this_night() -> str:
    names = ("SERVER_URL", "REPOSITORY", "RUN_ID")
    server, repository, number = (os.environ.get(f"GITHUB_{name}") for name in names)
    return f"{server}/{repository}/actions/runs/{number}" if server and repository and number else "a night"


@command.subcommand("comment", "print what is to be said below a pull request, as Markdown")
def _comment(arguments: CommentArguments) -> int:
    night = results.night(arguments.folder)
    with History(arguments.history) as history:
        known = history.judged()
    print(comment.comment(arguments.folder, night, known, arguments.head, arguments.link or ""), end="")
    return 0


@command.subcommand("same", "compare the exact numbers of two histories; 1 if any is worse in the second")
def _same(arguments: SameArguments) -> int:
    with History(arguments.a) as a, History(arguments.b) as b:
        count, found = cross_check.differences(a.samples(), b.samples())
    rows = table("metric", "cell", "A", "B", "")
    for one in found:
        rows.add_row(
            one.metric.name, one.cell, f"{one.a:,.0f}", f"{one.b:,.0f}", "worse" if one.worse else "better"
        )
    out = screen()
    out.print(f"{count} exact numbers, {count - len(found)} the same by both")
    if found:
        out.print(rows)
    return int(any(one.worse for one in found))
