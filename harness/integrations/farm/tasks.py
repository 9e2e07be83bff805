"""What is asked of a worker at once: the parts of a run, and how often each was tried."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from harness.integrations.farm.messages import CellRequest, WorkItem

TRIES = 3
"""How often something is tried whose host is at fault."""


@dataclass(frozen=True, slots=True)
class Tries:
    """The workers that had it and failed it by a fault of their hosts; `avoid_failed` is whether
    others are asked for while there are any."""

    failed: tuple[str, ...] = ()
    avoid_failed: bool = True

    @property
    def exhausted(self) -> bool:
        """Whether it is not to be tried again."""
        return len(self.failed) >= TRIES

    @property
    def note(self) -> str:
        """That it was tried more than once, if it was."""
        return f" (tried {len(self.failed)} times, by {', '.join(self.failed)})" if len(self.failed) > 1 else ""

    def after(self, worker: str) -> "Tries":
        """With one more that failed."""
        return Tries((*self.failed, worker))

    def others(self, capable: Collection[str]) -> list[str]:
        """Those of the workers that have not failed it; nobody where all have, or where anybody will do."""
        return [name for name in capable if name not in self.failed] if self.failed and self.avoid_failed else []


@dataclass(frozen=True, slots=True)
class ListTask:
    """The image of a cell, and the names of its tests."""

    request: CellRequest
    tries: Tries = field(default=Tries())

    @property
    def requirements(self) -> frozenset[str]:
        """What a worker must be able to do for it."""
        return frozenset(self.request.requirements)

    @property
    def parts(self) -> list[WorkItem]:
        """What of the run is in it."""
        return [(self.request.cell, "")]

    def only(self, parts: Collection[WorkItem]) -> Self:
        """All of it."""
        return self


@dataclass(frozen=True, slots=True)
class TestTask:
    """Some tests of a cell."""

    request: CellRequest
    names: tuple[str, ...]
    tries: Tries = field(default=Tries())

    @property
    def requirements(self) -> frozenset[str]:
        """What a worker must be able to do for it."""
        return frozenset(self.request.requirements)

    @property
    def parts(self) -> list[WorkItem]:
        """What of the run is in it."""
        return [(self.request.cell, name) for name in self.names]

    def only(self, parts: Collection[WorkItem]) -> Self:
        """Some of it."""
        return replace(self, names=tuple(name for name in self.names if (self.request.cell, name) in parts))


@dataclass(frozen=True, slots=True)
class MeasureTask:
    """Measurements that may be compared with each other, and `home`, the host that must take them (or nothing)."""

    requests: tuple[tuple[CellRequest, str], ...]
    home: str = ""
    tries: Tries = field(default=Tries())

    @property
    def requirements(self) -> frozenset[str]:
        """What a worker must be able to do for it."""
        home = {f"host-{self.home}"} if self.home else set()
        return frozenset(home.union(*(request.requirements for request, _ in self.requests)))

    @property
    def parts(self) -> list[WorkItem]:
        """What of the run is in it."""
        return [(request.cell, name) for request, name in self.requests]

    def only(self, parts: Collection[WorkItem]) -> Self:
        """Some of it."""
        return replace(self, requests=tuple(pair for pair in self.requests if (pair[0].cell, pair[1]) in parts))


Task = ListTask | TestTask | MeasureTask


def capable_workers(task: Task, workers: Mapping[str, Collection[str]]) -> list[str]:
    """The workers, by name with their abilities, that can do it."""
    return [name for name, capabilities in workers.items() if task.requirements <= set(capabilities)]
