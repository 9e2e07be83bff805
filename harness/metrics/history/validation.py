"""Checks records before they are stored, whoever made them: types, sizes, names, and that numbers are finite."""

import json
import math
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from functools import cache, lru_cache, partial
from typing import Any, get_type_hints

from harness.metrics.history.records import Triage, VerdictRecord
from harness.metrics.history.schema import escaped
from harness.metrics.records import NAME, Commit, Document, Sample

Identified = Sample | VerdictRecord | Document | Triage
Record = Identified | Commit

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
LONG = frozenset({"reason", "described", "parents", "identity", "note"})
NAME_SIZE = 500
"""The most bytes of a string in its stored form: three of them fit into one row of an index of PostgreSQL."""

LONG_SIZE = 1 << 20  # bytes
BODY_SIZE = 12 << 20  # bytes
MOST_ESCAPED = 12  # bytes that one character becomes
MOST_PARTS = 4096
CPUS = 1 << 20


def kind_name(kind: type) -> str:
    """The name of a record's class, or of a part's, in messages."""
    return "verdict" if kind is VerdictRecord else kind.__name__.lower()


def check(kind: type, given: object) -> None:
    """Check a value of the dataclass `kind`. Raises `ValueError`, with a sentence for people, if it is invalid.

    `given` is an object of the class, or the mapping that `to_json` wrote, which has the fields of the class and
    no others.
    """
    fields_of = _fields(kind)
    if isinstance(given, Mapping):
        if given.keys() != fields_of.keys():
            raise ValueError(_wrong_fields(kind, given, fields_of))
        for name, checked in fields_of.items():
            checked(name, given[name])
    elif isinstance(given, kind):
        for name, checked in fields_of.items():
            checked(name, getattr(given, name))
    else:
        raise ValueError(f"a {kind_name(kind)} is no {type(given).__name__}")


class Maker:
    """Makes the records of a file's lines.

    Their parts (metrics, versions, environments) are checked and made once, however many lines repeat them. Equal
    values of different types are different parts.
    """

    def __init__(self) -> None:
        self._parts: dict[tuple[type, str], Any] = {}

    def made(self, kind: Any, row: Mapping[str, Any]) -> Any:
        """Make an object of the class `kind` from what `to_json` wrote. Raises `ValueError` as `check` does."""
        fields_of, parts = _fields(kind), _parts_of(kind)
        if row.keys() != fields_of.keys():
            raise ValueError(_wrong_fields(kind, row, fields_of))
        made = {name: self._part(part, row[name]) for name, part in parts.items()}
        for name, checked in fields_of.items():
            if name not in made:
                checked(name, row[name])
        return kind(**{**row, **made})

    def _part(self, kind: Any, row: object) -> Any:
        if not isinstance(row, dict):
            raise ValueError(f"a {kind_name(kind)} is no {type(row).__name__}")
        key = kind, repr(row)
        if key not in self._parts:
            if len(self._parts) >= MOST_PARTS:
                self._parts.clear()
            part = self.made(kind, row)
            words = {name: hint(row[name]) for name, hint in _hints(kind).items() if _is_enum(hint)}
            self._parts[key] = replace(part, **words)
        return self._parts[key]


@lru_cache(1024)
def _check_once(kind: type, given: object) -> None:
    """As `check`, cached, for parts that many records share."""
    check(kind, given)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


@cache
def _fields(kind: Any) -> dict[str, Callable[[str, object], None]]:
    """The function that checks each field."""
    return {name: _checker(hint) for name, hint in _hints(kind).items()}


@cache
def _parts_of(kind: Any) -> dict[str, type]:
    return {name: hint for name, hint in _hints(kind).items() if _is_part(hint)}


def _is_part(hint: Any) -> bool:
    return isinstance(hint, type) and is_dataclass(hint)


def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, StrEnum)


def _wrong_fields(kind: type, given: Mapping[str, object], hints: Mapping[str, object]) -> str:
    found = {"missing": hints.keys() - given.keys(), "unknown": given.keys() - hints.keys()}
    differences = [
        f"{what}: {', '.join(sorted(ascii(name)[:60] for name in names))}"
        for what, names in found.items()
        if names
    ]
    return f"the fields of a {kind_name(kind)} are others ({'; '.join(differences)})"


def _checker(hint: Any) -> Callable[[str, object], None]:
    plain = {str: _check_text, float: _check_number, int: _check_count, bool: _check_flag}
    if hint in plain:
        return plain[hint]
    if _is_part(hint):
        return partial(_check_part, hint)
    return partial(_check_word, hint) if _is_enum(hint) else _check_body


def _check_part(hint: type, _name: str, value: object) -> None:
    if isinstance(value, Hashable):
        _check_once(hint, value)
    else:
        check(hint, value)


def _check_count(name: str, value: object) -> None:
    if type(value) is not int or not 0 <= value <= CPUS:
        raise ValueError(f"{name} is no number from 0 to {CPUS}")


def _check_flag(name: str, value: object) -> None:
    if type(value) is not bool:
        raise ValueError(f"{name} is neither true nor false")


def _check_word(hint: type[StrEnum], name: str, value: object) -> None:
    if not isinstance(value, str) or value not in set(hint):
        raise ValueError(f"{name} is none of {', '.join(hint)}")


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name} is no string")
    limit = LONG_SIZE if name in LONG else NAME_SIZE
    if len(value) * MOST_ESCAPED > limit and (len(value) > limit or len(escaped(value)) > limit):
        raise ValueError(f"{name} has more than {limit} bytes")
    if name == "id" and not ID.fullmatch(value):
        raise ValueError("id is not 1 to 64 letters, digits, _ and -")
    if name == "name" and not NAME.fullmatch(value):
        raise ValueError("name is no metric's name")


def _check_number(name: str, value: object) -> None:
    # numpy's float64 is a float; its other numbers are not, and would be kept as something else or not at all.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is no number")
    try:
        finite = math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        finite = False
    if not finite:
        raise ValueError(f"{name} is not finite")


def _check_body(name: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} is no object")
    body_text(value)


def body_text(body: Mapping[str, object]) -> str:
    """The stored form of a document's body. Raises `ValueError` if it is not JSON (NaN is not) or too large."""
    try:
        text = json.dumps(dict(body), allow_nan=False)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"body is not JSON: {error}") from error
    if len(text) > BODY_SIZE:
        raise ValueError(f"body has more than {BODY_SIZE} bytes")
    return text
