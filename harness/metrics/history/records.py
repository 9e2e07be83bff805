"""Two kinds of records of a history: verdicts of tests, and decisions of people about failures."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self
from uuid import uuid4

from harness.metrics.records import Environment, Version


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """A verdict as the history keeps it.

    - `suite` is `unit`, `apps` or `perf`.
    - `expected` is whether the outcome was expected of the test.
    - `seconds` is how long the program ran. `taken` is in seconds since 1970.
    - `reuse_key` stands for everything that decided it (`harness.metrics.reuse_key`), or is empty: the verdict may
      not be reused.
    """

    suite: str
    cell: str
    test: str
    outcome: str
    expected: bool
    reason: str
    seconds: float
    version: Version
    environment: Environment
    run: str
    taken: float
    id: str = field(default_factory=lambda: uuid4().hex)
    reuse_key: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """The verdict that `to_json` wrote."""
        return cls(
            **{**row, "version": Version(**row["version"]), "environment": Environment(**row["environment"])}
        )


class Action(StrEnum):
    """What a person decided, or what became of a decision."""

    ACKNOWLEDGE = "acknowledge"
    REOPEN = "reopen"
    ASSIGN = "assign"
    RERUN = "rerun"
    BISECT = "bisect"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Triage:
    """One decision of a person about `subject`, which is named as in the facts of `harness.integrations.server`.

    - `identity` is what failed at that time.
    - `author` is who decided, if that is known.
    - `body` belongs to the action: an assignee, a cell, two commits.

    A decision is never changed: a later one replaces it.
    """

    action: Action
    subject: str
    identity: str
    author: str
    note: str
    body: Mapping[str, Any]
    taken: float
    id: str = field(default_factory=lambda: uuid4().hex)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """The decision that `to_json` wrote."""
        return cls(**{**row, "action": Action(row["action"])})
