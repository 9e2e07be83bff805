"""Finds the smallest guest in which a program passes, and measures how much of its memory the guest uses."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from harness.core.errors import HarnessError
from harness.metrics.boot import LONGEST_BOOT, is_deterministic
from harness.metrics.checkpoints import unrandomised
from harness.metrics.records import Metric, Sample
from harness.metrics.sampler import Sampler
from harness.runner import catalog
from harness.runner.base import NOT_STARTED, Program, Run
from harness.runner.verdict import Outcome
from harness.workloads.apps.app import App

REPEATS = 3
NEAR_EDGE = (1, 2, 4, 7)
"""Distances from the edge, in MiB, at which sizes are tried once more: a guest that fails here may pass with
less."""

HANG_FACTOR = 16.0
"""A guest that takes so many times longer than one with its own memory hangs."""

MEMORY_LINE = re.compile(rb"^memory (\d{1,15}) bytes, (\d{1,15}) of them free\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The result of a search: `memory` in MiB, every boot in order with whether it passed, and `odd`: sizes above
    `memory` that failed."""

    memory: int
    boots: tuple[tuple[int, bool], ...]
    odd: tuple[int, ...] = ()


def smallest(passes: Callable[[int], bool], enough: int) -> SearchResult | None:
    """The smallest size in MiB, up to `enough`, at which `passes` is always true; None if `enough` is too little.

    Takes about log2(enough) + 10 boots: it bisects, repeats at the edge, and tries a few sizes on either side,
    because failures need not be monotone. A size at which a guest passes may lie below one at which it hangs.
    """
    search = _Search(passes)
    if not search.ask(enough):
        return None
    edge = search.settle(search.between(0, enough), enough)
    while below := search.passing_below(edge):
        edge = search.settle(search.between(search.failing_below(below), below), edge)
    above = [edge + step for step in NEAR_EDGE if edge + step < enough]
    odd = tuple(size for size in above if not search.passed(size) and not search.ask(size))
    return SearchResult(edge, tuple(search.boots), odd)


@dataclass
class _Search:
    passes: Callable[[int], bool]
    boots: list[tuple[int, bool]] = field(default_factory=list)

    def ask(self, memory: int) -> bool:
        """Boot once."""
        answer = self.passes(memory)
        self.boots.append((memory, answer))
        return answer

    def passed(self, memory: int) -> bool:
        """Whether this size was tried, and passed."""
        return (memory, True) in self.boots

    def failed(self, memory: int) -> bool:
        """Whether this size was tried, and failed at least once."""
        return (memory, False) in self.boots

    def between(self, low: int, high: int) -> int:
        """A size that passed once and whose lower neighbour failed; `low` fails and `high` passes."""
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.ask(middle) else (middle, high)
        return high

    def settle(self, edge: int, enough: int) -> int:
        """The first size from `edge` upwards that passes often enough; `enough` is known to."""
        while edge < enough and not self.holds(edge):
            edge += 1
        return edge

    def holds(self, memory: int) -> bool:
        """Whether it passes often enough, and never failed."""
        more = REPEATS - self.boots.count((memory, True))
        return not self.failed(memory) and all(self.ask(memory) for _ in range(more))

    def passing_below(self, edge: int) -> int:
        """A size a little below the edge that passes, or 0."""
        below = [edge - step for step in NEAR_EDGE if edge - step > 0 and not self.failed(edge - step)]
        return next((size for size in below if self.ask(size)), 0)

    def failing_below(self, memory: int) -> int:
        """The largest smaller size that failed, or 0, at which no guest starts."""
        return max((size for size, passed in self.boots if not passed and size < memory), default=0)


def minimum(sampler: Sampler, program: App) -> tuple[Sample, SearchResult]:
    """The smallest guest in which the program passes. Raises `HarnessError` if its own memory is too little."""
    first = _run(sampler, program, program.memory, LONGEST_BOOT)
    limit = min(LONGEST_BOOT, 1 + HANG_FACTOR * first.verdict.observation.seconds)
    found = smallest(lambda memory: _passes(_run(sampler, program, memory, limit)), program.memory)
    if found is None:
        raise HarnessError(
            f"{program.name} does not pass on {sampler.image.cell} with {program.memory} MiB: "
            f"{first.verdict.reason}.",
            "Give it more memory in its app file.",
        )
    return sampler.take(Metric("memory.minimum", "MiB"), found.memory, program.name), found


def smallest_guest(sampler: Sampler, program: App) -> list[Sample]:
    """`minimum`, without how it was found."""
    return [minimum(sampler, program)[0]]


def used(sampler: Sampler, program: App) -> list[Sample]:
    """Bytes of the guest's memory that are not free while the program runs, if the program reports that. The
    number is exact if the cell is deterministic."""
    exact = is_deterministic(sampler.image.cell)
    image = unrandomised(sampler.image) if exact else sampler.image
    run = sampler.session.run_on(
        image, replace(_guest(sampler, program, program.memory, LONGEST_BOOT), deterministic=exact)
    )
    match = MEMORY_LINE.search(bytes(run.transcript.raw))
    if not match or not _passes(run):
        return []
    return [sampler.take(Metric("memory.used", "B", exact=exact), int(match[1]) - int(match[2]), program.name)]


def _run(sampler: Sampler, program: App, memory: int, limit: float) -> Run:
    return sampler.session.run_on(sampler.image, _guest(sampler, program, memory, limit))


def _guest(sampler: Sampler, program: App, memory: int, limit: float) -> Program:
    scaled = limit * catalog.scale(sampler.environment.accelerator)
    return Program(
        program.name, program.command, scaled, program.cpus, memory, prints=program.prints, boot_limit=scaled
    )


def _passes(run: Run) -> bool:
    """Whether the guest passed. A hang is no pass; an error of our own raises.

    A guest that its hypervisor refuses has too little memory for its kernel: nothing else differs.
    """
    refused = run.origin == NOT_STARTED and not run.command
    if run.verdict.outcome is Outcome.HARNESS_ERROR and not refused:
        raise HarnessError(f"{run.program.name} with {run.program.memory} MiB: {run.verdict.reason}.")
    return run.verdict.outcome is Outcome.PASSED
