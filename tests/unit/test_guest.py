"""Every in-guest test of the asked cells, each in a guest of its own."""

from harness.core.cell import Cell
from harness.integrations.pytest_plugin.outcomes import GuestRun
from harness.runner.base import Program


def test_guest(run_guest: GuestRun, cell: Cell, guest_program: Program) -> None:
    """The program ends with status 0 and its guest ends cleanly."""
    run_guest(cell, guest_program)
