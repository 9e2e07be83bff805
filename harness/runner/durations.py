"""Durations of tests on each cell, so that the longest start first and limits fit."""

import json
from collections.abc import Mapping

from harness.core.cell import Cell
from harness.core.errors import HostError
from harness.core.events import NOT_STORED, publish
from harness.core.whole_files import write_whole
from harness.host.cache import Cache

KEPT = 10


class Durations:
    """Recorded seconds of tests by cell, the last ten of each. Losing them costs only speed."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._folder = cache.root / "durations"

    def longest(self, cell: Cell, accelerator: str) -> dict[str, float]:
        """The longest recorded seconds of each test on the cell."""
        return {test: max(seconds) for test, seconds in self._read(cell, accelerator).items()}

    def record(self, cell: Cell, accelerator: str, seconds: Mapping[str, float]) -> None:
        """Add one run's durations; concurrent runs do not lose each other's.

        If they can't be written, for example on a full disk, they are lost, and an event says so.
        """
        try:
            with self._cache.locked("durations"):
                rows = self._read(cell, accelerator)
                for test, value in seconds.items():
                    rows[test] = [*rows.get(test, []), round(value, 3)][-KEPT:]
                path = self._folder / f"{cell.slug}.{accelerator}.json"
                write_whole(path, json.dumps(rows, indent=0), make_folder=True)
        except HostError as error:
            publish(NOT_STORED, "how long each test took, by which the longest begin first", error.message)

    def _read(self, cell: Cell, accelerator: str) -> dict[str, list[float]]:
        try:
            rows = json.loads((self._folder / f"{cell.slug}.{accelerator}.json").read_text())
        except (OSError, ValueError):
            return {}
        return {str(test): [float(value) for value in values] for test, values in rows.items() if values}
