"""Tables that are written line by line are those that rich would have laid out."""

from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table

from harness.cli.output import plain_lines, print_table, table

PLAIN = [("1", "boot.x", "osv:a", "+1%"), ("12", "b", "", "+1.25% worse")]
EMPTY = [("1", "", "", "")]
MARKUP = [("1", "boot.[red]x", "osv:a", "+1%")]
WIDE_LETTERS = [("1", "boot.x", "漢字", "▲")]


def made_of(rows: list[tuple[str, ...]]) -> Table:
    """A table with these rows."""
    made = table("", "metric", "cell", "change")
    for row in rows:
        made.add_row(*row)
    return made


@pytest.mark.parametrize("rows", [PLAIN, EMPTY, MARKUP, WIDE_LETTERS])
@pytest.mark.parametrize("width", [160, 36, 35, 34, 33, 26])
def test_tables_are_as_rich_lays_them_out(rows: list[tuple[str, ...]], width: int) -> None:
    quick, slow = (
        Console(file=StringIO(), highlight=False, emoji=False, width=width, record=True) for _ in range(2)
    )
    print_table(quick, made_of(rows))
    slow.print(made_of(rows))
    assert quick.export_text() == slow.export_text()


def test_only_plain_rows_that_fit_have_lines() -> None:
    assert len(plain_lines(made_of(PLAIN), 160)) == 3
    assert plain_lines(made_of(PLAIN), 30) == [] and plain_lines(made_of(MARKUP), 160) == []
    assert plain_lines(made_of(WIDE_LETTERS), 160) == []
