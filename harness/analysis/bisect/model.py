"""Which commit changed a measure, and how sure that is: numbers in, decisions out.

Words: a *point* is a commit by its place on the line from the good end (point 0) to the bad end (point N, on the
first parent). *Culprit k* says that points before k have the old level, and k and later ones the new level; so
the culprits that can be are 1 … N. A *layout* is one of several builds of the same commit whose code lies at
other addresses; the offset that it adds to a measured speed is its own.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, Self

from harness.core.errors import HarnessError
from harness.metrics.records import Better, Metric

SIZES = ("MiB", "B")
"""Units of what the layout of the code does not move."""
LAYOUT = 0.003
"""How much, of the level, a speed commonly moves with the layout of the code alone (Mytkowicz et al. 2009)."""


class Kind(StrEnum):
    """What one boot gives: a number without noise, a number with noise, or 1 for a failed test and else 0."""

    EXACT = "exact"
    NOISY = "noisy"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Measure:
    """What is bisected. `layout` is a layout's usual offset relative to the level; 0 where there is none.

    `cause` is which failure of a test is looked for; empty: the bad end's.
    """

    name: str
    unit: str = ""
    kind: Kind = Kind.NOISY
    better: Better = Better.LOWER
    layout: float = LAYOUT
    cause: str = ""

    @classmethod
    def of(cls, metric: Metric) -> Self:
        """The measure that a metric is."""
        if metric.exact:
            return cls(metric.name, metric.unit, Kind.EXACT, metric.better, 0.0)
        layout = 0.0 if metric.unit in SIZES else LAYOUT
        return cls(metric.name, metric.unit, Kind.NOISY, metric.better, layout)

    @classmethod
    def test(cls, name: str, cause: str = "") -> Self:
        """The measure that a test's outcome is: the chance that it fails, by the cause that is looked for."""
        return cls(name, "", Kind.TEST, Better.LOWER, 0.0, cause)


FRESH, REVERTED = -1, -2
"""Layouts that only checks of an answer ask for: the commit built again from scratch; the bad end without it."""


@dataclass(frozen=True, slots=True, order=True)
class Build:
    """A build: of the commit at a point, in one of its layouts (0 is the commit's own), or for a check."""

    index: int
    layout: int = 0

    @property
    def for_check(self) -> bool:
        """Whether it says nothing of the commit's place on the line."""
        return self.layout < 0


@dataclass(frozen=True, slots=True)
class Built:
    """A build that succeeded: the digest of its binary, and the seconds that it took."""

    digest: str
    seconds: float
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """A commit that does not build, or whose build does not boot, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A boot in which a test did not pass, and what tells it from other failures: the verdict's `identity`."""

    cause: str


class Builder(Protocol):
    """Who builds and boots. `layouts` is how many differently laid-out builds of one commit it can make.

    `build` may be called by several threads at once; `boot`, of what was built, by one alone and while nothing
    builds. A `HarnessError` of either ends the session, whose journal stays usable: it is for faults of the host.
    """

    @property
    def layouts(self) -> int:
        """1 where it can make no other than the commit's own."""

    @property
    def cached(self) -> Collection[Build]:
        """The builds that cost nothing."""

    def build(self, key: Build) -> Built | Broken:
        """Build it."""

    def boot(self, key: Build) -> float | Failure | Broken:
        """Boot it once: the measured number, or for a test its failure and else 0."""


@dataclass(frozen=True, slots=True)
class CommitRange:
    """The commits from the good end to the bad one, in order, on the first parent.

    `binaries` names what each commit's binary is made from, where that is known before building (the digest of
    the tree under the paths that matter): commits with equal names have equal binaries. Empty: nothing is known.
    """

    commits: tuple[str, ...]
    binaries: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.commits) < 2 or len(set(self.commits)) < len(self.commits):
            raise HarnessError(
                "There is nothing between good and bad to bisect.",
                "Name two different commits, the good one first.",
            )
        if self.binaries and len(self.binaries) != len(self.commits):
            raise ValueError("Every commit of a line has a binary, or none has.")

    @property
    def last(self) -> int:
        """The bad end's point."""
        return len(self.commits) - 1

    def first_alike(self, index: int) -> int:
        """The first point with the same binary as this one, as far as is known before building."""
        return self.binaries.index(self.binaries[index]) if self.binaries else index

    def suspects(self) -> list[bool]:
        """For each point whether it can be the culprit: the good end and what equals its parent can't."""
        same = self.binaries or self.commits
        return [at > 0 and same[at] != same[at - 1] for at in range(len(same))]


@dataclass(frozen=True, slots=True)
class Effort:
    """What a build and a boot are expected to cost in seconds, and how far to go.

    `most_boots` is of one build; `jobs` builds are made at once.
    """

    confidence: float = 0.99
    build_seconds: float = 180.0
    boot_seconds: float = 1.0
    most_boots: int = 1000
    most_builds: int = 200
    jobs: int = 1

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1 or min(self.most_boots, self.most_builds, self.jobs) < 1:
            raise HarnessError("A bisection wants a confidence of 0.5 to less than 1, and at least one job.")
        if self.build_seconds < 0 or self.boot_seconds <= 0:
            raise ValueError("A boot takes some time, and a build no less than none.")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done next: builds, then so many boots in all of each key; and why, in a word."""

    why: str
    builds: tuple[Build, ...] = ()
    boots: tuple[tuple[Build, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Observations:
    """One build's boots as a posterior sees them: at a point, of a binary (`group`), its values."""

    index: int
    group: int
    values: Sequence[float]
