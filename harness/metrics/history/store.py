"""The history itself: what was added stays for ever, and is added as a whole or not at all."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from sqlalchemy import Table

from harness.metrics.history.database_errors import explained
from harness.metrics.history.engine import LOCK_SECONDS, opened, reading, writing
from harness.metrics.history.jsonl import line_of, records_in
from harness.metrics.history.reader import Reader, RunRow, State, Tally
from harness.metrics.history.records import Triage, VerdictRecord
from harness.metrics.history.schema import DOCUMENTS, JUDGED, SAMPLES, TRIAGE
from harness.metrics.history.url import place, shown
from harness.metrics.history.validation import Record
from harness.metrics.history.writer import Writer, sound
from harness.metrics.records import Commit, Document, Sample

if TYPE_CHECKING:
    from harness.metrics.history.verdict_table import VerdictTable

KEYS = 500
"""Reuse keys that one query looks up."""


@dataclass(frozen=True, slots=True)
class Imported:
    """How many records of a file were new to the history, and how many it had already."""

    new: int
    known: int


class History:
    """All samples, verdicts and documents in one database, which any number of processes may use at once.

    `url` is a path or `postgresql://user@host/database`. Without one, OSV_HARNESS_HISTORY names it, or else it is
    a file of this user's. Opening it makes the database, or migrates it. Records are added, never changed. An
    object may be used after a fork, because it keeps no connection between calls. Every method raises
    `HarnessError`, with a cure, if the database fails.
    """

    def __init__(self, url: str | Path | None = None, lock_seconds: int = LOCK_SECONDS) -> None:
        """`lock_seconds` is how long `add` waits for another writer, which may be importing a million samples."""
        self._url = place(url)
        self._lock_seconds = lock_seconds
        with explained(self._url):
            self._engine = opened(self._url, lock_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def where(self) -> str:
        """The path, or the URL without its password."""
        return shown(self._url)

    def close(self) -> None:
        """Release the database."""
        self._engine.dispose()

    def add(self, records: Iterable[Sample | VerdictRecord | Document | Commit | Triage]) -> int:
        """Add all records, or none after an error; on return they are on the disk. Returns how many were new.

        A record that exists already, with the same id and content, is skipped. Raises `HarnessError` for one that
        has the id of another, or that can't be stored: a number that is not finite, a name that is too long.
        """
        return self._add(sound(record) for record in records).new

    def samples(
        self, *, metric: str | None = None, cell: str | None = None, subject: str | None = None,
        run: str | None = None, since: float | None = None, last: int | None = None,
    ) -> list[Sample]:  # fmt: skip
        """Samples in the order of their commits, then of when they were taken.

        `metric` is a name, or the beginning of some (`boot.*`). `since` is in seconds since 1970. At most the
        `last` of them are returned.
        """
        wanted = {"metric": metric, "cell": cell, "subject": subject, "run": run}
        return self._series(SAMPLES, wanted, since, last)

    def judged(
        self, *, suite: str | None = None, cell: str | None = None, test: str | None = None,
        run: str | None = None, since: float | None = None, last: int | None = None,
    ) -> list[VerdictRecord]:  # fmt: skip
        """Verdicts, with the same order and arguments as `samples`."""
        return self._series(JUDGED, {"suite": suite, "cell": cell, "test": test, "run": run}, since, last)

    def samples_by_time(self, since: float | None = None) -> list[Sample]:
        """All samples in the order in which they were taken, without ids: faster, for an analysis of all of
        them."""
        with self._reading() as reader:
            return reader.samples_by_time(since)

    def judged_by_time(self, since: float | None = None) -> "VerdictTable":
        """All verdicts in the order in which they were taken, without reuse keys and the ids of expected ones:
        faster, for a report on all of them."""
        with self._reading() as reader:
            return reader.verdict_table(since)

    def documents(
        self, kind: str | None = None, *, cell: str | None = None, subject: str | None = None,
        run: str | None = None, since: float | None = None, last: int | None = None,
    ) -> list[Document]:  # fmt: skip
        """Documents, with the same order and arguments as `samples`."""
        return self._series(DOCUMENTS, {"kind": kind, "cell": cell, "subject": subject, "run": run}, since, last)

    def triage(self, since: float | None = None) -> list[Triage]:
        """The decisions of people, in the order in which they were added."""
        with self._reading() as reader:
            return [one for one in reader.everything(TRIAGE, since) if isinstance(one, Triage)]

    def state(self) -> State:
        """How far the history has grown: a different value once a record was added."""
        with self._reading() as reader:
            return reader.state()

    def tallies(self, since: float) -> list[Tally]:
        """Count what was taken since then (seconds since 1970), by run and cell; what began last comes first."""
        with self._reading() as reader:
            return reader.tallies(since)

    def verdicts_before(
        self, seq: int | None = None, *, suite: str | None = None, cell: str | None = None,
        test: str | None = None, run: str | None = None, outcome: str | None = None,
        expected: bool | None = None, most: int = 100,
    ) -> list[tuple[int, VerdictRecord]]:  # fmt: skip
        """At most `most` verdicts in rows before `seq`, each with the number of its row, the newest first."""
        wanted = {
            "suite": suite, "cell": cell, "test": test, "run": run, "outcome": outcome, "expected": expected
        }  # fmt: skip
        with self._reading() as reader:
            return reader.before(wanted, seq, most)

    def verdicts_after(self, seq: int, most: int = 1000) -> list[tuple[int, VerdictRecord]]:
        """At most `most` verdicts in rows after `seq`, each with the number of its row, the oldest first."""
        with self._reading() as reader:
            return reader.after(seq, most)

    def verdicts_of_keys(self, keys: Collection[str]) -> list[VerdictRecord]:
        """The verdicts with one of these reuse keys, in any order."""
        wanted = sorted(keys)
        with self._reading() as reader:
            batches = (wanted[start : start + KEYS] for start in range(0, len(wanted), KEYS))
            return [one for batch in batches for one in reader.by_id(JUDGED, batch, "reuse_key")]

    def graph(self) -> dict[str, tuple[str, ...]]:
        """The known commits with their parents, the first parent first."""
        with self._reading() as reader:
            return {commit.commit: tuple(commit.parents.split()) for commit in reader.commits()}

    def runs(self) -> list[RunRow]:
        """All runs, the oldest first."""
        with self._reading() as reader:
            return reader.runs()

    def export(self, stream: IO[bytes], since: float | None = None) -> int:
        """Write all commits, then the records taken since then (seconds since 1970), as JSON Lines. Returns how
        many lines were written."""
        count = 0
        with self._reading() as reader:
            for commit in reader.commits():
                stream.write(line_of(commit))
                count += 1
            for table in (SAMPLES, JUDGED, DOCUMENTS, TRIAGE):
                for record in reader.everything(table, since):
                    stream.write(line_of(record))
                    count += 1
        return count

    def import_(self, stream: IO[bytes]) -> Imported:
        """Add the records of an export: all of them, or none if a line is invalid.

        Raises `HarnessError` that names the line.
        """
        return self._add(records_in(stream))

    def _add(self, records: Iterable[Record]) -> Imported:
        with explained(self._url), writing(self._engine, self._lock_seconds) as connection:
            return Imported(*Writer(connection).add(records))

    def _series(
        self, table: Table, wanted: Mapping[str, str | None], since: float | None, last: int | None
    ) -> list[Any]:
        with self._reading() as reader:
            return reader.series(table, wanted, since, last)

    @contextmanager
    def _reading(self) -> Iterator[Reader]:
        with explained(self._url), reading(self._engine) as connection:
            yield Reader(connection)
