"""A seed: one run of one test, that is the same each time. `CELL/TEST@SCHEDULE` is its text."""

from dataclasses import dataclass, replace
from typing import Self

from harness.core.cell import Cell
from harness.core.errors import CellError
from harness.core.schedule import Schedule
from harness.metrics.boot import runs_alike
from harness.runner.base import Program
from harness.runner.session import Lab

SLOWER = 4.0
"""How much longer than others a counted guest may take for each of its vCPUs, which share one thread."""


@dataclass(frozen=True, slots=True)
class Seed:
    """A test of a cell with the schedule of its vCPUs; for another kernel or program it is another run."""

    cell: str
    test: str
    schedule: Schedule

    @classmethod
    def parse(cls, text: str) -> Self:
        """The seed of `str`. Raises `CellError`."""
        place, _, schedule = text.rpartition("@")
        cell, _, test = place.rpartition("/")
        if not (cell and test and schedule):
            raise CellError(f"{text} is no seed.", "One looks like osv:qemu-ramfs/tst-condvar.so@2c3s17t31p.")
        return cls(cell, test, Schedule.parse(schedule))

    def __str__(self) -> str:
        return f"{self.cell}/{self.test}@{self.schedule}"


def check(lab: Lab, cell: Cell, program: Program) -> None:
    """Raise `CellError` with the reason if the test's guest can't be made to do the same each time."""
    if not runs_alike(cell):
        raise CellError(
            f"Guests of {cell} can't be made to do the same each time.",
            "Hunt on OSv's qemu-ramfs or aarch64-qemu-ramfs: a disk answers when the host likes.",
        )
    if program.network or program.disk or program.forwards or program.variant:
        raise CellError(
            f"{program.name} can't be made to do the same each time: it wants a network, a disk or other devices.",
            "What is outside of the guest answers when the host likes.",
        )


def seeded(program: Program, schedule: Schedule) -> Program:
    """The program as the seed of that schedule runs it."""
    limit = program.limit * SLOWER * schedule.cpus
    return replace(program, counted=True, schedule=schedule, cpus=schedule.cpus, limit=limit)
