"""Makes records of the rows of a history; versions, environments, metrics and procedures are read once."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import repeat
from typing import Any

from sqlalchemy import Connection, Table, select

from harness.core.quick_records import quick_maker
from harness.metrics.history.records import Action, Triage, VerdictRecord
from harness.metrics.history.schema import (
    DOCUMENTS,
    ENVIRONMENTS,
    JUDGED,
    METRICS,
    PROCEDURES,
    SAMPLES,
    TRIAGE,
    VERSIONS,
    unescaped,
)
from harness.metrics.records import Better, Document, Environment, Metric, Sample, Version

ROWS = 5000
"""Rows that are fetched at once: a history may be larger than the memory."""
KEYS = 5000
"""Parts that are read by one query."""
MOST_SHARED, LONGEST_SHARED = 100_000, 500
"""At most `MOST_SHARED` texts of at most `LONGEST_SHARED` characters are cached, so that equal ones are one
object."""
_MAKE_SAMPLE, _MAKE_VERDICT = quick_maker(Sample), quick_maker(VerdictRecord)
Columns = Mapping[str, Sequence[Any]]
"""The values of each column, in the order of the rows."""
_PARTS = {f"{table.name[:-1]}_id": table for table in (METRICS, VERSIONS, ENVIRONMENTS, PROCEDURES)}


class RecordMaker:
    """Makes records of the rows of a table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.parts: dict[Table, dict[int, Any]] = {METRICS: {}, VERSIONS: {}, ENVIRONMENTS: {}, PROCEDURES: {}}
        self._texts, self._environments = _Texts(), _Environments(self.parts[ENVIRONMENTS])

    def made(
        self, table: Table, rows: Sequence[Sequence[Any]], unread: Collection[str] = ()
    ) -> Iterator[Any]:
        """Make the records of many rows, column by column: a call of Python for each row takes twice as long.
        Rows have all columns of the table but those `unread`; samples without an id have an empty one."""
        if not rows:
            return iter(())
        names = [column.name for column in table.c if column.name not in unread]
        columns = dict(zip(names, zip(*rows, strict=True), strict=True))
        for name in columns.keys() & _PARTS.keys():
            self.read_parts(_PARTS[name], {*columns[name]} - {None})
        make = {
            SAMPLES: self._samples, JUDGED: self._judged, DOCUMENTS: self._documents, TRIAGE: self._triage
        }[table]  # fmt: skip
        return make(columns)

    def versions(self, keys: Collection[int]) -> list[Version]:
        """The versions with these keys."""
        self.read_parts(VERSIONS, keys)
        return [self.parts[VERSIONS][key] for key in keys]

    def environments(self, named: Collection[tuple[int, float]]) -> list[Environment]:
        """The environments with these keys, each with the load of its host."""
        self.read_parts(ENVIRONMENTS, {key for key, _ in named})
        return [self._environments[one] for one in named]

    def read_parts(self, table: Table, keys: Iterable[int]) -> None:
        """Read those parts with these keys that are not known yet."""
        known = self.parts[table]
        missing = [key for key in keys if key not in known]
        query = select(*(column for column in table.c if column.name != "content"))
        for start in range(0, len(missing), KEYS):
            some = query.where(table.c.id.in_(missing[start : start + KEYS]))
            for key, *values in self._connection.execute(some):
                if table is METRICS:
                    name, unit, better, exact = values
                    known[key] = Metric(name, unit, Better(better), exact)
                elif table is PROCEDURES:
                    known[key] = values[0]
                else:
                    kind = Version if table is VERSIONS else Environment
                    known[key] = kind(**dict(zip(query.selected_columns.keys()[1:], values, strict=True)))

    def _samples(self, columns: Columns) -> Iterator[Sample]:
        of, procedures = columns.__getitem__, self.parts[PROCEDURES]
        return map(
            _MAKE_SAMPLE, self._part(METRICS, columns), of("value"), *self._shared(columns, "cell", "subject"),
            self._part(VERSIONS, columns), self._where(columns), *self._shared(columns, "run"), of("taken"),
            of("spread"), columns.get("id", repeat("")), map(procedures.get, of("procedure_id"), repeat("")),
        )  # fmt: skip

    def _judged(self, columns: Columns) -> Iterator[VerdictRecord]:
        of, texts = columns.__getitem__, self._texts
        reasons = (texts[one] if len(one) <= LONGEST_SHARED else unescaped(one) for one in of("reason"))
        return map(
            _MAKE_VERDICT, *self._shared(columns, "suite", "cell", "test", "outcome"), of("expected"), reasons,
            of("seconds"), self._part(VERSIONS, columns), self._where(columns), *self._shared(columns, "run"),
            of("taken"), of("id"), of("reuse_key"),
        )  # fmt: skip

    def _documents(self, columns: Columns) -> Iterator[Document]:
        of = columns.__getitem__
        return map(
            Document, *self._shared(columns, "kind", "cell", "subject"), map(json.loads, of("body")),
            self._part(VERSIONS, columns), *self._shared(columns, "run"), of("taken"), of("id"),
        )  # fmt: skip

    def _triage(self, columns: Columns) -> Iterator[Triage]:
        of = columns.__getitem__
        about = (map(unescaped, of(name)) for name in ("subject", "identity", "author", "note"))
        return map(Triage, map(Action, of("action")), *about, map(json.loads, of("body")), of("taken"), of("id"))

    def _shared(self, columns: Columns, *names: str) -> list[Iterator[str]]:
        """The texts of these columns."""
        return [map(self._texts.__getitem__, columns[name]) for name in names]

    def _part(self, table: Table, columns: Columns) -> Iterator[Any]:
        """The parts to which a column refers."""
        return map(self.parts[table].__getitem__, columns[f"{table.name[:-1]}_id"])

    def _where(self, columns: Columns) -> Iterator[Environment]:
        keys = zip(columns["environment_id"], columns["load"], strict=True)
        return map(self._environments.__getitem__, keys)


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
