"""Checks whether a commit of OSv can have a test, before minutes of building show that it has not."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from harness.core.errors import CellError, HarnessError
from harness.core.suggestions import nearest
from harness.kernels.osv.checkout import run_git
from harness.runner import catalog


def check_test(root: Path, name: str, commits: Iterable[str]) -> None:
    """Raise `CellError` with the nearest names if none of the commits can have the test.

    A test has a source of its name in the tree, or is listed in a makefile or in our catalog; `tst-stdio-rofs.so`
    is built from `tst-stdio.cc`.
    """
    stem = name.removesuffix(".so")
    known = {one.removesuffix(".so") for one in catalog.known("osv")}
    source_text = ""
    for commit in commits:
        listed = ("ls-tree", "-r", "--name-only", commit)
        known |= {PurePosixPath(path).stem for path in _git_lines(root, *listed, "tests")}
        source_text += " ".join(_git_lines(root, *listed, "modules"))
        source_text += " ".join(_git_lines(root, "show", f"{commit}:modules/tests/Makefile"))
    if not known & {stem, stem.rpartition("-")[0]} and stem not in source_text:
        nearest_names = [f"{one}.so" for one in nearest(stem, sorted(known))]
        hint = f"The nearest are: {', '.join(nearest_names) or 'none'}."
        raise CellError(f"No end of the bisection has a test {name}.", hint)


def _git_lines(root: Path, *words: str) -> list[str]:
    """The output of git by lines; empty if git fails."""
    try:
        return run_git(root, *words).decode("utf-8", "replace").splitlines()
    except HarnessError:
        return []
