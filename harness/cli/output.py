"""The console and tables that commands print."""

import sys

from rich.console import Console
from rich.table import Table

PIPED_WIDTH = 160
"""Columns if there is no terminal: logs are read in wide windows."""


def screen() -> Console:
    """Standard output, with the terminal's width."""
    return Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)


def table(*columns: str) -> Table:
    """An empty table that wraps cells, and never truncates them."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made
