"""Numbers of the command line, refused at once where they make no sense."""

from argparse import ArgumentTypeError
from math import isfinite


def positive(text: str) -> float:
    """A number above 0. Raises what argparse tells."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (isfinite(number) and number > 0):
        raise ArgumentTypeError(f"a number above 0 is wanted, not {text!r}")
    return number


def count(text: str) -> int:
    """A whole number from 1 on. Raises what argparse tells."""
    if not (text.isascii() and text.isdecimal() and int(text[:9])):
        raise ArgumentTypeError(f"a whole number from 1 on is wanted, not {text!r}")
    return int(text)
