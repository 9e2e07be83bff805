"""Reads records of a history."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, Text, case, func, literal, select, type_coerce

from harness.core.garbage_collection import without_garbage_collection
from harness.core.quick_records import quick_maker
from harness.metrics.history.records import Action, Triage, VerdictRecord
from harness.metrics.history.schema import (
    COMMITS,
    DOCUMENTS,
    ENVIRONMENTS,
    JUDGED,
    METRICS,
    PROCEDURES,
    SAMPLES,
    TRIAGE,
    VERSIONS,
    AnyText,
    unescaped,
)
from harness.metrics.history.validation import Identified
from harness.metrics.records import Better, Commit, Document, Environment, Metric, Sample, Version

ROWS = 5000
"""Rows that are fetched at once: a history may be larger than the memory."""
MOST_SHARED, LONGEST_SHARED = 100_000, 500
"""At most `MOST_SHARED` texts of at most `LONGEST_SHARED` characters are cached, so that equal ones are one
object."""
_MAKE_SAMPLE, _MAKE_VERDICT = quick_maker(Sample), quick_maker(VerdictRecord)
_PARTS = {f"{table.name[:-1]}_id": table for table in (METRICS, VERSIONS, ENVIRONMENTS, PROCEDURES)}


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
    """Reads over one connection. Versions, environments, metrics and procedures are read once and cached."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parts: dict[Table, dict[int, Any]] = {METRICS: {}, VERSIONS: {}, ENVIRONMENTS: {}, PROCEDURES: {}}
        self._texts, self._environments = _Texts(), _Environments(self._parts[ENVIRONMENTS])

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

    def by_time(self, table: Table, since: float | None) -> list[Any]:
        """All records in the order in which they were taken, without their ids. An analysis of a whole history
        needs no more, and an index has that order."""
        query = select(*_columns(table, without="id")).where(*self._conditions(table, {}, since))
        query = query.order_by(table.c.taken, table.c.seq)
        with without_garbage_collection():
            return list(self._records(table, query))

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
        return list(zip(numbers, self._made(JUDGED, rows), strict=True))

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
        self._read_parts(VERSIONS, {version for _, _, _, version, *_ in found})
        found.sort(key=lambda row: row[1])
        runs = [self._run(name, list(rows)) for name, rows in groupby(found, lambda row: row[1])]
        return sorted(runs, key=lambda run: (run.first, run.run))

    def _run(self, name: str, rows: list[tuple[Any, ...]]) -> RunRow:
        counts = {table.name: 0 for table in (SAMPLES, JUDGED, DOCUMENTS)}
        for table, *_, count in rows:
            counts[table] += count
        versions = {self._parts[VERSIONS][version] for _, _, _, version, *_ in rows}
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

    def _records(self, table: Table, query: Select[Any]) -> Iterator[Any]:
        """The records that a query of `_kept` finds."""
        result = self._connection.execute(query, execution_options={"yield_per": ROWS})
        for rows in result.partitions():
            yield from self._made(table, rows)

    def _made(self, table: Table, rows: Sequence[Sequence[Any]]) -> Iterator[Any]:
        make = {
            SAMPLES: self._sample, JUDGED: self._judged, DOCUMENTS: self._document, TRIAGE: self._triage
        }[table]  # fmt: skip
        for place, name in enumerate(table.c.keys()):
            if name in _PARTS:
                self._read_parts(_PARTS[name], {row[place] for row in rows} - {None})
        return map(make, rows)

    def _read_parts(self, table: Table, keys: Iterable[int]) -> None:
        known = self._parts[table]
        missing = [key for key in keys if key not in known]
        query = select(*(column for column in table.c if column.name != "content"))
        for start in range(0, len(missing), ROWS):
            some = query.where(table.c.id.in_(missing[start : start + ROWS]))
            for key, *values in self._connection.execute(some):
                if table is METRICS:
                    name, unit, better, exact = values
                    known[key] = Metric(name, unit, Better(better), exact)
                elif table is PROCEDURES:
                    known[key] = values[0]
                else:
                    kind = Version if table is VERSIONS else Environment
                    known[key] = kind(**dict(zip(query.selected_columns.keys()[1:], values, strict=True)))

    def _sample(self, row: Sequence[Any]) -> Sample:
        _, name, metric, value, cell, subject, version, where, load, run, taken, spread, procedure = row
        texts, parts = self._texts, self._parts
        return _MAKE_SAMPLE(
            parts[METRICS][metric], value, texts[cell], texts[subject], parts[VERSIONS][version],
            self._environments[where, load], texts[run], taken, spread, name, parts[PROCEDURES].get(procedure, ""),
        )  # fmt: skip

    def _judged(self, row: Sequence[Any]) -> VerdictRecord:
        _, name, suite, cell, test, outcome, expected, reason, seconds, version, where, load, run, taken, key = row
        texts = self._texts
        return _MAKE_VERDICT(
            texts[suite], texts[cell], texts[test], texts[outcome], expected,
            texts[reason] if len(reason) <= LONGEST_SHARED else unescaped(reason), seconds,
            self._parts[VERSIONS][version], self._environments[where, load], texts[run], taken, name, key,
        )  # fmt: skip

    def _document(self, row: Sequence[Any]) -> Document:
        _, name, kind, cell, subject, body, version, run, taken = row
        texts = self._texts
        about = texts[kind], texts[cell], texts[subject]
        return Document(*about, json.loads(body), self._parts[VERSIONS][version], texts[run], taken, name)

    def _triage(self, row: Sequence[Any]) -> Triage:
        _, name, action, subject, identity, author, note, body, taken = row
        about = unescaped(subject), unescaped(identity), unescaped(author), unescaped(note)
        return Triage(Action(action), *about, json.loads(body), taken, name)


class _Texts(dict[str, str]):
    """Texts by their stored form; equal ones are one object, however many records have them."""

    def __missing__(self, kept: str) -> str:
        if len(self) >= MOST_SHARED:
            self.clear()
        text = self[kept] = unescaped(kept)
        return text


class _Environments(dict[tuple[int, float], Environment]):
    """Environments by their key and the load of the host. Loads have two digits, so they recur."""

    def __init__(self, parts: Mapping[int, Environment]) -> None:
        self._parts = parts

    def __missing__(self, named: tuple[int, float]) -> Environment:
        if len(self) >= MOST_SHARED:
            self.clear()
        where = self[named] = replace(self._parts[named[0]], load=named[1])
        return where


def _kept(table: Table) -> Select[Any]:
    """A query of all rows of a table."""
    return select(*_columns(table))


def _columns(table: Table, without: str = "") -> list[ColumnElement[Any]]:
    """All columns in their stored form, because unescaping each value would be most of the work. The column
    `without` is empty."""
    return [
        literal("") if one.name == without else type_coerce(one, Text) if isinstance(one.type, AnyText) else one
        for one in table.c
    ]
