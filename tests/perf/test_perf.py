"""Everything that is measured of the asked cells: taken, kept in the history, compared with what is there."""

from harness.core.cell import Cell
from harness.integrations.pytest_plugin.history import MeasurementTest


def test_measurement(measure: MeasurementTest, cell: Cell, measurement: str) -> None:
    """Nothing of it has become worse since what came before."""
    measure(cell, measurement)
