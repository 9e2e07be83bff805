"""What a record must be like to be kept, whoever made it: types, sizes, names, finite numbers."""

import json
import math
import re
from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any, get_type_hints

from harness.history.records import Judged, Triage
from harness.history.schema import escaped
from harness.measure import NAME, Commit, Document, Sample

Identified = Sample | Judged | Document | Triage
Record = Identified | Commit

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
LONG = frozenset({"reason", "described", "parents", "identity", "note"})
NAME_SIZE = 500
"""Bytes of a string as it is kept: three of them fit into one row of an index of PostgreSQL."""

LONG_SIZE = 1 << 20  # bytes
BODY_SIZE = 12 << 20  # bytes
CPUS = 1 << 20


def check(kind: type, given: object) -> None:
    """Raise `ValueError`, with a sentence for people, if `given` is no sound value of the dataclass `kind`.

    `given` is one of its objects, or what `to_json` wrote of one: that has the fields of the kind and no others.
    """
    hints = _hints(kind)
    if isinstance(given, Mapping):
        if given.keys() != hints.keys():
            raise ValueError(_wrong_fields(kind, given, hints))
        for name, hint in hints.items():
            _check_field(name, hint, given[name])
    elif isinstance(given, kind):
        for name, hint in hints.items():
            _check_field(name, hint, getattr(given, name))
    else:
        raise ValueError(f"a {kind.__name__.lower()} is no {type(given).__name__}")


@lru_cache(1024)
def _check_once(kind: type, given: object) -> None:
    """As `check`, of what many records share."""
    check(kind, given)


def _check_part(kind: type, given: Mapping[str, object]) -> None:
    """As `check`, of a part that many lines of a file share; what is equal and of another type is another."""
    try:
        _check_items(kind, tuple((name, type(value), value) for name, value in given.items()))
    except TypeError:  # something in it has no hash, and so is no part's
        check(kind, given)


@lru_cache(4096)
def _check_items(kind: type, items: tuple[tuple[str, type, object], ...]) -> None:
    check(kind, {name: value for name, _, value in items})


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _wrong_fields(kind: type, given: Mapping[str, object], hints: Mapping[str, object]) -> str:
    found = {"missing": hints.keys() - given.keys(), "unknown": given.keys() - hints.keys()}
    said = [
        f"{what}: {', '.join(sorted(ascii(name)[:60] for name in names))}"
        for what, names in found.items()
        if names
    ]
    return f"the fields of a {kind.__name__.lower()} are others ({'; '.join(said)})"


def _check_field(name: str, hint: Any, value: object) -> None:
    if isinstance(hint, type) and is_dataclass(hint):
        if isinstance(value, Mapping):
            _check_part(hint, value)
        elif isinstance(value, Hashable):
            _check_once(hint, value)
        else:
            check(hint, value)
    elif hint is str:
        _check_text(name, value)
    elif hint is float:
        _check_number(name, value)
    elif hint is int:
        if type(value) is not int or not 0 <= value <= CPUS:
            raise ValueError(f"{name} is no number from 0 to {CPUS}")
    elif hint is bool:
        if type(value) is not bool:
            raise ValueError(f"{name} is neither true nor false")
    elif isinstance(hint, type) and issubclass(hint, StrEnum):
        if not isinstance(value, str) or value not in set(hint):
            raise ValueError(f"{name} is none of {', '.join(hint)}")
    else:
        _check_body(name, value)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name} is no string")
    limit = LONG_SIZE if name in LONG else NAME_SIZE
    if len(value) > limit or len(escaped(value)) > limit:
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
    """A document's body as it is kept. Raises `ValueError` for what is not JSON, NaN among it, or is too big."""
    try:
        text = json.dumps(dict(body), allow_nan=False)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"body is not JSON: {error}") from error
    if len(text) > BODY_SIZE:
        raise ValueError(f"body has more than {BODY_SIZE} bytes")
    return text
