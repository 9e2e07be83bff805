"""Numbers on the command line, checked when they are parsed."""

from math import isfinite
from typing import Any

import click


class Positive(click.ParamType[float]):
    """A number above 0."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; fails with what is expected."""
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not (isfinite(number) and number > 0):
            self.fail(f"a number above 0 is wanted, not {value!r}", param, ctx)
        return number


class Count(click.ParamType[int]):
    """A whole number of at least 1."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number; fails with what is expected."""
        text = str(value)
        if not (text.isascii() and text.isdecimal() and int(text[:9])):
            self.fail(f"a whole number from 1 on is wanted, not {value!r}", param, ctx)
        return int(text)


POSITIVE, COUNT = Positive(), Count()
