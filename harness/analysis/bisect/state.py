"""The state of a bisection, rebuilt from the records of its journal."""

from collections.abc import Iterable

from harness.analysis.bisect.failure_cause import find_target_failure, is_informative, masking_failure
from harness.analysis.bisect.journal_records import (
    Answered,
    Began,
    Booted,
    Checked,
    Concluded,
    Drifted,
    Failed,
    Finished,
    Opened,
    Planned,
    Record,
)
from harness.analysis.bisect.model import (
    Broken,
    Build,
    Built,
    CommitRange,
    Effort,
    Kind,
    Measure,
    Observations,
    Plan,
)

LAYOUT_SECONDS = 15.0
"""The expected cost of a layout before any was made: OSv's kernel is linked in ten seconds."""


class State:
    """Builds, boots, the last plan and whether it is done.

    `values` holds the boots since the host's speed last changed, each with the number of the plan that wanted it.
    They are stored under the first build of their binary: builds with equal digests share their boots.
    `boot_failures` holds in the same way the result of a test in each boot: None if it passed, else its failure.
    """

    def __init__(self, opened: Opened) -> None:
        self.range: CommitRange = opened.line
        self.measure: Measure = opened.measure
        self.effort: Effort = opened.effort
        self.builds: dict[Build, Built] = {}
        self.failed: dict[Build, str] = {}
        self.values: dict[Build, list[tuple[int, float]]] = {}
        self.boot_failures: dict[Build, list[str | None]] = {}
        self.plans: list[Plan] = []
        self.began: list[Build] = []
        self.boots = 0
        self.booted_seconds = 0
        self.drifts: list[float] = []
        self.drift_plans: list[int] = []
        self.checks: list[Checked] = []
        self.concluded: Concluded | None = None
        self.answer: Answered | None = None
        self._first: dict[str, Build] = {}
        self._masked: dict[Build, str] | None = None
        self._target_failure: str | None = None

    @classmethod
    def of(cls, records: Iterable[Record]) -> "State":
        """Build the state from all records, the first of which says what is bisected."""
        rest = iter(records)
        opened = next(rest)
        assert isinstance(opened, Opened)
        state = cls(opened)
        for record in rest:
            state.apply(record)
        return state

    def apply(self, record: Record) -> None:
        """Add one record."""
        self._masked = self._target_failure = None
        match record:
            case Planned(plan):
                self.plans.append(plan)
            case Began(key):
                self.began.append(key)
            case Finished(key, built):
                self.builds[key] = built
                self._first.setdefault(built.digest, key)
            case Failed(key, why):
                self.failed[key] = why
                self.values.pop(self.same_as(key), None)
                self.boot_failures.pop(self.same_as(key), None)
            case Booted(key, value, seconds, cause):
                self.boots += 1
                self.booted_seconds += seconds
                self.values.setdefault(self.same_as(key), []).append((len(self.plans), value))
                self.boot_failures.setdefault(self.same_as(key), []).append(cause if value else None)
            case Drifted(change):
                self.drifts.append(change)
                self.drift_plans.append(len(self.plans))
                self.values.clear()
                self.boot_failures.clear()
            case Concluded():
                self.concluded = record
            case Checked():
                self.checks.append(record)
            case Answered():
                self.answer = record
            case Opened():
                raise ValueError("A journal is opened once.")

    @property
    def good(self) -> Build:
        """The build of the good end."""
        return Build(0)

    @property
    def bad(self) -> Build:
        """The build of the bad end: of the first commit with its binary."""
        return Build(self.range.first_alike(self.range.last))

    def same_as(self, key: Build) -> Build:
        """The first build of the same binary; the build itself if there is none."""
        built = self.builds.get(key)
        return self._first[built.digest] if built else key

    @property
    def target_failure(self) -> str:
        """The failure of a test that is looked for, as far as the ends show by now."""
        if self._target_failure is None:
            ends = (self.boot_failures.get(self.same_as(end), ()) for end in (self.good, self.bad))
            self._target_failure = self.measure.cause or find_target_failure(*ends)
        return self._target_failure

    @property
    def broken(self) -> dict[Build, str]:
        """The builds that can't be measured, and why: they do not build or boot, or another failure masks the
        target."""
        if self.measure.kind is not Kind.TEST:
            return self.failed
        if self._masked is None:
            wanted = self.target_failure
            why = {first: masking_failure(seen, wanted) for first, seen in self.boot_failures.items()}
            hidden = {key: why.get(self.same_as(key), "") for key in self.builds}
            self._masked = {key: masking for key, masking in hidden.items() if masking} | self.failed
        return self._masked

    def count(self, key: Build) -> int:
        """How many boots the build's binary has had since the host's speed last changed."""
        return len(self.values.get(self.same_as(key), ()))

    def numbers(self, key: Build) -> list[float]:
        """The values of those boots; for a test, only of boots that passed or failed with the target failure:
        others say nothing about it."""
        first = self.same_as(key)
        if self.measure.kind is not Kind.TEST:
            return [value for _, value in self.values.get(first, ())]
        wanted = self.target_failure
        return [float(one is not None) for one in self.boot_failures.get(first, ()) if is_informative(one, wanted)]

    def informative_boots(self, key: Build) -> int:
        """How many boots say anything about the target."""
        return len(self.numbers(key))

    def mean(self, key: Build) -> float:
        """The mean of `numbers`; 0 if there are none."""
        values = self.numbers(key)
        return sum(values) / len(values) if values else 0.0

    def usable(self, key: Build) -> bool:
        """Whether it is built and boots."""
        return key in self.builds and key not in self.broken

    def outcome(self, key: Build) -> Built | Broken | None:
        """The result of a build; None before it ended."""
        if key in self.broken:
            return Broken(self.broken[key])
        return self.builds.get(key)

    def pending_builds(self) -> list[Build]:
        """The builds of the last plan that have not ended."""
        return [key for key in self.plans[-1].builds if self.outcome(key) is None] if self.plans else []

    def pending_boots(self) -> list[tuple[Build, int]]:
        """The usable builds of the last plan that want more boots, and how many more."""
        wanted: dict[Build, int] = {}
        for key, count in self.plans[-1].boots if self.plans else ():
            if self.usable(key):
                first = self.same_as(key)
                wanted[first] = max(wanted.get(first, 0), count)
        return [(key, count - self.count(key)) for key, count in wanted.items() if count > self.count(key)]

    def observations(self) -> list[Observations]:
        """The boots, at each point where their binary is known to lie; in a run of equal commits, at the first."""
        same = self.range.binaries or self.range.commits
        groups = {key: number for number, key in enumerate(sorted(self.values)) if self.informative_boots(key)}
        places: dict[tuple[int, int], Observations] = {}
        for key in self.builds:
            first = self.same_as(key)
            if first not in groups or key in self.broken or key.for_check:
                continue
            for index in self._points(key, same):
                place = (index, groups[first])
                places[place] = Observations(index, groups[first], self.numbers(first))
        return [places[place] for place in sorted(places)]

    def _points(self, key: Build, same: tuple[str, ...]) -> list[int]:
        if not self.range.binaries:
            return [key.index]
        name = same[key.index]
        return [at for at, one in enumerate(same) if one == name and (at == 0 or same[at - 1] != name)]

    def build_seconds(self) -> float:
        """The expected cost of a build: the mean of those made here, else the given estimate."""
        return self._taken(False) or self.effort.build_seconds

    def layout_seconds(self) -> float:
        """The expected cost of another layout of a built commit: a link, not a build."""
        return self._taken(True) or min(LAYOUT_SECONDS, self.effort.build_seconds)

    def _taken(self, other_layout: bool) -> float:
        """The mean cost of the builds made here, of commits themselves or of other layouts; 0 if there were
        none."""
        taken = [
            built.seconds
            for key, built in self.builds.items()
            if not built.cached and built.seconds > 0 and (key.layout > 0) is other_layout
        ]
        return sum(taken) / len(taken) if taken else 0.0

    def boot_seconds(self) -> float:
        """The expected cost of a boot: the mean so far, and at least the given estimate."""
        return max(self.effort.boot_seconds, self.booted_seconds / max(1, self.boots))
