"""The tasks for workers: the parts of a run that each holds, and how often it was tried."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from harness.integrations.farm.messages import CellRequest, WorkItem

TRIES = 3
"""How often a task is tried if hosts are at fault."""


@dataclass(frozen=True, slots=True)
class Tries:
    """The workers whose hosts failed the task. `avoid_failed` prefers other workers while there are any."""

    failed: tuple[str, ...] = ()
    avoid_failed: bool = True

    @property
    def exhausted(self) -> bool:
        """Whether it is not to be tried again."""
        return len(self.failed) >= TRIES

    @property
    def note(self) -> str:
        """A note that it was tried more than once; empty if it was not."""
        return f" (tried {len(self.failed)} times, by {', '.join(self.failed)})" if len(self.failed) > 1 else ""

    def after(self, worker: str) -> "Tries":
        """With one more failed worker."""
        return Tries((*self.failed, worker))

    def others(self, capable: Collection[str]) -> list[str]:
        """The capable workers that have not failed it; empty if all have, or if any worker will do."""
        return [name for name in capable if name not in self.failed] if self.failed and self.avoid_failed else []


@dataclass(frozen=True, slots=True)
class ListTask:
    """Build the image of a cell and list its tests."""

    request: CellRequest
    tries: Tries = field(default=Tries())

    @property
    def requirements(self) -> frozenset[str]:
        """What a worker must be able to do for it."""
        return frozenset(self.request.requirements)

    @property
    def parts(self) -> list[WorkItem]:
        """The parts of the run that it holds."""
        return [(self.request.cell, "")]

    def only(self, parts: Collection[WorkItem]) -> Self:
        """The same task: it has one part."""
        return self


@dataclass(frozen=True, slots=True)
class TestTask:
    """Run some tests of a cell."""

    request: CellRequest
    names: tuple[str, ...]
    tries: Tries = field(default=Tries())

    @property
    def requirements(self) -> frozenset[str]:
        """What a worker must be able to do for it."""
        return frozenset(self.request.requirements)

    @property
    def parts(self) -> list[WorkItem]:
        """The parts of the run that it holds."""
        return [(self.request.cell, name) for name in self.names]

    def only(self, parts: Collection[WorkItem]) -> Self:
        """The same task with only these parts."""
        return replace(self, names=tuple(name for name in self.names if (self.request.cell, name) in parts))


@dataclass(frozen=True, slots=True)
class MeasureTask:
    """Take measurements that may be compared with each other. `home` is the host that must take them (or
    empty)."""

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
        """The parts of the run that it holds."""
        return [(request.cell, name) for request, name in self.requests]

    def only(self, parts: Collection[WorkItem]) -> Self:
        """The same task with only these parts."""
        return replace(self, requests=tuple(pair for pair in self.requests if (pair[0].cell, pair[1]) in parts))


Task = ListTask | TestTask | MeasureTask


def capable_workers(task: Task, workers: Mapping[str, Collection[str]]) -> list[str]:
    """The workers that can do the task. `workers` are capabilities by name."""
    return [name for name, capabilities in workers.items() if task.requirements <= set(capabilities)]
