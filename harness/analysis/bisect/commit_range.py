"""OSv's commits from good to bad, and what each one's kernel is made from."""

import hashlib
from fnmatch import fnmatchcase
from pathlib import Path

from harness.analysis.bisect.model import CommitRange
from harness.core.errors import CheckoutError
from harness.kernels.osv.checkout import run_git

BESIDE_THE_KERNEL = ("*.md", "*.txt", "LICENSE", "documentation", "images", "apps", ".github", ".travis.yml")
"""Patterns of names at the top of OSv's tree that no kernel is made from. Everything else may matter."""


class Commits:
    """The commits from good to bad along first parents. Raises `CheckoutError` if they form no such range."""

    def __init__(self, root: Path, good: str, bad: str) -> None:
        self.root = root
        self.good, self.bad = (_commit(root, name) for name in (good, bad))
        if self.good == self.bad:
            raise CheckoutError(f"{good} and {bad} are the same commit.", "Name two different ones.")
        if not _is_ancestor(root, self.good, self.bad):
            back = _is_ancestor(root, self.bad, self.good)
            raise CheckoutError(
                f"{bad} does not come after {good}.",
                "Swap them." if back else "Name a good commit that the bad one descends from.",
            )
        between = _git(root, "rev-list", "--first-parent", "--reverse", f"{self.good}..{self.bad}").split()
        if _git(root, "rev-parse", f"{between[0]}^") != self.good:
            raise CheckoutError(
                f"{good} lies in a branch that was merged before {bad}.",
                f"Name a commit of `git -C {root} log --first-parent {bad}`.",
            )
        self.commits = (self.good, *between)

    def line(self) -> CommitRange:
        """The commits, each with the digest of what its kernel is made from."""
        return CommitRange(self.commits, tuple(_sources(self.root, commit) for commit in self.commits))

    def subject(self, index: int) -> str:
        """The first line of the commit's message."""
        return (
            run_git(self.root, "show", "-s", "--format=%s", self.commits[index]).decode("utf-8", "replace").strip()
        )

    def inside(self, merge: str) -> "Commits | None":
        """The branch that a merge brought in, from where it left the mainline; None if the commit is no merge.

        A branch may have merged the mainline back: its own commits are still those on its first parents, and it
        left where the first of them has its parent on the mainline. Raises `CheckoutError` if the two have no
        commit in common.
        """
        parents = _git(self.root, "rev-list", "--parents", "-n", "1", merge).split()[1:]
        if len(parents) < 2:
            return None
        onto, tip = parents[:2]
        own = _git(self.root, "rev-list", "--first-parent", "--reverse", f"{onto}..{tip}").split()
        left = _git(self.root, "rev-list", "--parents", "-n", "1", own[0]).split()[1:2] if own else []
        if not left:
            raise CheckoutError(f"The branch of {merge} has no past in common with what it was merged into.")
        return Commits(self.root, left[0], tip)


def _sources(root: Path, commit: str) -> str:
    """The digest of what a commit's kernel is made from: its tree without `BESIDE_THE_KERNEL`."""
    rows = run_git(root, "ls-tree", "-z", "--full-tree", commit).split(b"\0")
    kernel = [row for row in rows if row and not _is_beside(row.partition(b"\t")[2].decode("utf-8", "replace"))]
    return hashlib.sha256(b"\0".join(kernel)).hexdigest()


def _is_beside(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in BESIDE_THE_KERNEL)


def _commit(root: Path, name: str) -> str:
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except CheckoutError:
        raise CheckoutError(
            f"{root} has no commit {name}.",
            f"See `git -C {root} log`; `git fetch --unshallow` makes a shallow clone whole.",
        ) from None


def _is_ancestor(root: Path, older: str, newer: str) -> bool:
    try:
        run_git(root, "merge-base", "--is-ancestor", older, newer)
    except CheckoutError:
        return False
    return True


def _git(root: Path, *words: str) -> str:
    return run_git(root, *words).decode().strip()
