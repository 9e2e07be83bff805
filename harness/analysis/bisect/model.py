"""The values of a bisection: what is measured, builds, commits, plans, observations.

Words: a *point* is the index of a commit on the line from the good end (point 0) to the bad end (point N), along
first parents. *Culprit k* means that points before k have the old level, and k and later points the new one; the
possible culprits are 1 … N. A *layout* is one of several builds of the same commit whose code lies at other
addresses; each layout adds an offset of its own to a measured speed.
"""

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, Self, runtime_checkable

from harness.core.errors import HarnessError
from harness.metrics.records import Better, Metric

SIZES = ("MiB", "B")
"""Units of numbers that the code's layout does not move."""
LAYOUT = 0.003
"""How much a speed commonly moves with the layout of the code alone, relative to its level (Mytkowicz et al.
2009)."""


class Kind(StrEnum):
    """What one boot gives: a number without noise, a number with noise, or for a test 1 (failed) or 0."""

    EXACT = "exact"
    NOISY = "noisy"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Measure:
    """What is bisected.

    `layout` is the usual offset of a layout relative to the level, 0 where there is none. `cause` is the failure
    of a test that is looked for; empty: the bad end's. `schedule` is the one near which the vCPUs of a test's
    deterministic guests take turns; empty: its guests are not deterministic.
    """

    name: str
    unit: str = ""
    kind: Kind = Kind.NOISY
    better: Better = Better.LOWER
    layout: float = LAYOUT
    cause: str = ""
    schedule: str = ""

    @classmethod
    def of(cls, metric: Metric) -> Self:
        """The measure of a metric."""
        if metric.exact:
            return cls(metric.name, metric.unit, Kind.EXACT, metric.better, 0.0)
        layout = 0.0 if metric.unit in SIZES else LAYOUT
        return cls(metric.name, metric.unit, Kind.NOISY, metric.better, layout)

    @classmethod
    def test(cls, name: str, cause: str = "", schedule: str = "") -> Self:
        """The measure of a test's outcome: its probability to fail with the cause that is looked for."""
        return cls(name, "", Kind.TEST, Better.LOWER, 0.0, cause, schedule)


FRESH, REVERTED = -1, -2
"""Layouts that only the checks of an answer use: FRESH is the commit built from scratch, REVERTED the bad end with
the culprit reverted."""


@dataclass(frozen=True, slots=True, order=True)
class Build:
    """Identifies a build: the commit at a point in one of its layouts (0 is the commit's own), or a build for a
    check."""

    index: int
    layout: int = 0

    @property
    def for_check(self) -> bool:
        """Whether it says nothing about the commit at its point."""
        return self.layout < 0


@dataclass(frozen=True, slots=True)
class Built:
    """A successful build: the digest of its binary, and the seconds that it took."""

    digest: str
    seconds: float
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Broken:
    """Why a commit does not build, or its build does not boot."""

    why: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A boot in which a test did not pass. `cause` tells failures apart: the verdict's `identity`."""

    cause: str


class Builder(Protocol):
    """Builds and boots. `layouts` is how many differently laid-out builds of one commit it can make.

    Several threads may call `build` at once. `boot` is called by one thread, for finished builds, while nothing
    builds. A `HarnessError` of either is the host's fault: it ends the session, whose journal stays usable.
    """

    @property
    def layouts(self) -> int:
        """1 if only the commit's own layout can be built."""

    @property
    def cached(self) -> Collection[Build]:
        """The builds that cost nothing."""

    def build(self, key: Build) -> Built | Broken:
        """Build it."""

    def boot(self, key: Build) -> float | Failure | Broken:
        """Boot it once. Returns the measured number; for a test, its failure or 0."""


@runtime_checkable
class NumberedBoots(Protocol):
    """A builder whose boots of one build differ by their number alone: a number tells nothing when it is asked
    again, and boots may run at once."""

    def boot_numbered(self, key: Build, numbers: range) -> Generator[float | Failure, None, None]:
        """Boot it once by each number; yields what `Builder.boot` returns, in order. Closing it ends the rest."""


@dataclass(frozen=True, slots=True)
class CommitRange:
    """The commits from the good end to the bad end, in order, along first parents.

    `binaries` names what each commit's binary is made from, where that is known before building (the digest of the
    tree under the paths that matter): commits with equal names have equal binaries. Empty: nothing is known.
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
        """The point of the bad end."""
        return len(self.commits) - 1

    def first_alike(self, index: int) -> int:
        """The first point with the same binary as this one, as far as is known before building."""
        return self.binaries.index(self.binaries[index]) if self.binaries else index

    def suspects(self) -> list[bool]:
        """For each point, whether it can be the culprit: not the good end, nor a commit whose binary equals its
        parent's."""
        same = self.binaries or self.commits
        return [at > 0 and same[at] != same[at - 1] for at in range(len(same))]


@dataclass(frozen=True, slots=True)
class Effort:
    """Expected costs of a build and a boot in seconds, and limits.

    `most_boots` is per build; `jobs` builds run at once.
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
    """What to do next: builds, then boots up to a total per build. `why` names the reason in one word; the journal
    stores it."""

    why: str
    builds: tuple[Build, ...] = ()
    boots: tuple[tuple[Build, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Observations:
    """The boots of one build, as the posterior uses them: its point, its binary (`group`), its values."""

    index: int
    group: int
    values: Sequence[float]
