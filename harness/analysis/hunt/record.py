"""The documents that the history keeps of hunts: which schedules of a test ran, and the seed that failed."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Self

from harness.metrics.records import Document, Version

KIND = "hunt"
FEWEST, TIMES = 200, 10
"""A find is gone after so many schedules that passed since, and so many times those that it took to find it. Where
the k-th was the first to fail, ten times k pass by chance in fewer than 1 of 100 cases: the rate is Beta(2, k)."""


@dataclass(frozen=True, slots=True)
class Hunted:
    """The schedules `first` to `last` of a test on a cell, in one hunt, of which `passed` passed: a skipped test
    does not, nor one that is expected to fail. If the last one is a find, `seed` is it, made as simple as it got,
    and `console` has its last lines; else `seed` is empty."""

    cell: str
    test: str
    first: int
    last: int
    passed: int
    version: Version
    taken: float
    seed: str = ""
    outcome: str = ""
    reason: str = ""
    console: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many schedules ran."""
        return self.last - self.first + 1

    def document(self, run: str) -> Document:
        """It as a document of the history."""
        body = {name: value for name, value in asdict(self).items() if name not in NOT_IN_BODY}
        return Document(KIND, self.cell, self.test, body, self.version, run, self.taken)

    @classmethod
    def of(cls, document: Document) -> Self:
        """Read what `document` made. Raises `KeyError`, `TypeError` or `ValueError` for another body."""
        body = document.body
        return cls(
            document.cell, document.subject, int(body["first"]), int(body["last"]), int(body["passed"]),
            document.version, document.taken, str(body["seed"]), str(body["outcome"]), str(body["reason"]),
            tuple(map(str, body["console"])),
        )  # fmt: skip


NOT_IN_BODY = ("cell", "test", "version", "taken")


def hunts_of(documents: Iterable[Document]) -> dict[tuple[str, str], list[Hunted]]:
    """The hunts among a history's documents, by cell and test, the oldest first. A body of another form, which an
    import may bring, tells of none."""
    found: dict[tuple[str, str], list[Hunted]] = defaultdict(list)
    for one in sorted((one for one in documents if one.kind == KIND), key=lambda one: one.taken):
        with suppress(KeyError, TypeError, ValueError):
            found[one.cell, one.subject].append(Hunted.of(one))
    return {about: hunts for about, hunts in found.items() if hunts}


def standing_find(hunts: Sequence[Hunted]) -> Hunted | None:
    """The newest find of a test's hunts on one cell, given the oldest first; None if there is none, or it is
    gone."""
    passed = 0
    for one in reversed(hunts):
        if one.seed:
            return one if passed < max(FEWEST, TIMES * one.count) else None
        passed += one.passed
    return None
