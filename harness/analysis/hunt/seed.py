"""A seed stands for one run of one test that is the same each time; its text is `CELL/TEST@SCHEDULE`."""

from dataclasses import dataclass, replace
from typing import Self

from harness.core.cell import Cell
from harness.core.errors import CellError
from harness.core.schedule import Schedule
from harness.metrics.boot import is_deterministic
from harness.runner.base import Program
from harness.runner.session import Session

SLOWER = 4.0
"""How many times longer than others a deterministic guest may take for each of its vCPUs, which share one
thread."""


@dataclass(frozen=True, slots=True)
class Seed:
    """A test of a cell with the schedule of its vCPUs. With another kernel or program it stands for another
    run."""

    cell: str
    test: str
    schedule: Schedule

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of `str`. Raises `CellError`."""
        place, _, schedule = text.rpartition("@")
        cell, _, test = place.rpartition("/")
        if not (cell and test and schedule):
            raise CellError(f"{text} is no seed.", "One looks like osv:qemu-ramfs/tst-condvar.so@2c3s17t31p.")
        return cls(cell, test, Schedule.parse(schedule))

    def __str__(self) -> str:
        return f"{self.cell}/{self.test}@{self.schedule}"


def check_cell(cell: Cell) -> None:
    """Raise `CellError` with the reason if the cell's guests can't be made deterministic."""
    if not is_deterministic(cell):
        raise CellError(
            f"Guests of {cell} can't be made to do the same each time.",
            "Hunt on OSv's qemu-ramfs or aarch64-qemu-ramfs: a disk answers when the host likes.",
        )


def check(session: Session, cell: Cell, program: Program) -> None:
    """Raise `CellError` with the reason if the test's guest can't be made deterministic."""
    check_cell(cell)
    if program.network or program.disk or program.forwards or program.variant:
        raise CellError(
            f"{program.name} can't be made to do the same each time: it wants a network, a disk or other devices.",
            "What is outside of the guest answers when the host likes.",
        )


def seeded(program: Program, schedule: Schedule) -> Program:
    """The program as the seed with that schedule runs it."""
    limit = program.limit * SLOWER * schedule.cpus
    return replace(program, deterministic=True, schedule=schedule, cpus=schedule.cpus, limit=limit)
