"""Every in-guest test of the asked cells, each in a guest of its own."""

from harness.cell import Cell
from harness.programs import Program
from harness.pytest_verdicts import GuestRun


def test_guest(run_guest: GuestRun, cell: Cell, guest_program: Program) -> None:
    """The program ends with status 0 and its guest ends cleanly."""
    run_guest(cell, guest_program)
