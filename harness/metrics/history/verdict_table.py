"""Verdicts as a table of numbers: of a year there are a million, and a report looks at few of them one by one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, starmap
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from harness.core.quick_records import quick_maker
from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Environment, Version

ROW = np.dtype(
    [
        ("seconds", np.float64), ("taken", np.float64), ("kind", np.int32), ("version", np.int32),
        ("environment", np.int32), ("run", np.int32), ("id", np.int32),
    ],
    align=True,
)  # fmt: skip
"""One verdict. Its whole numbers are indices into the other fields of a `VerdictTable`."""

Key = TypeVar("Key", bound=tuple[str, ...])
_MAKE_VERDICT = quick_maker(VerdictRecord)


class VerdictKind(NamedTuple):
    """What many verdicts of a test have in common: the first fields of `VerdictRecord`."""

    suite: str
    cell: str
    test: str
    outcome: str
    expected: bool
    reason: str


class Numbering(dict[Any, int]):
    """Numbers values as they come, from 0 on."""

    def __missing__(self, value: Any) -> int:
        number = self[value] = len(self)
        return number


@dataclass(frozen=True, slots=True, eq=False)
class VerdictTable(Sequence[VerdictRecord]):
    """Verdicts without reuse keys. A record is made when it is asked for; `rows` (of `ROW`) answer what is asked
    of all."""

    kinds: Sequence[VerdictKind]
    versions: Sequence[Version]
    environments: Sequence[Environment]
    runs: Sequence[str]
    ids: Sequence[str]
    rows: NDArray[Any]

    @classmethod
    def of(cls, records: Iterable[VerdictRecord]) -> "VerdictTable":
        """The table of these records, in their order."""
        if isinstance(records, VerdictTable):
            return records
        kinds, versions, environments, runs, ids = (Numbering() for _ in range(5))
        rows = [
            (
                one.seconds, one.taken,
                kinds[VerdictKind(one.suite, one.cell, one.test, one.outcome, one.expected, one.reason)],
                versions[one.version], environments[one.environment], runs[one.run], ids[one.id],
            )
            for one in records
        ]  # fmt: skip
        return cls([*kinds], [*versions], [*environments], [*runs], [*ids], np.array(rows, ROW))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, at: int) -> VerdictRecord: ...
    @overload
    def __getitem__(self, at: slice) -> "VerdictTable": ...
    def __getitem__(self, at: int | slice) -> "VerdictRecord | VerdictTable":
        return self.take(at) if isinstance(at, slice) else self._record(*self.rows[at].item())

    def __iter__(self) -> Iterator[VerdictRecord]:
        return starmap(self._record, self.rows.tolist())

    def _record(
        self, seconds: float, taken: float, kind: int, version: int, environment: int, run: int, id_: int
    ) -> VerdictRecord:
        return _MAKE_VERDICT(
            *self.kinds[kind], seconds, self.versions[version], self.environments[environment], self.runs[run],
            taken, self.ids[id_], "",
        )  # fmt: skip

    def take(self, which: Any) -> "VerdictTable":
        """The verdicts of these rows: a slice, indices, or whether each is wanted."""
        return replace(self, rows=self.rows[which])

    def where(self, is_wanted: Callable[[VerdictKind], bool]) -> "VerdictTable":
        """The verdicts of the kinds that are wanted."""
        wanted = np.fromiter(map(is_wanted, self.kinds), bool, len(self.kinds))
        return self.take(wanted[self.rows["kind"]])

    def of_versions(self, is_wanted: Callable[[Version], bool]) -> "VerdictTable":
        """The verdicts on the versions that are wanted."""
        wanted = np.fromiter(map(is_wanted, self.versions), bool, len(self.versions))
        return self.take(wanted[self.rows["version"]])

    def between(self, start: float, end: float) -> "VerdictTable":
        """The verdicts that were taken from `start` on and before `end`, in seconds since 1970."""
        taken = self.rows["taken"]
        return self.take((start <= taken) & (taken < end))

    def by_time(self) -> "VerdictTable":
        """The verdicts in the order in which they were taken."""
        taken = self.rows["taken"]
        ordered = bool((taken[:-1] <= taken[1:]).all())
        return self if ordered else self.take(np.argsort(taken, kind="stable"))

    def grouped(self, key: Callable[[VerdictKind], Key]) -> list[tuple[Key, "VerdictTable"]]:
        """The verdicts of each key that has some, ordered by key; each group has the order of the table."""
        keys = [*map(key, self.kinds)]
        places = {one: place for place, one in enumerate(sorted(set(keys)))}
        of_kind = np.fromiter(map(places.__getitem__, keys), np.intp, len(keys))
        group = of_kind[self.rows["kind"]]
        ordered = self.take(np.argsort(group, kind="stable"))
        bounds = pairwise([0, *np.cumsum(np.bincount(group, minlength=len(places))).tolist()])
        return [(one, ordered[begin:end]) for one, (begin, end) in zip(places, bounds, strict=True) if begin < end]
