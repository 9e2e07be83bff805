"""What a bisection ends in: the commit or a set of them, the change's size, how sure, and what to beware."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class BisectOutcome(StrEnum):
    """FOUND: each culprit is known as surely as was asked. NARROWED: it can't be. NO_DIFFERENCE: the ends do not
    differ. SWAPPED: the bad end is the better one. LAYOUT: builds differ as layouts do, not as commits. SPREAD:
    the whole is made of many small changes. REFUTED: built from scratch, or taken back, the culprit changes
    nothing."""

    FOUND = "found"
    NARROWED = "narrowed"
    NO_DIFFERENCE = "no difference"
    SWAPPED = "swapped"
    LAYOUT = "layout"
    SPREAD = "spread"
    REFUTED = "refuted"


class Warn(StrEnum):
    """What may make an answer less than it seems."""

    SEVERAL = "several"
    WENT_AWAY = "went away"
    BIMODAL = "bimodal"
    LAYOUT = "layout"
    HIDDEN = "hidden"
    DRIFT = "drift"
    REST = "rest"
    OTHER = "other failures"


@dataclass(frozen=True, slots=True)
class Warning:
    """One of them, in a sentence."""

    kind: Warn
    text: str


@dataclass(frozen=True, slots=True)
class Culprit:
    """A commit, or where they can't be told apart the commits of a set, with the probability that it is there.

    `points` are their places on the line. `change` is new level less old level with its 95% `interval`, in the
    measure's unit (of a test: the chance to fail). `broken` are those among them that could not be measured.
    """

    points: tuple[int, ...]
    commits: tuple[str, ...]
    probability: float
    old_level: float
    new_level: float
    change: float
    interval: tuple[float, float]
    broken: tuple[str, ...] = ()

    @property
    def relative(self) -> float | None:
        """The change relative to the old level; None where that is not above 0."""
        return self.change / self.old_level if self.old_level > 0 else None


@dataclass(frozen=True, slots=True)
class Check:
    """A verification of the answer; `passed` is None where it could not say."""

    name: str
    passed: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The one answer. `culprits` are in the order of their sizes; `smallest` is the least difference of the ends
    that would have been seen in 90% of cases; `why` says why the outcome is no better. `builds` counts those that
    were asked for, `cached` those of them that cost nothing, `layouts` those that are a link of what another had
    built; `inside` is the answer in the branch of a merge; `cause` is which failure of a test was looked for."""

    outcome: BisectOutcome
    culprits: tuple[Culprit, ...]
    good_level: float
    bad_level: float
    smallest: float
    why: str
    warnings: tuple[Warning, ...]
    builds: int
    cached: int
    broken: int
    boots: int
    checks: tuple[Check, ...] = ()
    inside: "Answer | None" = None
    layouts: int = 0
    cause: str = ""

    @property
    def warned(self) -> frozenset[Warn]:
        """The kinds of its warnings."""
        return frozenset(one.kind for one in self.warnings)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Answer":
        """The answer that `to_json` wrote."""
        return cls(
            **{
                **row,
                "outcome": BisectOutcome(row["outcome"]),
                "culprits": tuple(_culprit(one) for one in row["culprits"]),
                "warnings": tuple(Warning(Warn(one["kind"]), one["text"]) for one in row["warnings"]),
                "checks": tuple(Check(**one) for one in row["checks"]),
                "inside": cls.from_json(row["inside"]) if row["inside"] else None,
            }
        )


def _culprit(row: Mapping[str, Any]) -> Culprit:
    tuples = {name: tuple(row[name]) for name in ("points", "commits", "interval", "broken")}
    return Culprit(**{**row, **tuples})
