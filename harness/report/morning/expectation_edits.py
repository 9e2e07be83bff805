"""Expectations that are to be edited: which entry speaks of a test, in which file and line, and which run out."""

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
HEADER = "[[expect]]"


@dataclass(frozen=True, slots=True)
class EntryLocation:
    """An entry, and where it stands: a file's name and the line of its header, from 1."""

    entry: Expectation
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Entries:
    """All entries of this project, in the order in which they are looked at."""

    def __init__(self) -> None:
        self._matrix = Matrix.load()
        try:
            self.places: Sequence[EntryLocation] = [one for path in project.files(FILE) for one in _places(path)]
        except HarnessError:  # a report is written all the same
            self.places = ()
        self._of_cell = lru_cache(maxsize=4096)(self._of)
        self._found = lru_cache(maxsize=65536)(self._covering)

    def of(self, judged: VerdictRecord) -> EntryLocation | None:
        """The entry that speaks of the test where this was judged."""
        return self._found(judged.cell, judged.test, judged.environment.accelerator)

    def is_expired(self, judged: VerdictRecord) -> bool:
        """Whether the verdict is the one that was expected until the entry ran out."""
        place = self.of(judged)
        return place is not None and judged.outcome in place.entry.outcomes and place.entry.expires < _day(judged)

    def expiring(self, judged: Iterable[VerdictRecord]) -> list[EntryLocation]:
        """The entries that speak of any of these, and that run out within 30 days of them, or have."""
        found = {}
        for one in judged:
            place = self.of(one)
            if place and place.entry.expires < _day(one) + SOON:
                found[str(place)] = place
        return sorted(found.values(), key=lambda place: (place.entry.expires, place.file, place.line))

    def _covering(self, name: str, test: str, accelerator: str) -> EntryLocation | None:
        return next((one for one in self._of_cell(name, accelerator) if one.entry.is_about(test)), None)

    def _of(self, name: str, accelerator: str) -> Sequence[EntryLocation]:
        """The entries that speak of some test on the cell of that name."""
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
