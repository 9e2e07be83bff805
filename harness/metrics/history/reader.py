"""Reads records of a history."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Select, Table, Text, case, func, literal, select, type_coerce

from harness.core.garbage_collection import without_garbage_collection
from harness.metrics.history.record_maker import ROWS, RecordMaker
from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.schema import (
    COMMITS,
    DOCUMENTS,
    JUDGED,
    METRICS,
    SAMPLES,
    TRIAGE,
    VERSIONS,
    AnyText,
)
from harness.metrics.history.validation import Identified
from harness.metrics.records import Commit, Sample

if TYPE_CHECKING:  # both want numpy, which few commands need
    from harness.metrics.history.verdict_table import VerdictTable


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run: its first and its last moment, in seconds since 1970, and how many records of each kind it
    added."""

    run: str
    first: float
    last: float
    cells: tuple[str, ...]
    commits: tuple[str, ...]
    samples: int
    judged: int
    documents: int


@dataclass(frozen=True, slots=True)
class State:
    """How far a history has grown: the number of the last row of each kind. It differs as soon as a record was
    added."""

    samples: int = 0
    judged: int = 0
    documents: int = 0
    commits: int = 0
    triage: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """What one run recorded of one cell: verdicts, how many of them were expected, and samples; when the first
    and the last were taken, in seconds since 1970."""

    run: str
    cell: str
    verdicts: int
    expected: int
    samples: int
    first: float
    last: float


class Reader:
    """Reads over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._maker = connection, RecordMaker(connection)

    def series(
        self, table: Table, wanted: Mapping[str, object], since: float | None, last: int | None
    ) -> list[Any]:
        """Records in the order of their commits, then of when they were taken; at most the `last` of them.

        `wanted` are values by column; a value of None matches any, and that of `metric` may be a pattern
        (`boot.*`).
        """
        order = [VERSIONS.c.committed, table.c.taken, table.c.id]
        query = _kept(table).join(VERSIONS, table.c.version_id == VERSIONS.c.id)
        query = query.where(*self._conditions(table, wanted, since))
        if last is None:
            with without_garbage_collection():
                return list(self._records(table, query.order_by(*order)))
        query = query.order_by(*(column.desc() for column in order)).limit(last)
        return list(self._records(table, query))[::-1]

    def samples_by_time(self, since: float | None) -> list[Sample]:
        """All samples in the order in which they were taken, without their ids. An analysis of a whole history
        needs no more. Sorted here: rows come faster in their own order, in which most of them stay."""
        unread = ("seq", "id")
        query = select(*_columns(SAMPLES, unread)).where(*self._conditions(SAMPLES, {}, since))
        with without_garbage_collection():
            made = self._records(SAMPLES, query.order_by(SAMPLES.c.seq), unread)
            return sorted(made, key=attrgetter("taken"))

    def verdict_table(self, since: float | None) -> "VerdictTable":
        """All verdicts in the order in which they were taken; as `verdict_reader.verdict_table`."""
        from harness.metrics.history.verdict_reader import verdict_table

        return verdict_table(self._connection, self._conditions(JUDGED, {}, since))

    def everything(self, table: Table, since: float | None) -> Iterator[Identified]:
        """Yield records in the order in which they were added; holds only a few in memory."""
        return self._records(table, _kept(table).where(*self._conditions(table, {}, since)).order_by(table.c.seq))

    def commits(self) -> Iterator[Commit]:
        """Yield all commits in the order in which they were added."""
        query = select(COMMITS.c.commit, COMMITS.c.parents).order_by(COMMITS.c.seq)
        for row in self._connection.execute(query, execution_options={"yield_per": ROWS}):
            yield Commit(*row)

    def state(self) -> State:
        """How far the history has grown."""
        tables = (SAMPLES, JUDGED, DOCUMENTS, COMMITS, TRIAGE)
        last = [select(func.coalesce(func.max(table.c.seq), 0)).scalar_subquery() for table in tables]
        return State(*self._connection.execute(select(*last)).one())

    def tallies(self, since: float) -> list[Tally]:
        """Count what was taken since then (seconds since 1970), by run and cell; what began last comes first."""
        found: dict[tuple[str, str], Tally] = {}
        for table in (JUDGED, SAMPLES):
            good = func.sum(case((JUDGED.c.expected, 1), else_=0)) if table is JUDGED else literal(0)
            about, taken = [table.c.run, table.c.cell], table.c.taken
            query = select(*about, func.count(), good, func.min(taken), func.max(taken))
            rows = self._connection.execute(query.where(taken >= since).group_by(*about))
            for run, cell, count, wanted, first, last in map(tuple, rows):
                now = (count, int(wanted), 0) if table is JUDGED else (0, 0, count)
                old = found.get((run, cell), Tally(run, cell, 0, 0, 0, first, last))
                counts = (old.verdicts + now[0], old.expected + now[1], old.samples + now[2])
                found[run, cell] = Tally(run, cell, *counts, min(old.first, first), max(old.last, last))
        return sorted(found.values(), key=lambda one: (-one.first, one.run, one.cell))

    def before(self, wanted: Mapping[str, object], seq: int | None, most: int) -> list[tuple[int, VerdictRecord]]:
        """Verdicts in rows before `seq`, each with the number of its row, the newest first."""
        conditions = [JUDGED.c[name] == value for name, value in wanted.items() if value is not None]
        conditions += [JUDGED.c.seq < seq] if seq is not None else []
        return self._numbered(_kept(JUDGED).where(*conditions).order_by(JUDGED.c.seq.desc()).limit(most))

    def after(self, seq: int, most: int) -> list[tuple[int, VerdictRecord]]:
        """Verdicts in rows after `seq`, each with the number of its row, the oldest first."""
        return self._numbered(_kept(JUDGED).where(JUDGED.c.seq > seq).order_by(JUDGED.c.seq).limit(most))

    def _numbered(self, query: Select[Any]) -> list[tuple[int, VerdictRecord]]:
        rows = self._connection.execute(query).all()
        numbers = [row[0] for row in rows]
        return list(zip(numbers, self._maker.made(JUDGED, rows), strict=True))

    def by_id(self, table: Table, ids: Collection[str], column: str = "id") -> list[Any]:
        """The records with these ids, or plain texts of another column, as far as they exist."""
        given = type_coerce(table.c[column], Text)  # which is not empty, or a partial index would not be used
        return list(self._records(table, _kept(table).where(given.in_(ids), given != "")))

    def runs(self) -> list[RunRow]:
        """Every run, the oldest first."""
        found = []
        for table in (SAMPLES, JUDGED, DOCUMENTS):
            about = [table.c.run, table.c.cell, table.c.version_id]
            query = select(*about, func.min(table.c.taken), func.max(table.c.taken), func.count()).group_by(*about)
            found += [(table.name, *row) for row in self._connection.execute(query)]
        self._maker.read_parts(VERSIONS, {version for _, _, _, version, *_ in found})
        found.sort(key=lambda row: row[1])
        runs = [self._run(name, list(rows)) for name, rows in groupby(found, lambda row: row[1])]
        return sorted(runs, key=lambda run: (run.first, run.run))

    def _run(self, name: str, rows: list[tuple[Any, ...]]) -> RunRow:
        counts = {table.name: 0 for table in (SAMPLES, JUDGED, DOCUMENTS)}
        for table, *_, count in rows:
            counts[table] += count
        versions = {self._maker.parts[VERSIONS][version] for _, _, _, version, *_ in rows}
        ordered = sorted(versions, key=lambda version: (version.committed, version.commit))
        cells = tuple(sorted({row[2] for row in rows}))
        return RunRow(
            name, min(row[4] for row in rows), max(row[5] for row in rows), cells,
            tuple(dict.fromkeys(version.commit for version in ordered)), **counts,
        )  # fmt: skip

    def _conditions(
        self, table: Table, wanted: Mapping[str, object], since: float | None
    ) -> Iterator[ColumnElement[bool]]:
        for name, value in wanted.items():
            if value is not None and name == "metric":
                yield table.c.metric_id.in_(self._metrics(str(value)))
            elif value is not None:
                yield table.c[name] == value
        if since is not None:
            yield table.c.taken >= since

    def _metrics(self, pattern: str) -> list[int]:
        """The keys of the metrics of that name, or whose names begin so (`boot.*`). The patterns of SQL have
        another syntax."""
        beginning, star, _ = pattern.partition("*")
        rows = self._connection.execute(select(METRICS.c.id, METRICS.c.name))
        return [key for key, name in rows if (name.startswith(beginning) if star else name == pattern)]

    def _records(self, table: Table, query: Select[Any], unread: Collection[str] = ()) -> Iterator[Any]:
        """The records that a query of `_columns` finds."""
        result = self._connection.execute(query, execution_options={"yield_per": ROWS})
        for rows in result.partitions():
            yield from self._maker.made(table, rows, unread)


def _kept(table: Table) -> Select[Any]:
    """A query of all rows of a table."""
    return select(*_columns(table))


def _columns(table: Table, unread: Collection[str] = ()) -> list[ColumnElement[Any]]:
    """All columns that are read, in their stored form, because unescaping each value would be most of the work."""
    return [
        type_coerce(one, Text) if isinstance(one.type, AnyText) else one
        for one in table.c if one.name not in unread
    ]  # fmt: skip
