"""Finds the entries of `expectations.toml` that must be edited: where they are, and when they run out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from harness.core import project
from harness.core.errors import HarnessError
from harness.core.matrix import Matrix
from harness.metrics.history.records import VerdictRecord
from harness.runner.expectations import FILE, Expectation, entries

SOON = timedelta(days=30)
"""An entry that runs out within this time is reported."""
HEADER = "[[expect]]"


@dataclass(frozen=True, slots=True)
class EntryLocation:
    """An entry and where it is written: the file's name, and the line of its header, counted from 1."""

    entry: Expectation
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Entries:
    """All entries of this project, in the order in which they are matched."""

    def __init__(self) -> None:
        self._matrix = Matrix.load()
        try:
            self.places: Sequence[EntryLocation] = [one for path in project.files(FILE) for one in _places(path)]
        except HarnessError:  # a report is written all the same
            self.places = ()
        self._of_cell = lru_cache(maxsize=4096)(self._of)
        self._found = lru_cache(maxsize=65536)(self._covering)

    def of(self, judged: VerdictRecord) -> EntryLocation | None:
        """The entry that matches the test and the cell of this verdict; None if there is none."""
        return self._found(judged.cell, judged.test, judged.environment.accelerator)

    def is_expired(self, judged: VerdictRecord) -> bool:
        """Whether an entry expected this outcome and had run out when the verdict was taken."""
        place = self.of(judged)
        return place is not None and judged.outcome in place.entry.outcomes and place.entry.expires < _day(judged)

    def expiring(self, judged: Iterable[VerdictRecord]) -> list[EntryLocation]:
        """The entries that match any of these verdicts and run out within `SOON` after it, or have run out; by
        date."""
        found = {}
        for verdict in judged:
            place = self.of(verdict)
            if place and place.entry.expires < _day(verdict) + SOON:
                found[str(place)] = place
        return sorted(found.values(), key=lambda place: (place.entry.expires, place.file, place.line))

    def _covering(self, name: str, test: str, accelerator: str) -> EntryLocation | None:
        return next((one for one in self._of_cell(name, accelerator) if one.entry.is_about(test)), None)

    def _of(self, name: str, accelerator: str) -> Sequence[EntryLocation]:
        """The entries that match the cell of that name, whatever the test."""
        cell = self._matrix.find(name)
        return [one for one in self.places if one.entry.is_of(cell, accelerator)] if cell else ()


def _places(path: Path) -> list[EntryLocation]:
    lines = path.read_text(encoding="utf-8").splitlines()
    headers = [number for number, line in enumerate(lines, 1) if line.strip().startswith(HEADER)]
    rows = entries(path)
    if len(headers) != len(rows):
        headers = [1] * len(rows)
    return [EntryLocation(entry, path.name, line) for entry, line in zip(rows, headers, strict=True)]


def _day(judged: VerdictRecord) -> date:
    try:
        return datetime.fromtimestamp(judged.taken, UTC).date()
    except (ValueError, OverflowError, OSError):
        return date.min
