"""The cost of a boot: exactly, in instructions, and in wall-clock seconds; by phases."""

import re
import statistics
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.cell import Cell
from harness.core.errors import HarnessError
from harness.core.machine import Image, Machine
from harness.metrics.checkpoints import addresses, unrandomised
from harness.metrics.instruction_count import CHECKPOINTS_FILE, InstructionCounts, checkpoints, count
from harness.metrics.records import Metric, Sample
from harness.metrics.sampler import Sampler
from harness.runner import catalog
from harness.runner.base import Program
from harness.runner.console.transcript import Transcript
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.vm.base import StartsCounted
from harness.vm.registry import hypervisor
from harness.workloads.apps.app import App

LONGEST_BOOT = 30.0  # seconds on hardware
MOST_LINES = 2000
EXACT_WITH = ("ramfs",)
"""Filesystems whose files are in RAM: the timing of a disk depends on the host."""
COMMAND_LINE_KERNELS = ("osv",)
"""Kernels that get their program on the command line. An agent gets it at a time that depends on the host."""


class BootCounter:
    """Counts boots of one image with one program, any number of times: of `machine`, by `driver`."""

    def __init__(self, session: Session, image: Image, program: App) -> None:
        cell = image.cell
        self.driver = hypervisor(cell.hypervisor)
        self._checkpoints = checkpoints(cell.kernel)
        self._addresses = addresses(session, image, self._checkpoints)
        self._limit = 4 * LONGEST_BOOT * catalog.scale("tcg")
        fixed = unrandomised(image)
        self.machine = Machine(
            fixed, _command_line(fixed, program.command), memory=program.memory, deterministic=True
        )

    def count(self) -> InstructionCounts:
        """Count one boot. Raises `CountError` or `HypervisorError`."""
        return count(self.machine, self.driver, self._checkpoints, self._addresses, self._limit)


def cost(sampler: Sampler, program: App, boots: int | None = None) -> list[Sample]:
    """The instructions of the boot: in total, to the program's start, and by phases.

    If the cell's files are on a disk, the counts differ between boots: then the samples are the median of `boots`
    (5 by default) and their range. Raises `CountError` or `HypervisorError`.
    """
    exact = sampler.image.cell.fs in EXACT_WITH
    counter = BootCounter(sampler.session, sampler.image, program)
    counted = [counter.count() for _ in range(boots or (1 if exact else 5))]

    def sample(name: str, values: Sequence[int]) -> Sample:
        metric = Metric(name, "instructions", exact=exact)
        return sampler.take(metric, statistics.median(values), program.name, max(values) - min(values))

    samples = [sample("boot.instructions", [one.total for one in counted])]
    names = [name for name, _ in counted[0].phases]
    if "program" in names:
        samples.append(sample("boot.instructions_to_program", [one.until("program") for one in counted]))
    for index, name in enumerate(names):
        samples.append(sample(f"boot.instructions.{name}", [one.phases[index][1] for one in counted]))
    return samples


def is_deterministic(cell: Cell) -> bool:
    """Whether a deterministic program does the same in every guest of the cell, to the last instruction."""
    driver = hypervisor(cell.hypervisor)
    counts = isinstance(driver, StartsCounted) and cell.arch in driver.counted_arches
    return counts and cell.fs in EXACT_WITH and cell.kernel in COMMAND_LINE_KERNELS


@dataclass(frozen=True, slots=True)
class BootTime:
    """A timed boot: seconds from the start of the hypervisor's process, by phases in their order."""

    phases: tuple[tuple[str, float], ...]

    @property
    def total(self) -> float:
        """Seconds to the guest's end."""
        return sum(seconds for _, seconds in self.phases)


def boot(session: Session, image: Image, program: App) -> BootTime:
    """Boot the image once with the program, and time it. Raises `HarnessError` if it does not pass."""
    run = session.run_on(image, _program(session, image.cell, program), alone=True)
    if run.verdict.outcome is not Outcome.PASSED:
        raise HarnessError(f"{program.name} did not pass on {image.cell}: {run.verdict.reason}.")
    return BootTime(_phases(image.cell, run.transcript, run.verdict.observation.seconds))


def wall(sampler: Sampler, program: App, boots: int = 5) -> list[Sample]:
    """The boot time of each of so many boots, and its phases. Raises `HarnessError` if one does not pass."""
    samples = []
    for _ in range(boots):
        boot_time = boot(sampler.session, sampler.image, program)
        samples.append(sampler.take(Metric("boot.wall", "s"), boot_time.total, program.name))
        for name, seconds in boot_time.phases:
            samples.append(sampler.take(Metric(f"boot.wall.{name}", "s"), seconds, program.name))
    return samples


def _command_line(image: Image, command: str) -> str:
    """A command line that ends the guest after the program."""
    return f"{image.cmdline} {'--' if image.cell.kernel == 'linux' else '--verbose'} {command}"


def _program(session: Session, cell: Cell, program: App) -> Program:
    return Program(
        program.name, program.command, LONGEST_BOOT * catalog.scale(session.recorded_accelerator(cell)),
        program.cpus, program.memory, prints=program.prints,
    )  # fmt: skip


def _phases(cell: Cell, transcript: Transcript, end: float) -> tuple[tuple[str, float], ...]:
    """Seconds from line to line; what follows the last line of the table is `end`."""
    rows = tomllib.loads(CHECKPOINTS_FILE.read_text())[f"{cell.kernel}_line"]
    phases, before = [], 0.0
    lines = iter(transcript.tail(MOST_LINES))
    for row in rows:
        at = next((line.at for line in lines if re.search(row["until"], line.text)), None)
        if at is not None:
            phases.append((row["phase"], at - before))
            before = at
    return (*phases, ("end", end - before))
