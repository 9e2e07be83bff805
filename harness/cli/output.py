"""The console and tables that commands print."""

import re
import sys

from rich.console import Console
from rich.table import Table

PLAIN = re.compile(r"[ -Z^-~]*")
"""Cells that rich takes as they are."""
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


def print_table(out: Console, made: Table) -> None:
    """Print a table of `table()`, quickly where that is possible: a year's findings are thousands of rows."""
    if lines := plain_lines(made, out.width):
        out.print(lines[0], style="bold", markup=False, no_wrap=True)
        out.out("\n".join(lines[1:]))
    else:
        out.print(made)


def plain_lines(made: Table, width: int) -> list[str]:
    """The lines of a table of `table()`, its head first, as rich lays them out, at some hundred rows a second;
    none where a cell is to be folded, or is more than plain text."""
    columns = [[str(column.header), *map(str, column.cells)] for column in made.columns]
    widths = [max(map(len, cells)) for cells in columns]
    fits = sum(widths) + 2 * (len(widths) - 1) <= width
    if not fits or not all(PLAIN.fullmatch(cell) for cells in columns for cell in cells):
        return []
    padded = ([cell.ljust(most) for cell in cells] for cells, most in zip(columns, widths, strict=True))
    return ["  ".join(row) for row in zip(*padded, strict=True)]
