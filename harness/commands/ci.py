"""Run nights by themselves: GitHub's workflows or a shell script, and what their steps ask."""

import argparse
import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path

from harness.ci import causes, gh, issues, pack, plan, results, same, summary, workflow
from harness.commands._screen import screen, table
from harness.errors import HarnessError
from harness.events import subscribed
from harness.history.store import History
from harness.lab import Lab
from harness.matrix import Matrix, host_arch
from harness.regress.standing import standing
from harness.report.progress import Progress

LEAST = 1.0
"""Percent: a smaller change for the worse is in the report, and wants no issue."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`github`, `shell`; and for their steps `plan`, `pack`, `summary`, `issues`, `same`."""
    verbs = parser.add_subparsers(metavar="github|shell|plan|pack|summary|issues|same", required=True)

    def verb(name: str, does: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text, description=text)
        made.set_defaults(verb=does)
        return made

    github = verb("github", _github, "write the workflows: a night, and a pull request")
    github.add_argument("--kernel", choices=["osv", "linux"], default="osv", help="(default: osv)")
    github.add_argument("--home", choices=workflow.HOMES, default="harness", help="whose repository they are for")
    github.add_argument("--other", metavar="OWNER/NAME", help="the other's (default: cloudius-systems/osv)")
    github.add_argument("--output", type=Path, default=Path(".github/workflows"), metavar="DIR")
    shell = verb("shell", _shell, "print the night as a script for sh, for any other CI")
    shell.add_argument("--kernel", choices=["osv", "linux"], default="osv", help="(default: osv)")
    shell.add_argument("--set", default="nightly", metavar="NAME", help="of cells (default: nightly)")
    planned = verb("plan", _plan, "say what a night builds and runs on this arch")
    planned.add_argument("matrix", type=Path, help="what osv-harness matrix --format json said here")
    planned.add_argument("--write", type=Path, metavar="FILE", help="keep the plan there, for the summary")
    planned.add_argument("--lines", choices=["builds", "cells"], help="for a shell: one a line, in words")
    packed = verb("pack", _pack, "put a cell's image where another machine can boot it from")
    packed.add_argument("cell", help="a cell's name: qemu-rofs")
    packed.add_argument("folder", type=Path, help="gets a folder for the cell")
    told = verb("summary", _summary, "show what came of a night's cells, as Markdown; 0 if all is as expected")
    told.add_argument("folder", type=Path, help="where the jobs' results were gathered")
    issue = verb("issues", _issues, "say which issues are to be opened, updated, closed; with --do, do it")
    issue.add_argument("folder", type=Path, help="where the jobs' results were gathered")
    issue.add_argument("--issues", type=Path, required=True, metavar="FILE", help="what gh issue list --json told")
    issue.add_argument("--history", required=True, metavar="URL", help="the whole history, tonight's in it")
    issue.add_argument("--least", type=float, default=LEAST, metavar="PERCENT", help="no smaller changes (1)")
    issue.add_argument("--night", metavar="URL", help="where the night can be seen (default: GitHub's run)")
    issue.add_argument("--do", action="store_true", help="with gh")
    alike = verb("same", _same, "compare the exact numbers of two histories; 1 if any is worse in the second")
    alike.add_argument("a", metavar="A", help="a history")
    alike.add_argument("b", metavar="B", help="a history")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked."""
    status: int = arguments.verb(arguments)
    return status


def _github(arguments: argparse.Namespace) -> int:
    if arguments.home == "osv" and not arguments.other:
        raise HarnessError("The workflows of OSv's repository check the harness out.", "Give --other OWNER/NAME.")
    home = workflow.Home(arguments.home, arguments.other or workflow.Home().other)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in workflow.NAMES:
        path = arguments.output / name
        path.write_text(workflow.workflow(name, arguments.kernel, home, _command(arguments, home)))
        screen().print(str(path), markup=False)
    return 0


def _command(arguments: argparse.Namespace, home: workflow.Home) -> str:
    words = ["osv-harness", "ci", "github"]
    words += ["--kernel", arguments.kernel] if arguments.kernel != "osv" else []
    words += ["--home", home.name] if home.name != "harness" else []
    words += ["--other", home.other] if home.other != workflow.Home().other else []
    return shlex.join(words)


def _shell(arguments: argparse.Namespace) -> int:
    Matrix.load().set(arguments.set, arguments.kernel)  # refuses a set that there is not
    print(workflow.script(arguments.kernel, arguments.set), end="")
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    """`builds=` and `cells=` as JSON for GITHUB_OUTPUT, or words for a shell."""
    try:
        rows = json.loads(arguments.matrix.read_text())
        if not isinstance(rows, list):
            raise TypeError("no list")
        planned = plan.plan(Matrix.load(), rows, host_arch())
    except (OSError, ValueError, KeyError, TypeError) as error:
        cure = "Write it with `osv-harness matrix --format json`."
        raise HarnessError(f"{arguments.matrix} is no list of cells: {error!r}.", cure) from error
    if arguments.write:
        plan.write(planned, arguments.write)
    builds, cells = plan.builds(planned), plan.cells(planned)
    if arguments.lines == "builds":
        print("".join(f"{row['name']} {row['cells']}\n" for row in builds), end="")
    elif arguments.lines == "cells":
        print("".join(f"{row['slug']} {row['cell']}\n" for row in cells), end="")
    else:
        print(f"builds={json.dumps(builds)}\ncells={json.dumps(cells)}")
    return 0


def _pack(arguments: argparse.Namespace) -> int:
    lab = Lab(arguments.osv_root)
    cell = lab.cell(arguments.cell)
    with subscribed(Progress()):
        image = lab.image(cell)
    pack.pack(image, lab.kernel(cell.kernel).origin(image), arguments.folder / cell.slug)
    screen().print(str(arguments.folder / cell.slug), markup=False)
    return 0


def _summary(arguments: argparse.Namespace) -> int:
    night = results.night(arguments.folder)
    print(summary.summary(night), end="")
    return 0 if summary.green(night) else 1


def _issues(arguments: argparse.Namespace) -> int:
    night = results.night(arguments.folder)
    try:
        known = issues.ours(json.loads(arguments.issues.read_text()))
    except (OSError, ValueError) as error:
        raise HarnessError(f"{arguments.issues} can't be read: {error}.", "Let gh write it.") from error
    with History(arguments.history) as history:
        samples = history.samples()
        found = standing(samples, history.documents(), history.graph())
    whole = [one for one in found if not one.metric.is_part and abs(one.change) >= arguments.least / 100]
    seen = causes.causes(night, whole, samples)
    wanted, left_out = issues.actions(seen, known, arguments.night or _this_night())
    for action in wanted:
        about = f"#{action.number} " if action.number else ""
        screen().print(f"{action.verb} {about}{action.title}", markup=False)
        if arguments.do:
            gh.do(action)
    if not wanted:
        screen().print("No issue is to be changed.")
    if left_out:
        screen().print(f"{left_out} more causes wait: one night opens {issues.MOST_NEW} issues at most.")
    return 0


def _this_night() -> str:
    server, repository, number = (
        os.environ.get(f"GITHUB_{name}") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")
    )
    return f"{server}/{repository}/actions/runs/{number}" if server and repository and number else "a night"


def _same(arguments: argparse.Namespace) -> int:
    with History(arguments.a) as a, History(arguments.b) as b:
        count, found = same.differences(a.samples(), b.samples())
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
