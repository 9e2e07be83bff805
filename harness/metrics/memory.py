"""The smallest guest in which a program passes, found by search; and how much of its memory it uses."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from harness.core.errors import HarnessError
from harness.metrics.boot import LONGEST_BOOT, runs_alike
from harness.metrics.checkpoints import unrandomised
from harness.metrics.records import Metric, Sample
from harness.metrics.sampler import Sampler
from harness.runner import catalog
from harness.runner.base import NOT_STARTED, Program, Run
from harness.runner.verdict import Outcome
from harness.workloads.apps.app import App

REPEATS = 3
BESIDE = (1, 2, 4, 7)
"""MiB from the edge at which it is asked once more, for a guest that fails here may pass with less."""

HANGS = 16.0
"""A guest that takes so many times longer than one with its own memory hangs."""

SAYS_MEMORY = re.compile(rb"^memory (\d{1,15}) bytes, (\d{1,15}) of them free\r?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Smallest:
    """What a search came to: `memory` in MiB, every boot in its order with whether it passed, and what was odd:
    sizes above `memory` that failed."""

    memory: int
    boots: tuple[tuple[int, bool], ...]
    odd: tuple[int, ...] = ()


def smallest(passes: Callable[[int], bool], enough: int) -> Smallest | None:
    """The smallest size in MiB, up to `enough`, at which `passes` is true whenever it is asked; None if `enough`
    is too little.

    Takes about log2(enough) + 10 boots: it bisects, repeats at the edge, and asks at a few sizes on either side,
    because failures need not be monotone. A size at which a guest passes may lie below one at which it hangs.
    """
    search = _Search(passes)
    if not search.ask(enough):
        return None
    edge = search.settle(search.between(0, enough), enough)
    while below := search.passing_below(edge):
        edge = search.settle(search.between(search.failing_below(below), below), edge)
    above = [edge + step for step in BESIDE if edge + step < enough]
    odd = tuple(size for size in above if not search.passed(size) and not search.ask(size))
    return Smallest(edge, tuple(search.boots), odd)


@dataclass
class _Search:
    passes: Callable[[int], bool]
    boots: list[tuple[int, bool]] = field(default_factory=list)

    def ask(self, memory: int) -> bool:
        """One boot."""
        answer = self.passes(memory)
        self.boots.append((memory, answer))
        return answer

    def passed(self, memory: int) -> bool:
        """Whether it was asked, and passed."""
        return (memory, True) in self.boots

    def failed(self, memory: int) -> bool:
        """Whether it was asked, and failed at least once."""
        return (memory, False) in self.boots

    def between(self, low: int, high: int) -> int:
        """A size that passed once and whose neighbour below failed, where `low` fails and `high` passes."""
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.ask(middle) else (middle, high)
        return high

    def settle(self, edge: int, enough: int) -> int:
        """The first size from `edge` on that passes as often as is wanted; `enough` is known to."""
        while edge < enough and not self.holds(edge):
            edge += 1
        return edge

    def holds(self, memory: int) -> bool:
        """Whether it passes as often as is wanted, and never failed."""
        more = REPEATS - self.boots.count((memory, True))
        return not self.failed(memory) and all(self.ask(memory) for _ in range(more))

    def passing_below(self, edge: int) -> int:
        """A size near below the edge that passes, or 0."""
        below = [edge - step for step in BESIDE if edge - step > 0 and not self.failed(edge - step)]
        return next((size for size in below if self.ask(size)), 0)

    def failing_below(self, memory: int) -> int:
        """The greatest size below that failed, or 0, at which no guest starts."""
        return max((size for size, passed in self.boots if not passed and size < memory), default=0)


def minimum(taker: Sampler, program: App) -> tuple[Sample, Smallest]:
    """The smallest guest in which the program passes. Raises `HarnessError` if its own memory is too little."""
    first = _run(taker, program, program.memory, LONGEST_BOOT)
    limit = min(LONGEST_BOOT, 1 + HANGS * first.verdict.observation.seconds)
    found = smallest(lambda memory: _passes(_run(taker, program, memory, limit)), program.memory)
    if found is None:
        raise HarnessError(
            f"{program.name} does not pass on {taker.image.cell} with {program.memory} MiB: "
            f"{first.verdict.reason}.",
            "Give it more memory in its app file.",
        )
    return taker.take(Metric("memory.minimum", "MiB"), found.memory, program.name), found


def smallest_guest(taker: Sampler, program: App) -> list[Sample]:
    """`minimum`, less how it was found."""
    return [minimum(taker, program)[0]]


def used(taker: Sampler, program: App) -> list[Sample]:
    """Bytes of the guest's memory that are not free while the program runs, where the program tells: the same in
    every boot where these are alike."""
    exact = runs_alike(taker.image.cell)
    image = unrandomised(taker.image) if exact else taker.image
    run = taker.lab.run_on(image, replace(_guest(taker, program, program.memory, LONGEST_BOOT), counted=exact))
    said = SAYS_MEMORY.search(bytes(run.transcript.raw))
    if not said or not _passes(run):
        return []
    return [taker.take(Metric("memory.used", "B", exact=exact), int(said[1]) - int(said[2]), program.name)]


def _run(taker: Sampler, program: App, memory: int, limit: float) -> Run:
    return taker.lab.run_on(taker.image, _guest(taker, program, memory, limit))


def _guest(taker: Sampler, program: App, memory: int, limit: float) -> Program:
    scaled = limit * catalog.scale(taker.environment.accelerator)
    return Program(
        program.name, program.command, scaled, program.cpus, memory, prints=program.prints, boot_limit=scaled
    )


def _passes(run: Run) -> bool:
    """Whether the guest passed; a hang is no pass, and what is ours is none of its answers.

    One that its hypervisor refuses is too small for its kernel: it is asked of nothing but memory.
    """
    refused = run.origin == NOT_STARTED and not run.command
    if run.verdict.outcome is Outcome.HARNESS_ERROR and not refused:
        raise HarnessError(f"{run.program.name} with {run.program.memory} MiB: {run.verdict.reason}.")
    return run.verdict.outcome is Outcome.PASSED
