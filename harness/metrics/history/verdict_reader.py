"""Reads all verdicts of a history as a table."""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Text, case, literal, select, type_coerce

from harness.core.garbage_collection import without_garbage_collection
from harness.metrics.history.record_maker import ROWS, RecordMaker
from harness.metrics.history.schema import JUDGED, unescaped
from harness.metrics.history.verdict_table import ROW, Numbering, VerdictKind, VerdictTable

_SEPARATOR = "\n"
"""Between the texts of a kind: no stored text has one (`AnyText`)."""


def verdict_table(connection: Connection, conditions: Iterable[ColumnElement[bool]]) -> VerdictTable:
    """The verdicts that meet the conditions, in the order in which they were taken; with the ids of unexpected
    ones alone, for there may be a million others."""
    # Each value of a million rows takes its time, so the texts that make a kind are read as one.
    texts = [_stored(name) for name in ("suite", "cell", "test", "outcome", "reason")]
    texts.insert(4, case((JUDGED.c.expected, "1"), else_=""))
    kind = reduce(add, [part for text in texts for part in (literal(_SEPARATOR, Text), text)][1:])
    id_ = case((JUDGED.c.expected, ""), else_=_stored("id"))
    numbers = JUDGED.c.seconds, JUDGED.c.version_id, JUDGED.c.environment_id, JUDGED.c.load
    query = select(kind, *numbers, _stored("run"), JUDGED.c.taken, id_).where(*conditions).order_by(JUDGED.c.seq)
    known: tuple[Numbering, ...] = tuple(Numbering() for _ in range(5))
    with without_garbage_collection():
        result = connection.execute(query, execution_options={"yield_per": ROWS})
        parts = [_numbered(rows, *known) for rows in result.partitions()]
    maker, (kinds, versions, environments, runs, ids) = RecordMaker(connection), known
    table = VerdictTable(
        [*map(_kind, kinds)], maker.versions(versions), maker.environments(environments),
        [*map(unescaped, runs)], [*map(unescaped, ids)], np.concatenate([np.empty(0, ROW), *parts]),
    )  # fmt: skip
    return table.by_time()


def _stored(name: str) -> ColumnElement[str]:
    """A column as it is stored: to unescape each of its values would take most of the time."""
    return type_coerce(JUDGED.c[name], Text)


def _numbered(
    rows: Sequence[Any], kinds: Numbering, versions: Numbering, environments: Numbering, runs: Numbering,
    ids: Numbering,
) -> NDArray[Any]:  # fmt: skip
    """The rows as those of a table, by the numbers of their values."""
    kind, seconds, version, where, load, run, taken, id_ = zip(*rows, strict=True)
    found = np.empty(len(rows), ROW)
    found["seconds"], found["taken"] = seconds, taken
    for name, known, values in (
        ("kind", kinds, kind), ("version", versions, version), ("run", runs, run), ("id", ids, id_),
        ("environment", environments, zip(where, load, strict=True)),
    ):  # fmt: skip
        found[name] = [*map(known.__getitem__, values)]
    return found


def _kind(text: str) -> VerdictKind:
    suite, cell, test, outcome, expected, reason = map(unescaped, text.split(_SEPARATOR))
    return VerdictKind(suite, cell, test, outcome, bool(expected), reason)
