"""Adds records to a history: each once, and none that differs from an older one with its id."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Insert, Table, Text, bindparam, insert, select

from harness.core.errors import HarnessError
from harness.metrics.history.reader import Reader
from harness.metrics.history.records import Triage, VerdictRecord
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
    escaped,
)
from harness.metrics.history.validation import Identified, Record, body_text, check, kind_name
from harness.metrics.records import Commit, Document, Environment, Metric, Sample, Version

BATCH = 1000
"""Records that one statement looks up, or inserts."""

MOST_MET = 100_000
"""Parts whose keys are cached by object identity."""

TABLE_OF: Mapping[type[Identified], Table] = {
    Sample: SAMPLES, VerdictRecord: JUDGED, Document: DOCUMENTS, Triage: TRIAGE
}  # fmt: skip
TEXTS_OF_TRIAGE = ("action", "subject", "identity", "author", "note")

SINCE_STEP_2 = ("builder", "firmware")
"""Columns that older parts lack. Where they are empty, the part is known by the digest of the content that it
had then."""


class Writer:
    """Adds records in the transaction of `connection`, which must be the only one that writes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._reader = Reader(connection)
        self._parts: dict[tuple[Table, Metric | Version | Environment | str], int] = {}
        self._met: dict[int, tuple[object, int]] = {}

    def add(self, records: Iterable[Record]) -> tuple[int, int]:
        """Add the records; returns how many were new, and how many existed already. Raises `HarnessError` for
        an invalid record, and for one that has the id of another."""
        new = known = 0
        for batch in _batches(records):
            for kind, table in TABLE_OF.items():
                ours = [record for record in batch if isinstance(record, kind)]
                added = self._add(table, ours) if ours else 0
                new, known = new + added, known + len(ours) - added
            commits = [record for record in batch if isinstance(record, Commit)]
            added = self._learn(commits) if commits else 0
            new, known = new + added, known + len(commits) - added
        return new, known

    def _learn(self, commits: Sequence[Commit]) -> int:
        """Add new commits. A commit's hash covers its parents, so those that exist need no comparison."""
        names = {commit.commit: commit for commit in commits}
        there = set(self._connection.scalars(select(COMMITS.c.commit).where(COMMITS.c.commit.in_(names))))
        rows = [commit.to_json() for name, commit in names.items() if name not in there]
        if rows:
            self._connection.execute(insert(COMMITS), rows)
        return len(rows)

    def _add(self, table: Table, records: Sequence[Identified]) -> int:
        there = {record.id: record for record in self._reader.by_id(table, {record.id for record in records})}
        fresh: dict[str, Identified] = {}
        for record in records:
            twin = there.get(record.id) or fresh.get(record.id)
            if twin is None:
                fresh[record.id] = record
            elif _as_kept(record) != _as_kept(twin):
                kind = kind_name(type(record))
                raise HarnessError(
                    f"The history has another {kind} with the id {record.id}. Nothing was added.",
                    "A record is never changed, and has an id of its own: was a line of an export edited?",
                )
        rows = [self._row(record) for record in fresh.values()]
        if rows:
            self._connection.execute(_into(table), rows)
        return len(rows)

    def _row(self, record: Identified) -> dict[str, Any]:
        """The record's columns in their stored form."""
        if isinstance(record, Triage):
            texts = {name: escaped(getattr(record, name)) for name in TEXTS_OF_TRIAGE}
            return {**texts, "id": record.id, "body": body_text(record.body), "taken": float(record.taken)}
        row = {
            "id": record.id, "cell": escaped(record.cell), "run": escaped(record.run),
            "taken": float(record.taken), "version_id": self._met_part(VERSIONS, record.version),
        }  # fmt: skip
        match record:
            case Sample():
                self._put_where(row, record.environment)
                row["metric_id"] = self._met_part(METRICS, record.metric)
                row["value"], row["spread"] = float(record.value), float(record.spread)
                row["subject"] = escaped(record.subject)
                row["procedure_id"] = self._part(PROCEDURES, record.procedure) if record.procedure else None
            case VerdictRecord():
                self._put_where(row, record.environment)
                row["suite"], row["test"] = escaped(record.suite), escaped(record.test)
                row["outcome"], row["reason"] = escaped(record.outcome), escaped(record.reason)
                row["expected"], row["seconds"] = record.expected, float(record.seconds)
                row["reuse_key"] = escaped(record.reuse_key)
            case Document():
                row["kind"], row["subject"] = escaped(record.kind), escaped(record.subject)
                row["body"] = body_text(record.body)
        return row

    def _put_where(self, row: dict[str, Any], environment: Environment) -> None:
        row["environment_id"] = self._met_part(ENVIRONMENTS, environment)
        row["load"] = float(environment.load)

    def _met_part(self, table: Table, part: Metric | Version | Environment) -> int:
        """As `_part`, cached by object identity: records of one call share their parts, and hashing them costs
        more."""
        known = self._met.get(id(part))
        if known is None:
            if len(self._met) >= MOST_MET:
                self._met.clear()
            key = self._part(table, replace(part, load=0.0) if isinstance(part, Environment) else part)
            known = self._met[id(part)] = part, key  # which keeps the object, and so its id
        return known[1]

    def _part(self, table: Table, part: Metric | Version | Environment | str) -> int:
        """The key of the row with this content, which is added if it is new."""
        if (table, part) not in self._parts:
            every = {"facts": part} if isinstance(part, str) else asdict(part)
            values = {name: value for name, value in every.items() if name in table.c}
            if isinstance(part, Version):
                values["committed"] = float(part.committed)  # an integer's JSON, and so its digest, is another
            known_by = {name: value for name, value in values.items() if value or name not in SINCE_STEP_2}
            content = hashlib.sha256(json.dumps(known_by, sort_keys=True).encode()).hexdigest()
            known = select(table.c.id).where(table.c.content == content)
            key = self._connection.scalar(known)
            if key is None:
                self._connection.execute(insert(table), {**values, "content": content})
                key = self._connection.scalar(known)
            self._parts[table, part] = int(key or 0)
        return self._parts[table, part]


@cache
def _into(table: Table) -> Insert:
    """A statement that inserts rows in their stored form; the caller has escaped the texts that need it."""
    own = table.autoincrement_column
    columns = [one for one in table.c if one is not own]
    kept = {one.name: Text() if isinstance(one.type, AnyText) else one.type for one in columns}
    return insert(table).values({name: bindparam(name, type_=kind) for name, kind in kept.items()})


def sound(record: Record) -> Record:
    """Return the record. Raises `HarnessError` if it can't be stored."""
    try:
        check(type(record) if type(record) in (*TABLE_OF, Commit) else Sample, record)
    except (ValueError, TypeError) as error:
        told = getattr(record, "id", "?")
        raise HarnessError(
            f"The {kind_name(type(record))} {told!a:.80} can't be kept: {error}. Nothing was added.",
            "This is a fault of what made it: report it.",
        ) from error
    return record


def _as_kept(record: Identified) -> Identified:
    """The record as the history returns it: great integers become floats, tuples lists, and keys strings."""
    match record:
        case Sample():
            return replace(record, value=float(record.value))
        case Document() | Triage():
            return replace(record, body=json.loads(body_text(record.body)))
        case VerdictRecord():
            return record


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    rest = iter(records)
    while batch := list(islice(rest, BATCH)):
        yield batch
