"""Reads and writes records as JSON Lines, by which one history is copied into another."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from functools import lru_cache
from typing import IO, Any, NoReturn

from harness.core.errors import HarnessError
from harness.metrics.history.records import Triage, VerdictRecord
from harness.metrics.history.validation import Maker, Record
from harness.metrics.records import Commit, Document, Environment, Metric, Sample, Version

SCHEMA = 3
"""The version of the lines' format, raised with every change of a record's fields."""

SINCE_2: Mapping[str, Mapping[str, str]] = {
    "": {"procedure": ""}, "version": {"builder": ""}, "environment": {"firmware": ""}
}  # fmt: skip
"""The fields that lines of schema 1 lack, by the part of the record that lacks them ("" is the record itself),
with the values that they get."""

SINCE_3: Mapping[str, str] = {"reuse_key": ""}
"""The fields that verdicts of older schemas lack, with the values that they get."""

LINE_SIZE = 16 << 20  # bytes
KINDS: Mapping[str, type[Record]] = {
    "sample": Sample, "judged": VerdictRecord, "document": Document, "commit": Commit, "triage": Triage
}  # fmt: skip
"""The class of each line, by its `type`."""
TYPES = {kind: name for name, kind in KINDS.items()}
PARTS = (Metric, Version, Environment)
CURE = "Nothing of it was imported. Ask for a new export, or remove the line."


def _not_finite(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


DECODER = json.JSONDecoder(parse_constant=_not_finite)


def line_of(record: Record) -> bytes:
    """The record as one line, with its end. It is ASCII without control characters, whatever a guest printed."""
    row = {"type": TYPES[type(record)], "schema": SCHEMA, **_row_of(record)}
    return json.dumps(row, allow_nan=False).encode() + b"\n"


def _row_of(record: Record) -> dict[str, Any]:
    """The record's fields as its `to_json` gives them. Parts that many records share are converted once."""
    if isinstance(record, Document):
        return record.to_json()
    values = {one.name: getattr(record, one.name) for one in fields(record)}
    return {name: _part(value) if isinstance(value, PARTS) else value for name, value in values.items()}


@lru_cache(4096)
def _part(part: Metric | Version | Environment) -> dict[str, Any]:
    return asdict(part)


def records_in(stream: IO[bytes]) -> Iterator[Record]:
    """Yield the records of an untrusted file. Raises `HarnessError` that names the first line which is no
    record."""
    number, maker = 0, Maker()
    while line := stream.readline(LINE_SIZE + 1):
        number += 1
        if not line.endswith(b"\n"):
            if len(line) > LINE_SIZE:
                raise HarnessError(f"Line {number} has more than {LINE_SIZE >> 20} MiB.", CURE)
            raise HarnessError(f"Line {number} is cut off: what wrote the file was stopped.", CURE)
        try:
            yield _record(line, maker)
        except (ValueError, RecursionError, HarnessError) as error:
            raise HarnessError(f"Line {number} is no record of a history: {_reason(error)}.", CURE) from error


def _record(line: bytes, maker: Maker) -> Record:
    """Parse one line. Raises `ValueError`."""
    row = DECODER.decode(line.decode())
    if not isinstance(row, dict):
        raise ValueError("it is no object")
    kind, schema = row.pop("type", None), row.pop("schema", None)
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise ValueError(f"it is of schema {schema!a:.20}, and this harness knows 1 to {SCHEMA}")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"its type is none of {', '.join(KINDS)}")
    if schema == 1:
        _bring_up_to_date(kind, row)
    if schema < 3 and kind == "judged":
        row |= SINCE_3
    made: Record = maker.made(KINDS[kind], row)
    return made


def _bring_up_to_date(kind: str, row: dict[str, Any]) -> None:
    """Add the fields that a line of schema 1 lacks."""
    if kind == "sample":
        row |= SINCE_2[""]
    for part in ("version", "environment"):
        if isinstance(row.get(part), dict):
            row[part] = {**row[part], **SINCE_2[part]}


def _reason(error: Exception) -> str:
    """What is wrong with a line, in one line that quotes nothing of the file, which may hold anything."""
    match error:
        case json.JSONDecodeError():
            return f"it is not JSON: {error.msg} at byte {error.pos}"
        case UnicodeDecodeError():
            return f"it is not UTF-8 from byte {error.start} on"
        case RecursionError():
            return "it is nested too deeply"
        case HarnessError():
            return error.message.rstrip(".")
        case _:
            return str(error)[:300]
