"""What the history keeps of tests: their verdicts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self
from uuid import uuid4

from harness.measure import Environment, Version


@dataclass(frozen=True, slots=True)
class Judged:
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
