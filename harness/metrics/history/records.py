"""What the history keeps of tests, their verdicts, and of people, what they decided about failures."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self
from uuid import uuid4

from harness.metrics.records import Environment, Version


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """One verdict: `suite` is `unit`, `apps` or `perf`; `expected` is whether it is what was expected of the test;
    `seconds` the program's; `taken` in seconds since 1970."""

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
    """What a person decided, or what became of it."""

    ACKNOWLEDGE = "acknowledge"
    REOPEN = "reopen"
    ASSIGN = "assign"
    RERUN = "rerun"
    BISECT = "bisect"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Triage:
    """One decision about `subject`, as the facts of `harness.integrations.server` name it. `identity` is what
    failed then;
    `author` who decided, where that is known; `body` what belongs to the action: an assignee, a cell, two commits.

    A decision is never changed: a later one takes its place.
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
