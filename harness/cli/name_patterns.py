"""Patterns of the command line that match nothing are told with the nearest names, not answered with nothing."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from harness.core.errors import HarnessError
from harness.core.suggestions import nearest
from harness.core.text import printable

OFFERED = 5


def check_matches(patterns: Iterable[str] | None, known: Iterable[str], what: str) -> None:
    """Raise `HarnessError` for the first pattern that none of the history's names, which are of a `what`, matches.

    A history that has none at all is no pattern's fault.
    """
    names = sorted(set(known))
    for pattern in patterns or () if names else ():
        if not any(fnmatchcase(name, pattern) for name in names):
            near = _near(pattern, names)
            raise HarnessError(f"The history has no {what} {pattern!r}.", f"The nearest are: {', '.join(near)}.")


def _near(pattern: str, names: list[str]) -> list[str]:
    """Names that contain the pattern's words, or look like them, or else any; safe to show, whoever wrote them."""
    word = pattern.replace("*", "")
    found = [name for name in names if word and word in name] or nearest(word, names) or names
    return [printable(name) for name in found[:OFFERED]]
