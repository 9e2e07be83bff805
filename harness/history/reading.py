"""Reads records of a history."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, case, func, literal, select

from harness.history.checks import Identified
from harness.history.records import Action, Judged, Triage
from harness.history.schema import (
    COMMITS,
    DOCUMENTS,
    ENVIRONMENTS,
    JUDGED,
    METRICS,
    PROCEDURES,
    SAMPLES,
    TRIAGE,
    VERSIONS,
)
from harness.measure import Better, Commit, Document, Environment, Metric, Sample, Version

ROWS = 5000
"""Rows that are fetched at once: a history may be larger than the memory."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run: its first and last moments in seconds since 1970, and what it brought."""

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
    """How far a history has come: the number of the last row of each kind, which tells whether any was added."""

    samples: int = 0
    judged: int = 0
    documents: int = 0
    commits: int = 0
    triage: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """What one run has of one cell: verdicts, how many of them were expected, samples; when the first and the last
    were taken, in seconds since 1970."""

    run: str
    cell: str
    verdicts: int
    expected: int
    samples: int
    first: float
    last: float


class Reader:
    """Reads over one connection. Versions, environments, metrics and procedures are read once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parts: dict[Table, dict[int, Any]] = {METRICS: {}, VERSIONS: {}, ENVIRONMENTS: {}, PROCEDURES: {}}

    def series(
        self, table: Table, wanted: Mapping[str, object], since: float | None, last: int | None
    ) -> list[Any]:
        """Records in the order of their commits, then of when they were taken; the last of them if so asked.

        `wanted` gives columns' values; that of `metric` may be a pattern. None is any.
        """
        conditions = list(self._conditions(table, wanted, since))
        order = [VERSIONS.c.committed, table.c.taken, table.c.id]
        query = select(table).join(VERSIONS, table.c.version_id == VERSIONS.c.id).where(*conditions)
        if last is None:
            return list(self._records(table, query.order_by(*order)))
        query = query.order_by(*(column.desc() for column in order)).limit(last)
        return list(self._records(table, query))[::-1]

    def everything(self, table: Table, since: float | None) -> Iterator[Identified]:
        """Records in the order in which the history got them, a few in memory at a time."""
        return self._records(table, select(table).where(*self._conditions(table, {}, since)).order_by(table.c.seq))

    def commits(self) -> Iterator[Commit]:
        """All commits, in the order in which the history got them."""
        query = select(COMMITS.c.commit, COMMITS.c.parents).order_by(COMMITS.c.seq)
        for row in self._connection.execute(query, execution_options={"yield_per": ROWS}):
            yield Commit(*row)

    def state(self) -> State:
        """How far the history has come."""
        tables = (SAMPLES, JUDGED, DOCUMENTS, COMMITS, TRIAGE)
        last = [select(func.coalesce(func.max(table.c.seq), 0)).scalar_subquery() for table in tables]
        return State(*self._connection.execute(select(*last)).one())

    def tallies(self, since: float) -> list[Tally]:
        """What was taken since then by run and cell, what began last first."""
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

    def before(self, wanted: Mapping[str, object], seq: int | None, most: int) -> list[tuple[int, Judged]]:
        """Verdicts with the numbers of their rows, those that came last first, older than the row `seq`."""
        conditions = [JUDGED.c[name] == value for name, value in wanted.items() if value is not None]
        conditions += [JUDGED.c.seq < seq] if seq is not None else []
        return self._numbered(select(JUDGED).where(*conditions).order_by(JUDGED.c.seq.desc()).limit(most))

    def after(self, seq: int, most: int) -> list[tuple[int, Judged]]:
        """Verdicts with the numbers of their rows, those that came first first, newer than the row `seq`."""
        return self._numbered(select(JUDGED).where(JUDGED.c.seq > seq).order_by(JUDGED.c.seq).limit(most))

    def _numbered(self, query: Select[Any]) -> list[tuple[int, Judged]]:
        rows = list(self._connection.execute(query))
        for part in (VERSIONS, ENVIRONMENTS):
            self._read_parts(part, {getattr(row, f"{part.name[:-1]}_id") for row in rows})
        return [(row.seq, self._judged(row)) for row in rows]

    def by_id(self, table: Table, ids: Collection[str]) -> list[Identified]:
        """Those of the ids that are there."""
        return list(self._records(table, select(table).where(table.c.id.in_(ids))))

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
        """The keys of the metrics of that name, or whose names begin so: `boot.*`. Patterns of SQL differ."""
        beginning, star, _ = pattern.partition("*")
        rows = self._connection.execute(select(METRICS.c.id, METRICS.c.name))
        return [key for key, name in rows if (name.startswith(beginning) if star else name == pattern)]

    def _records(self, table: Table, query: Select[Any]) -> Iterator[Any]:
        make = {
            SAMPLES: self._sample, JUDGED: self._judged, DOCUMENTS: self._document, TRIAGE: self._triage
        }[table]  # fmt: skip
        needed = [part for part in self._parts if f"{part.name[:-1]}_id" in table.c]
        result = self._connection.execute(query, execution_options={"yield_per": ROWS})
        for rows in result.partitions():
            for part in needed:
                keys = {getattr(row, f"{part.name[:-1]}_id") for row in rows}
                self._read_parts(part, keys - {None})
            yield from map(make, rows)

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

    def _sample(self, row: Row[Any]) -> Sample:
        return Sample(
            self._parts[METRICS][row.metric_id], row.value, row.cell, row.subject,
            self._parts[VERSIONS][row.version_id], self._environment(row), row.run, row.taken, row.spread, row.id,
            self._parts[PROCEDURES].get(row.procedure_id, ""),
        )  # fmt: skip

    def _judged(self, row: Row[Any]) -> Judged:
        return Judged(
            row.suite, row.cell, row.test, row.outcome, row.expected, row.reason, row.seconds,
            self._parts[VERSIONS][row.version_id], self._environment(row), row.run, row.taken, row.id,
        )  # fmt: skip

    def _document(self, row: Row[Any]) -> Document:
        version = self._parts[VERSIONS][row.version_id]
        return Document(row.kind, row.cell, row.subject, json.loads(row.body), version, row.run, row.taken, row.id)

    def _triage(self, row: Row[Any]) -> Triage:
        about = row.subject, row.identity, row.author, row.note
        return Triage(Action(row.action), *about, json.loads(row.body), row.taken, row.id)

    def _environment(self, row: Row[Any]) -> Environment:
        where: Environment = self._parts[ENVIRONMENTS][row.environment_id]
        return replace(where, load=row.load)
