"""What is said below pull requests: each case as docs/ shows it, by a job that runs none of their code."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from ci_nights import HERE, HOMES, loaded, planned, run_steps
from markdown_it import MarkdownIt
from planted_nights import CELLS, Planted, version

from harness.analysis.ab.sequential_test import Decision, Judgement
from harness.integrations.ci import results, workflow
from harness.integrations.ci.comment import MARK, comment
from harness.integrations.ci.results import Case
from harness.metrics.history.jsonl import line_of
from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.store import History
from harness.metrics.records import Better, Document, Metric, Sample

DOCS = Path(__file__).parents[3] / "docs/guide/pull-request-comments.md"
ROFS, ZFS, RAMFS, EXT, _ = CELLS
OSV = CELLS[:4]
BASE, HEAD = 19, "feedfacefeedfacefeedfacefeedfacefeedface"
RUN = "https://github.com/me/osv/actions/runs/41"
BOOT = Metric("boot.instructions", "instructions", exact=True)
RATE = Metric("app.nginx.steady.throughput", "requests/s", Better.HIGHER)

Says = Callable[[int, str, str, Random], tuple[str, bool, str] | None]


def nothing(night: int, cell: str, test: str, _: Random) -> tuple[str, bool, str] | None:
    return None


def broken(night: int, cell: str, test: str, _: Random) -> tuple[str, bool, str] | None:
    bad = night > BASE and test == "tst-a.so" and cell in (ROFS, ZFS)
    return ("crashed", False, "page fault outside application, addr: 0x10") if bad else None


def flaky(night: int, cell: str, test: str, _: Random) -> tuple[str, bool, str] | None:
    bad = test == "tst-b.so" and cell == ROFS and night % 4 == 0
    return ("hung", False, "nothing happened for 60 s") if bad else None


def pairs(change: float, metric: Metric, decision: Decision) -> list[Document]:
    half = 0.0 if metric.exact else 0.011
    ends, count = (change - half, change + half), 1 if metric.exact else 20
    said = Judgement(metric, decision, change, ends, 1e-7, count, 0.02)
    return [Document("comparison", RAMFS, "", {"judgements": [said.to_json()]}, version(RAMFS, 99), "r", 1e9, "d")]


QUIET = "nothing broke, nothing changed beyond noise"
CASES: dict[str, tuple[Says, list[Document], str, str]] = {
    "Nothing": (nothing, pairs(0.0, BOOT, Decision.UNCHANGED), "", QUIET),
    "A broken test": (broken, [], "", "1 test broke"),
    "A flaky test": (flaky, [], "", QUIET),
    "A step of 0.9%, exact": (nothing, pairs(0.009, BOOT, Decision.CHANGED), "", "`boot.instructions` +0.9%"),
    "A change within noise": (nothing, pairs(-0.004, RATE, Decision.UNDECIDED), "", QUIET),
    "A cell without a result": (nothing, [], EXT, "1 cell without a result"),
}


def said(folder: Path, says: Says, documents: list[Document], silent: str = "") -> str:
    """The comment on a pull request that ran the four cells once, after twenty nights of the default branch."""
    rows = Planted(BASE + 2, says).told().judged
    before = [one for one in rows if one.run != f"night-{BASE + 1}"]
    fresh = [one for one in rows if one.run == f"night-{BASE + 1}" and one.cell in OSV and one.cell != silent]
    return _comment(folder, before, fresh, documents)


def _comment(
    folder: Path, before: list[VerdictRecord], fresh: list[VerdictRecord], documents: list[Document]
) -> str:
    for name, records in (("tested-x.jsonl", fresh), ("compared.jsonl", documents)):
        (folder / name).write_bytes(b"".join(map(line_of, records)))
    cases = [Case(one.cell, one.test, one.outcome, one.reason, not one.expected) for one in fresh]
    return comment(folder, results.Night(planned(*OSV), cases), before, HEAD, RUN)


@pytest.mark.parametrize("name", CASES)
def test_each_case_is_said_as_the_docs_show_it(name: str, tmp_path: Path) -> None:
    """The conclusion is the first line that is seen; what is said stands in the docs, as GitHub renders it."""
    says, documents, silent, heading = CASES[name]
    text = said(tmp_path, says, documents, silent)
    first, title, *_ = text.splitlines()
    assert first == MARK
    assert heading in title
    assert title.startswith("### OSv `feedfacefeed` against base `v0.57.0-319")
    assert ("| ≈ flaky | `tst-b.so`" in text) == (name == "A flaky test")
    assert ("osv-harness test" in text) == (name == "A broken test")
    assert RUN in text
    if os.environ.get("OSV_HARNESS_WRITE_DOCS"):
        _write(name, text)
    assert f"## {name}\n\n{text}" in DOCS.read_text(encoding="utf-8"), "run it with OSV_HARNESS_WRITE_DOCS=1"


def _write(name: str, text: str) -> None:
    intro = (
        "# What is said below a pull request\n\nEach case as `osv-harness ci comment` writes it. The tests write "
        "this file and hold the harness to it.\n"
    )
    old = DOCS.read_text(encoding="utf-8") if DOCS.exists() and name != next(iter(CASES)) else intro
    DOCS.write_text(f"{old}\n## {name}\n\n{text}", encoding="utf-8")


def test_two_harnesses_exact_numbers_are_compared(tmp_path: Path) -> None:
    """In the harness's repository: what the base's harness took, and the pull request's."""
    size, about = Metric("size.kernel", "B", exact=True), version(RAMFS, 3)
    old, new = (
        [Sample(BOOT, value, RAMFS, "", about, HERE, "r", 1e9, id=f"b{value:.0f}"),
         Sample(size, 9e6, RAMFS, "", about, HERE, "r", 1e9, id=f"s{value:.0f}")]
        for value in (1e8, 1.01e8)
    )  # fmt: skip
    for name, rows in (("compared-base.jsonl", old), ("compared-head.jsonl", new)):
        (tmp_path / name).write_bytes(b"".join(map(line_of, rows)))
    text = said(tmp_path, nothing, [])
    assert "`boot.instructions` +1%" in text.splitlines()[1]
    assert "2 metrics in pairs" in text


HOSTILE = "`x` @everyone #1 <img src=x> | [a](javascript:1) \u202e\x1b[2J ``` <!-- --> https://evil.example"


def test_what_a_pull_request_prints_is_no_markup(tmp_path: Path) -> None:
    """Its guests' words are code, whatever they are; no link but the run's, no second mark."""
    says: Says = lambda night, cell, test, dice: ("failed", False, HOSTILE) if night > BASE else None  # noqa: E731
    text = said(tmp_path, says, [])
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert text.count("<!--") == text.replace(MARK, "").count("<!--") + 1
    outside = "".join(part.partition("</code>")[2] for part in html.split("<code>"))
    assert "everyone" not in outside
    assert "evil" not in outside
    assert html.count("<a ") == 1
    assert "<img" not in html


def test_records_that_are_none_are_refused(tmp_path: Path) -> None:
    """A run may leave anything: the command says which file and line, and writes nothing."""
    (tmp_path / "tested-x.jsonl").write_text("{}\n")
    with pytest.raises(Exception, match="Line 1"):
        comment(tmp_path, results.Night([], []), [], HEAD)


GH = """#!/bin/sh
printf '%s\\n' "$*" >> "$GH_LOG"
case "$1 $2" in
"pr list") [ "$HEAD" != "$NEWEST" ] || echo 7 ;;
"api --paginate") [ ! -e "$GH_LOG.there" ] || echo 99 ;;
"api --method") touch "$GH_LOG.there"; cp night/comment.md "$GH_LOG.body"; echo '{}' ;;
*) echo "what is $*?" >&2; exit 1 ;;
esac
"""


def test_one_comment_is_updated_in_place(tmp_path: Path) -> None:
    """The workflow's own step, as it is written: one comment for the newest commit, and none for an older one."""
    job = loaded("comment.yml")["jobs"]["comment"]
    (step,) = (one for one in job["steps"] if one.get("name") == "One comment, updated in place")
    folder, log = tmp_path / "harness", tmp_path / "log"
    (folder / "night/run").mkdir(parents=True)
    (folder / "night/in/previous").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gh").write_text(GH)
    (tmp_path / "bin/gh").chmod(0o755)
    rows = Planted(4, nothing).told().judged
    (folder / "night/in/previous/history.jsonl").write_bytes(b"".join(map(line_of, rows)))
    (folder / "night/run/tested-x.jsonl").write_bytes(b"".join(map(line_of, rows[-50:-10])))
    (folder / "night/run/plan-x86_64.json").write_text("[]")
    said: list[str] = []
    for head, newest in ((HEAD, HEAD), (HEAD, HEAD), (HEAD, "0" * 40)):
        path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        told = {"PATH": path, "GH_LOG": str(log), "GH_REPO": "me/x", "HEAD": head, "NEWEST": newest, "LINK": RUN}
        (folder / "night/comment.md").unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", step["run"]], cwd=folder, env={**os.environ, **told},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    calls = [line for line in log.read_text().splitlines() if line.startswith("api --method")]
    assert [call.split()[2:4] for call in calls] == [
        ["POST", "repos/me/x/issues/7/comments"], ["PATCH", "repos/me/x/issues/comments/99"],
    ]  # fmt: skip
    assert (tmp_path / "log.body").read_text().startswith(MARK)
    assert "No open pull request" in said[2]


@pytest.mark.parametrize("home", HOMES)
def test_the_job_that_writes_runs_nothing_of_the_pull_request(home: workflow.Home) -> None:
    """It checks out the default branch alone, and takes the run's artefacts to where no program is looked for."""
    document = loaded("comment.yml", home=home)
    (job,) = document["jobs"].values()
    checkouts = [one["with"] for one in job["steps"] if "checkout" in one.get("uses", "")]
    assert all("ref" not in one for one in checkouts)
    assert not any(word in str(one.get("repository", "")) for one in checkouts for word in ("event", "head"))
    (download,) = (one["with"] for one in job["steps"] if "download" in one.get("uses", ""))
    assert download["path"] == "harness/night/run"
    texts = "".join(one["run"] for one in run_steps(document))
    assert "night/run/" not in texts  # never run, read, or sourced by name: the command reads it as data
    assert "osv-harness ci comment night/run" in texts


def test_the_history_of_a_pull_request_is_read_through_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`osv-harness ci comment`, from files, to standard output."""
    from harness.cli import main

    rows = Planted(4, nothing).told().judged
    with History(tmp_path / "h.sqlite") as history:
        history.add(rows)
    (tmp_path / "tested-x.jsonl").write_bytes(b"".join(map(line_of, rows[-50:-10])))
    (tmp_path / "plan-x86_64.json").write_text("[]")
    assert main(["ci", "comment", str(tmp_path), "--history", str(tmp_path / "h.sqlite"), "--head", HEAD]) == 0
    assert capsys.readouterr().out.startswith(MARK)
