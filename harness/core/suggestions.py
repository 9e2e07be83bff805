"""Suggests names for one that does not exist."""

from collections.abc import Mapping
from difflib import get_close_matches


def nearest(word: str, known: Mapping[str, object] | list[str] | tuple[str, ...], count: int = 3) -> list[str]:
    """The known names that are most like the word, best first; empty if none is similar."""
    return get_close_matches(word, list(known), count)


def did_you_mean(word: str, known: Mapping[str, object] | list[str] | tuple[str, ...]) -> str:
    """A hint with the nearest names, or with all of them if none is near."""
    near = nearest(word, known)
    return offer(near) if near else f"Known are: {', '.join(known)}."


def offer(names: list[str]) -> str:
    """A hint with these names, or with where to find all cells."""
    return f"Did you mean {' or '.join(names)}?" if names else "`osv-harness matrix` lists all cells."
