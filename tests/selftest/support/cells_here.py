"""Cells that a test asks for, where this host can run them."""

import pytest

from harness.core.cell import Cell
from harness.core.errors import CellError
from harness.runner.session import Session


def runnable(session: Session, name: str) -> Cell:
    """The cell of that name; the test is skipped, with the reason, where this host can't run it."""
    cell = session.cell(name)
    try:
        session.check_runs(cell)
    except CellError as error:
        pytest.skip(str(error))
    return cell
