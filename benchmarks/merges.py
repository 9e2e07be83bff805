"""Bisections of a made-up repository whose branches had merged the mainline back, for `bisecting`'s table.

The repository is git's own; who builds is simulated: a commit is bad if it descends from the culprit.
"""

import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from harness.analysis.bisect.answer import Answer, BisectOutcome
from harness.analysis.bisect.commit_range import Commits
from harness.analysis.bisect.history_document import Difference
from harness.analysis.bisect.journal_records import Opened
from harness.analysis.bisect.model import Broken, Build, Built, CommitRange, Effort, Failure, Measure
from harness.analysis.bisect.run import BisectRequest, bisect
from harness.core.matrix import Matrix
from harness.metrics.records import Sample

BRANCHES, LENGTH, APART, BACK = 12, 9, 25, (3, 6)
"""Branches, the commits of each, those of the mainline between two of them, and where each merges that back."""


@dataclass(slots=True)
class Bench:
    """The simulated bench: so many boots fail for another reason, the rest by the culprit, now and then."""

    commits: Sequence[str]
    bad: frozenset[str]
    dice: np.random.Generator
    others: float
    host: str = ""
    layouts: int = 1
    cached: Collection[Build] = ()
    samples: Mapping[Build, Sequence[Sample]] = field(default_factory=dict)

    def build(self, key: Build) -> Built | Broken:
        return Built(self.commits[key.index], 180.0)

    def boot(self, key: Build) -> float | Failure | Broken:
        if self.dice.random() < self.others:
            return Failure("of another cause")
        chance = 0.9 if self.commits[key.index] in self.bad else 0.1
        return Failure("sought") if self.dice.random() < chance else 0.0

    def measure(self) -> Measure:
        return Measure.test("simulated")

    def offer_layouts(self, measure: Measure) -> None:
        pass

    def differences(self, before: Build, after: Build) -> Sequence[Difference]:
        return ()


class Known(Commits):
    """The commits, each pair of ends looked up once."""

    def line(self) -> CommitRange:
        return CommitRange(self.commits)

    def subject(self, index: int) -> str:
        return ""

    def inside(self, merge: str) -> Commits | None:
        return _inside(self, merge)


@cache
def known(root: Path, good: str, bad: str) -> Known:
    """The commits between two ends of the repository."""
    return Known(root, good, bad)


@cache
def _inside(commits: Known, merge: str) -> Known | None:
    branch = Commits.inside(commits, merge)
    return known(branch.root, branch.good, branch.bad) if branch else None


def repository(root: Path) -> None:
    """Make it: a mainline, and branches that leave it, merge it back and are merged; `start` is its first."""
    said: list[str] = []
    marks = 0

    def commit(ref: str, *parents: int) -> int:
        nonlocal marks
        marks += 1
        words = f"change {marks}"
        rows = [f"commit {ref}", f"mark :{marks}", f"committer t <t@t> {1_700_000_000 + marks} +0000"]
        rows += [f"data {len(words)}", words]
        rows += [f"{'merge' if at else 'from'} :{parent}" for at, parent in enumerate(parents)]
        said.append("\n".join([*rows, f"M 644 inline core/{marks}.cc", "data 1", "x", ""]))
        return marks

    main = commit("refs/heads/master")
    said.append(f"reset refs/tags/start\nfrom :{main}\n")
    for branch in range(BRANCHES):
        tip = main
        for at in range(LENGTH):
            for _ in range(APART // LENGTH):
                main = commit("refs/heads/master", main)
            parents = (tip, main) if at in BACK else (tip,)
            tip = commit(f"refs/heads/b{branch}", *parents)
        main = commit("refs/heads/master", main, tip)
    subprocess.run(["git", "init", "-q", "-b", "master", root], check=True)
    subprocess.run(["git", "-C", root, "fast-import", "--quiet"], check=True, input="\n".join(said), text=True)


def git(root: Path, *words: str) -> list[str]:
    """What git says, by line."""
    return subprocess.run(
        ["git", "-C", root, *words], check=True, text=True, capture_output=True
    ).stdout.splitlines()


@cache
def suspects(root: Path) -> tuple[str, ...]:
    """The commits of branches that are no merges."""
    mainline = set(git(root, "rev-list", "--first-parent", "master"))
    return tuple(one for one in git(root, "rev-list", "--no-merges", "master") if one not in mainline)


def answered(root: Path, seed: Sequence[int], others: float) -> tuple[Answer, bool, bool]:
    """One bisection: its innermost answer, whether that claims a commit of a branch, and whether it is right.

    The same for the same seed.
    """
    dice = np.random.default_rng(seed)
    culprit = str(dice.choice(suspects(root)))
    bad = frozenset([culprit, *git(root, "rev-list", "--ancestry-path", f"{culprit}..master")])

    def make_backend(request: BisectRequest, opened: Opened | None) -> Bench:
        return Bench(request.commits.commits, bad, dice, others)

    cell = Matrix.load().parse("qemu-ramfs", "osv")
    commits = known(root, "start", "master")
    request = BisectRequest(cell, commits, Effort(), test="simulated", checked=False)
    with TemporaryDirectory() as folder:
        answer = bisect(make_backend, request, Path(folder) / "journal").answer
    inside = answer.inside is not None
    while answer.inside:
        answer = answer.inside
    claimed = inside and answer.outcome is BisectOutcome.FOUND
    return answer, claimed, claimed and [one.commits for one in answer.culprits] == [(culprit,)]
