"""Numbers of the command line, refused at once where they make no sense."""

from math import isfinite
from typing import Any

import click


class Positive(click.ParamType[float]):
    """A number above 0."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; fails with what is wanted."""
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not (isfinite(number) and number > 0):
            self.fail(f"a number above 0 is wanted, not {value!r}", param, ctx)
        return number


class Count(click.ParamType[int]):
    """A whole number from 1 on."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; fails with what is wanted."""
        text = str(value)
        if not (text.isascii() and text.isdecimal() and int(text[:9])):
            self.fail(f"a whole number from 1 on is wanted, not {value!r}", param, ctx)
        return int(text)


POSITIVE, COUNT = Positive(), Count()
