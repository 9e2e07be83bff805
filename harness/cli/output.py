"""Where commands show their tables."""

import sys

from rich.console import Console
from rich.table import Table

PIPED_WIDTH = 160
"""Columns where no terminal says how many there are: a log is read in something wide."""


def screen() -> Console:
    """Standard output, as wide as the terminal."""
    return Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)


def table(*columns: str) -> Table:
    """An empty table whose cells are folded, never cut."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made
