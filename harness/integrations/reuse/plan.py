"""What a run reuses: the verdict that stands for each test, and the tests that run all the same as a check."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

from harness.core.cell import Cell
from harness.runner.verdict import Outcome

PROPERTY = "reuse_check"
"""A test's property: empty, `agrees`, or how its verdict differs from the one that would have been reused."""

AGREES = "agrees"

UNDECIDED = (Outcome.HARNESS_ERROR, Outcome.FLAKY)
"""Outcomes of a check that neither confirm a verdict nor contradict it: they say something of the host."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A verdict that stands: its outcome and reason, and the run and the version that it is from.

    `checked` is whether the test runs all the same in this run.
    """

    outcome: str
    reason: str
    run: str
    version: str
    checked: bool = False

    @property
    def source(self) -> str:
        """Where it is from, for people: `20261128-… (v0.57.0-398-…)`."""
        return f"{self.run} ({self.version})" if self.version else self.run

    @property
    def words(self) -> str:
        """The whole of it in a sentence."""
        return f"reused from {self.source}: {self.outcome}: {self.reason}"

    def difference(self, outcome: str) -> str:
        """How a verdict of the same thing differs, in a sentence; empty if it does not, or decides nothing."""
        if outcome in (self.outcome, *UNDECIDED):
            return ""
        return f"{outcome}, where {self.outcome} would have been reused from {self.source}"


@dataclass(frozen=True, slots=True)
class ReusePlan:
    """The standing verdicts by cell and test. `keys` are the reuse keys of all tests; `chances` say how likely
    their verdicts are to change, compared with each other."""

    standing: Mapping[tuple[str, str], Standing] = field(default_factory=dict)
    keys: Mapping[tuple[str, str], str] = field(default_factory=dict)
    chances: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def of(self, cell: Cell, test: str) -> Standing | None:
        """The verdict that stands for a test, if there is one."""
        return self.standing.get((str(cell), test))

    def reused(self, cell: Cell, test: str) -> Standing | None:
        """The verdict that stands in for a run."""
        found = self.of(cell, test)
        return found if found and not found.checked else None

    def to_json(self) -> str:
        """The plan as text; `from_json` reads it."""
        standing = [[*key, asdict(one)] for key, one in self.standing.items()]
        others = ([[*key, value] for key, value in row.items()] for row in (self.keys, self.chances))
        return json.dumps([standing, *others])

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The plan that `to_json` wrote."""
        standing, keys, chances = json.loads(text)
        return cls(
            {(cell, test): Standing(**row) for cell, test, row in standing},
            {(cell, test): key for cell, test, key in keys},
            {(cell, test): chance for cell, test, chance in chances},
        )
