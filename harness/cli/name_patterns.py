"""Reports patterns of the command line that match nothing, with the nearest names."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from harness.core.errors import HarnessError
from harness.core.suggestions import nearest
from harness.core.text import printable

OFFERED = 5


def check_matches(patterns: Iterable[str] | None, known: Iterable[str], what: str) -> None:
    """Raise `HarnessError` for the first pattern that matches none of the history's names; `what` names their
    kind.

    An empty history is no error of the pattern.
    """
    names = sorted(set(known))
    for pattern in patterns or () if names else ():
        if not any(fnmatchcase(name, pattern) for name in names):
            near = _near(pattern, names)
            raise HarnessError(f"The history has no {what} {pattern!r}.", f"The nearest are: {', '.join(near)}.")


def _near(pattern: str, names: list[str]) -> list[str]:
    """Names that contain the pattern's text, or resemble it, or else any; safe to show, whoever wrote them."""
    word = pattern.replace("*", "")
    found = [name for name in names if word and word in name] or nearest(word, names) or names
    return [printable(name) for name in found[:OFFERED]]
