"""Every app of the asked cells, each in a guest of its own: checked, loaded, checked again, ended."""

from harness.core.cell import Cell
from harness.integrations.pytest_plugin.outcomes import AppTest


def test_app(run_app: AppTest, cell: Cell, app_name: str) -> None:
    """It answers rightly under all its loads, and ends cleanly when asked to."""
    run_app(cell, app_name)
