"""Records as JSON Lines, which carry them from one history into another."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from functools import lru_cache
from typing import IO, Any, NoReturn

from harness.core.errors import HarnessError
from harness.metrics.history.records import Triage, VerdictRecord
from harness.metrics.history.validation import Maker, Record
from harness.metrics.records import Commit, Document, Environment, Metric, Sample, Version

SCHEMA = 2
"""Raised with every change of a record's fields."""

SINCE_2: Mapping[str, Mapping[str, str]] = {
    "": {"procedure": ""}, "version": {"builder": ""}, "environment": {"firmware": ""}
}  # fmt: skip
"""What lines of schema 1 lack, and of what: nobody knew it then."""

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
    """One line, with its end; ASCII without control characters, whatever a guest has said."""
    row = {"type": TYPES[type(record)], "schema": SCHEMA, **_row_of(record)}
    return json.dumps(row, allow_nan=False).encode() + b"\n"


def _row_of(record: Record) -> dict[str, Any]:
    """As its `to_json` gives it, parts that many records share made once."""
    if isinstance(record, Document):
        return record.to_json()
    values = {one.name: getattr(record, one.name) for one in fields(record)}
    return {name: _part(value) if isinstance(value, PARTS) else value for name, value in values.items()}


@lru_cache(4096)
def _part(part: Metric | Version | Environment) -> dict[str, Any]:
    return asdict(part)


def records_in(stream: IO[bytes]) -> Iterator[Record]:
    """The records of a file that others wrote. Raises `HarnessError` that names the line which is not one."""
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
    """Raises `ValueError`."""
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
    made: Record = maker.made(KINDS[kind], row)
    return made


def _bring_up_to_date(kind: str, row: dict[str, Any]) -> None:
    if kind == "sample":
        row |= SINCE_2[""]
    for part in ("version", "environment"):
        if isinstance(row.get(part), dict):
            row[part] = {**row[part], **SINCE_2[part]}


def _reason(error: Exception) -> str:
    """What is wrong in one line that repeats nothing of the file: it may hold anything."""
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
