"""The facts of a morning: what is new last night first, then what is flaky, what stands, what is to be edited."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import gmtime, strftime

from harness.measure import Version
from harness.report.morning.changes import Changes, Step, changes_of
from harness.report.morning.commits import Commits
from harness.report.morning.edit import Entries, Place
from harness.report.morning.nights import Missing, Nights
from harness.report.morning.sorting import tests_of
from harness.report.morning.tests import Stale, Tests
from harness.report.page.told import Told

OSV = "osv"


@dataclass(frozen=True, slots=True)
class Edit:
    """What is to be edited: the stale expectation with its entry's place, where that is known."""

    stale: Stale
    place: Place | None


@dataclass(frozen=True)
class Morning:
    """All facts, each text of them one line that is safe to show, though not as markup."""

    nights: Nights
    tests: Tests
    missing: Sequence[Missing]
    changes: Changes
    edits: Sequence[Edit]
    expiring: Sequence[Place]
    version: Version | None
    previous: Version | None
    heads: int
    commits: Commits
    kernel: str = ""
    firsts: Mapping[str, int] = field(default_factory=dict)
    asides: Sequence[str] = ()

    @property
    def date(self) -> str:
        """The day on which the last night began, UTC: `27 Nov 2026`."""
        when = self.nights.every[-1].began if self.nights.every else 0.0
        try:
            return strftime("%d %b %Y", gmtime(when)).lstrip("0")
        except (ValueError, OverflowError, OSError):
            return ""

    @cached_property
    def new_steps(self) -> list[Step]:
        """The steps whose version was first measured last night."""
        return [one for one in self.changes.steps if self._is_new(one)]

    @cached_property
    def standing_steps(self) -> list[Step]:
        """The others."""
        return [one for one in self.changes.steps if not self._is_new(one)]

    def _is_new(self, step: Step) -> bool:
        return self.nights.last > 0 and self.firsts.get(step.after.commit) == self.nights.last

    @property
    def failures(self) -> int:
        """New failures of last night: each cause once."""
        return len(self.tests.new) + len(self.new_broken)

    @property
    def new_broken(self) -> Mapping[str, str]:
        """Cells that are broken as a whole."""
        return self.tests.broken

    @property
    def headline(self) -> str:
        """The conclusion in a few words."""
        worse = sum(one.worse for one in self.new_steps)
        said = [_number(self.failures, "new failure")] if self.failures or not worse else []
        said += [_number(worse, "new change for the worse", "new changes for the worse")] if worse else []
        return " and ".join(said)

    @property
    def sign(self) -> str:
        """`bad` where there is something new for the worse, `expected` where a result is missing, else `good`."""
        if self.failures or any(one.worse for one in self.new_steps):
            return "bad"
        return "expected" if self.missing or self.tests.unrun or self.tests.faults else "good"

    @property
    def ran(self) -> int:
        """How many cells have a result of last night."""
        return len(self.nights.every[-1].cells) if self.nights.every else 0


def morning(told: Told, commits: Commits | None = None) -> Morning:
    """The facts of a history whose texts are safe already (`Told.safe`)."""
    nights = Nights(told.rows)
    entries = Entries()
    tests = tests_of(told.judged, nights, entries.is_expired)
    heads = _heads(told, nights)
    latest = heads.get(nights.last, [])
    before = next((heads[number] for number in range(nights.last - 1, -1, -1) if heads.get(number)), [])
    numbered = zip(told.judged, nights.numbers(told.judged), strict=True)
    tonight = [one for one, number in numbered if number == nights.last >= 0]
    return Morning(
        nights, tests, nights.missing(),
        changes_of(told.findings, _measured(told, nights), told.documents, _now(nights)),
        [Edit(one, entries.of(one.judged)) for one in tests.stale],
        entries.expiring(tonight),
        latest[-1] if latest else None, before[-1] if before else None, len(latest), commits or Commits(),
        OSV if any(one.cell.startswith(f"{OSV}:") for one in told.seen) else "", _firsts(told, nights),
        told.asides,
    )  # fmt: skip


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count or 'No'} {one if count == 1 else many or one + 's'}"


def _now(nights: Nights) -> float:
    return nights.every[-1].ended if nights.every else 0.0


def _heads(told: Told, nights: Nights) -> dict[int, list[Version]]:
    """The versions of OSv, or of what else there is, of each night, by their dates; one of each commit."""
    kernel = OSV if any(one.cell.startswith(f"{OSV}:") for one in told.seen) else ""
    found: dict[int, dict[str, tuple[float, float, Version]]] = {}
    met: set[tuple[int, str, int]] = set()
    for row, number in zip(told.rows, nights.numbers(told.rows), strict=True):
        version = row.version
        if (key := (number, row.cell, id(version))) in met:
            continue
        met.add(key)
        if not kernel or row.cell.startswith(f"{kernel}:"):
            found.setdefault(number, {}).setdefault(version.commit, (version.committed, row.taken, version))
    return {
        number: [version for *_, version in sorted(some.values(), key=lambda row: row[:2])]
        for number, some in found.items()
    }


def _firsts(told: Told, nights: Nights) -> dict[str, int]:
    """The night in which each commit was first seen."""
    found: dict[str, float] = {}
    for one in told.seen:
        found[one.version.commit] = min(one.first, found.get(one.version.commit, one.first))
    return {commit: nights.number(taken) for commit, taken in found.items()}


def _measured(told: Told, nights: Nights) -> dict[tuple[str, str, str], int]:
    """How many cells measure a kernel's metric of a subject lately."""
    found: dict[tuple[str, str, str], set[str]] = {}
    for one in told.samples:
        key = one.cell.partition(":")[0], one.metric.name, one.subject
        found.setdefault(key, set()).add(one.cell)
    return {key: len(cells) for key, cells in found.items()}
