"""The commits that a bisection goes over: real repositories, and everything that can be wrong with two ends."""

import json
import subprocess
from pathlib import Path
from unittest.mock import patch

import pytest

from harness.analysis.bisect.commit_range import Commits
from harness.cli import main
from harness.cli.commands import bisect
from harness.cli.commit_tests import check_test
from harness.core.errors import CellError, CheckoutError
from harness.kernels.osv.checkout import LANDMARKS
from harness.metrics.history.store import History
from harness.metrics.records import Environment, Metric, Sample, Version


def _git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    done = subprocess.run(["git", *who, "-C", folder, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _commit(folder: Path, name: str) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{path.read_text() if path.exists() else ''}more\n")
    _git(folder, "add", "-A")
    _git(folder, "commit", "-q", "-m", name)
    return _git(folder, "rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout, as far as the harness looks at one, with one commit."""
    root = tmp_path / "osv"
    root.mkdir()
    _git(root, "init", "-q", "-b", "master")
    for name in LANDMARKS:
        _commit(root, name)
    _git(root, "tag", "start")
    return root


def test_commits_that_no_kernel_is_made_from_have_their_parents_binary(checkout: Path) -> None:
    commits = [_commit(checkout, name) for name in ("core/a.cc", "README.md", "documentation/b", "tests/c.cc")]
    line = Commits(checkout, "start", "HEAD").line()
    assert line.commits[1:] == tuple(commits)
    assert line.suspects() == [False, True, False, False, True], "a test may be in the image"


def test_a_merge_is_one_commit_and_its_branch_another_line(checkout: Path) -> None:
    before = _commit(checkout, "core/a.cc")
    _git(checkout, "checkout", "-q", "-b", "branch")
    inside = [_commit(checkout, name) for name in ("core/b.cc", "core/c.cc")]
    _git(checkout, "checkout", "-q", "master")
    beside = _commit(checkout, "core/d.cc")
    _git(checkout, "merge", "-q", "--no-ff", "-m", "merge", "branch")
    merge = _git(checkout, "rev-parse", "HEAD")
    commits = Commits(checkout, "start", "HEAD")
    assert commits.commits[1:] == (before, beside, merge)
    branch = commits.inside(merge)
    assert branch is not None and branch.commits == (before, *inside)
    assert commits.inside(beside) is None
    with pytest.raises(CheckoutError, match="lies in a branch that was merged"):
        Commits(checkout, inside[0], "HEAD")


def test_a_branch_that_had_merged_the_mainline_back_is_another_line_too(checkout: Path) -> None:
    left = _commit(checkout, "core/a.cc")
    _git(checkout, "checkout", "-q", "-b", "branch")
    inside = [_commit(checkout, "core/b.cc")]
    _git(checkout, "checkout", "-q", "master")
    beside = [_commit(checkout, name) for name in ("core/d.cc", "core/e.cc")]
    _git(checkout, "checkout", "-q", "branch")
    _git(checkout, "merge", "-q", "--no-ff", "-m", "back", "master")
    inside.append(_git(checkout, "rev-parse", "HEAD"))
    inside.append(_commit(checkout, "core/c.cc"))
    _git(checkout, "checkout", "-q", "master")
    beside.append(_commit(checkout, "core/f.cc"))
    _git(checkout, "merge", "-q", "--no-ff", "-m", "merge", "branch")
    commits = Commits(checkout, "start", "HEAD")
    branch = commits.inside(commits.commits[-1])
    assert branch is not None and branch.commits == (left, *inside)
    back = commits.inside(inside[1])
    assert back is not None and back.commits == (left, *beside[:2])


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--test", "tst-mmpa.so"], "tst-mmap.so"), (["--metric", "memory.resdent"], "memory.resident")],
)
def test_names_are_looked_at_before_anything_is_built(
    words: list[str], said: str, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _commit(checkout, "tests/tst-mmap.cc")
    assert main(["bisect", *words, "--good", "start", "--osv-root", str(checkout)]) == 2
    assert f"The nearest are: {said}" in capsys.readouterr().err


def test_a_test_is_known_by_its_source_or_its_makefile(checkout: Path) -> None:
    makefile = checkout / "modules/tests/Makefile"
    makefile.parent.mkdir(parents=True, exist_ok=True)
    makefile.write_text("tests := tst-made.so\n")
    good, bad = _commit(checkout, "core/a.cc"), _commit(checkout, "tests/tst-stdio.cc")
    for name in ("tst-made.so", "tst-stdio.so", "tst-stdio-rofs.so", "tst-stdio"):
        check_test(checkout, name, (good, bad))
    with pytest.raises(CellError, match=r"No end of the bisection has a test tst-stdio\.so"):
        check_test(checkout, "tst-stdio.so", (good,))


def test_ends_that_make_no_sense_are_told(checkout: Path) -> None:
    _commit(checkout, "core/a.cc")
    _git(checkout, "checkout", "-q", "--orphan", "other")
    _commit(checkout, "core/b.cc")
    for good, bad, said in (
        ("master", "start", "Swap them"),
        ("start", "start", "are the same commit"),
        ("start", "other", "does not come after"),
        ("v9", "master", "has no commit v9"),
        ("start", "--help", "has no commit --help"),
    ):
        with pytest.raises(CheckoutError) as caught:
            Commits(checkout, good, bad)
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--good", "start"], "either --metric, --test or --seed"),
        (["--metric", "boot.instructions"], "wants --good"),
        (["--metric", "boot.instructions", "--test", "tst-x.so", "--good", "start"], "either --metric, --test"),
        (["--metric", "<b>", "--good", "start"], "no metric's name"),
        (["--metric", "boot.nothing", "--good", "start", "--bad", "master"], "No measurement"),
        (
            ["--metric", "boot.wall", "--good", "start", "--bad", "master", "--cell", "linux:qemu-rofs"],
            "no commits",
        ),
        (["log", "--metric", "boot.wall", "--good", "start", "--bad", "master"], "no such bisection"),
    ],
)
def test_mistakes_are_told(
    checkout: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    words: list[str], said: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("OSV_HARNESS_HISTORY", str(tmp_path / "history"))
    _commit(checkout, "core/a.cc")
    state = ["--state", str(tmp_path / "state.jsonl")]
    assert main(["bisect", *words, *state, "--osv-root", str(checkout)]) == 2
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told


def test_without_a_checkout_there_is_nothing_to_bisect(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OSV_ROOT", raising=False)
    assert main(["bisect", "--metric", "boot.wall", "--good", "a"]) == 2
    assert "OSV_ROOT" in capsys.readouterr().err


def test_a_finding_names_metric_cell_and_ends(
    checkout: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As far as a checkout goes from which nothing can be built: what it asks for is the finding's."""
    commits = [_commit(checkout, "core/a.cc") for _ in range(6)]
    here = Environment("host", "cpu", 2, "", "tcg", "qemu", "6.1")
    metric = Metric("boot.instructions", "instructions", exact=True)
    cell = "osv:x86_64-qemu-ramfs-all"
    samples = [
        Sample(
            metric, 30e6 + (at >= 3) * 1e6, cell, "hello", Version(commit, commit, "", 1e9 + at), here, "run", at
        )
        for at, commit in enumerate(commits)
    ]
    url = tmp_path / "history.sqlite"
    with History(url) as history:
        history.add(samples)
    main(["findings", "--history", str(url), "--json"])
    [found] = map(json.loads, capsys.readouterr().out.splitlines())
    state = tmp_path / "state.jsonl"
    words = ["bisect", "--history", str(url), "--osv-root", str(checkout), "--state", str(state), "--finding"]
    assert main([*words, str(found["number"] + 1)]) == 2
    assert "the history has 1" in capsys.readouterr().err
    assert main([*words, str(found["number"]), "--metric", "boot.wall"]) == 2
    assert "give neither --metric" in capsys.readouterr().err
    with patch.object(bisect, "bisect", side_effect=CheckoutError("Stop here.")) as asked:
        assert main([*words, str(found["number"])]) == 2
    question = asked.call_args.args[1]
    assert (question.metric, str(question.cell)) == ("boot.instructions", cell)
    assert (question.commits.good, question.commits.bad) == (commits[2], commits[3])
