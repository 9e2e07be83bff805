"""The answer of a bisection: the culprits, the size of the change, how certain it is, and warnings."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class BisectOutcome(StrEnum):
    """FOUND: each culprit is known with the confidence asked for. NARROWED: no measurement can get there.
    NO_DIFFERENCE: the ends do not differ. SWAPPED: the bad end is the better one. LAYOUT: builds differ as layouts
    do, not as commits do. SPREAD: the change is the sum of many small ones. REFUTED: built from scratch, or
    reverted, the culprit changes nothing."""

    FOUND = "found"
    NARROWED = "narrowed"
    NO_DIFFERENCE = "no difference"
    SWAPPED = "swapped"
    LAYOUT = "layout"
    SPREAD = "spread"
    REFUTED = "refuted"


class Warn(StrEnum):
    """The kinds of warnings: what may weaken an answer."""

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
    """A warning, in one sentence."""

    kind: Warn
    text: str


@dataclass(frozen=True, slots=True)
class Culprit:
    """A commit, or a set of commits that can't be told apart, with the probability that the change is there.

    `points` are their indices in the range. `change` is the new level minus the old one with its 95% `interval`,
    in the measure's unit (for a test: the probability to fail). `broken` are the commits among them that could not
    be measured.
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
        """The change relative to the old level; None unless that is above 0."""
        return self.change / self.old_level if self.old_level > 0 else None


@dataclass(frozen=True, slots=True)
class Check:
    """A verification of the answer. `passed` is None if it could not decide."""

    name: str
    passed: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer.

    `culprits` are sorted by the size of their change. `smallest` is the smallest difference of the ends that would
    have been found in 90% of cases. `why` says why the outcome is no better. `builds` counts the builds that were
    asked for, `cached` those of them that cost nothing, `layouts` those that only link again what another build
    compiled. `inside` is the answer for the branch of a merge. `cause` is the failure of a test that was looked
    for.
    """

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
        """Return plain JSON values; `from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Answer":
        """Read what `to_json` wrote."""
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
