"""Makes checkouts of a checkout's other commits: the user's own is never written to.

One clone is moved from commit to commit, so that only changed files get a new time and builds are incremental. It
borrows the user's git objects (`git clone --shared`).
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.core.errors import CheckoutError
from harness.core.events import publish
from harness.host.cache import Cache
from harness.kernels.osv.checkout import Checkout, gitlinks, populated, run_git


class CommitClones:
    """The commits of the checkout at `root`. Each `number` is a clone with its own build tree, for one user at a
    time."""

    def __init__(self, root: Path, cache: Cache, number: int = 0) -> None:
        self._checkout = Checkout(root)
        owner = hashlib.sha256(str(self._checkout.root).encode()).hexdigest()[:8]
        self._cache = cache
        self._name = f"revisions-{owner}-{number}"

    def resolve(self, name: str) -> str:
        """The commit that a name stands for, as 40 hex digits. Raises `CheckoutError` if the checkout has none."""
        try:
            return self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        except CheckoutError:
            raise CheckoutError(
                f"{self._checkout.root} has no commit {name}.",
                f"See `git -C {self._checkout.root} log`; `git fetch --unshallow` makes a shallow clone whole.",
            ) from None

    @contextmanager
    def at(self, commit: str) -> Iterator[Path]:
        """A checkout of the commit; nobody else moves it inside this block. Raises `CheckoutError` if git fails.

        Its submodules are at the commit's own versions, or at those of the user's checkout if that lacks them.
        """
        with self._cache.locked(self._name):
            home = self._cache.scratch(self._name)
            publish("checkout.moved", str(self._checkout.root), f"to {commit[:12]}")
            _move(self._checkout.root, home, commit)
            for path, wanted in gitlinks(home).items():
                if source := self._source(path, wanted):
                    _move(source, home / path, wanted)
            yield home

    def reverted(self, culprit: str, commit: str) -> str:
        """`commit` with the change of an earlier commit reverted: a commit in our clone, the same every time.
        Raises `CheckoutError` if the revert conflicts."""
        with self.at(commit) as home:
            parents = run_git(home, "rev-list", "--parents", "-n", "1", culprit).split()[1:]
            mainline = ["-m", "1"] if len(parents) > 1 else []
            try:
                run_git(home, "revert", "--no-commit", *mainline, culprit)
                tree = run_git(home, "write-tree").decode().strip()
            except CheckoutError as error:
                raise CheckoutError(f"{culprit[:12]} does not revert cleanly.") from error
            finally:
                run_git(home, "reset", "--quiet", "--hard")
            when = run_git(home, "show", "-s", "--format=%ct", commit).decode().strip()
            person = f"osv-harness <> {when} +0000"
            text = f"tree {tree}\nparent {commit}\nauthor {person}\ncommitter {person}\n\nRevert {culprit}\n"
            return (
                run_git(home, "hash-object", "-t", "commit", "-w", "--stdin", stdin=text.encode()).decode().strip()
            )

    def _source(self, path: str, wanted: str) -> Path | None:
        """The user's repository that has the submodule's commit.

        It is the submodule's own or another one, for OSv moves its submodules (musl_1.1.24 became musl_1.2.1);
        otherwise its own as it is, if it exists.
        """
        root = self._checkout.root
        there = [root / one for one in (path, *gitlinks(root)) if populated(root / one)]
        holder = next((one for one in there if _has(one, wanted)), None)
        return holder or (root / path if populated(root / path) else None)

    def _git(self, *arguments: str) -> str:
        return run_git(self._checkout.root, *arguments).decode().strip()


def _has(repository: Path, commit: str) -> bool:
    try:
        run_git(repository, "cat-file", "-e", f"{commit}^{{commit}}")
    except CheckoutError:
        return False
    return True


def _move(source: Path, home: Path, commit: str) -> None:
    """Make the folder a clone of the source at the commit, or at the source's own commit if that is missing."""
    if not populated(home):
        shutil.rmtree(home, ignore_errors=True)
        run_git(source, "clone", "--quiet", "--shared", "--no-checkout", str(source), str(home))
    if not _has(home, commit):
        commit = run_git(source, "rev-parse", "HEAD").decode().strip()
    run_git(home, "checkout", "--quiet", "--force", "--detach", commit)
