"""The planted races: programs in C, of which each ends with 1 where its race was lost, as an image of OSv."""

import subprocess
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import CellError
from harness.core.machine import Image
from harness.kernels.rootfs.contents import Contents
from harness.runner.base import Program, Run
from harness.runner.session import Session
from harness.runner.verdict import Outcome

HERE = Path(__file__).parent
FLAGS = ("-shared", "-fPIC", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread")
COMPILERS = {"x86_64": "gcc", "aarch64": "aarch64-linux-gnu-gcc"}
LIMIT = 30.0
"""Seconds of a run without a schedule. A program ends by itself where no round begins for 3 of its own."""
CPUS = 2


@dataclass(frozen=True, slots=True)
class Race:
    """A program by its name, what is wrong with it, and what its console says where the race was lost."""

    name: str
    about: str
    lost: str

    @property
    def program(self) -> Program:
        """The program, without a schedule."""
        return Program(self.name, f"/{self.name}.so", LIMIT, cpus=CPUS)

    def was_lost(self, run: Run) -> bool:
        """Whether the run failed as planted."""
        failed = run.verdict.outcome is Outcome.FAILED
        return failed and self.lost.encode() in bytes(run.transcript.raw)


def races(names: Collection[str] = ()) -> tuple[Race, ...]:
    """The races of the table, or those with the names. Raises `CellError` for an unknown name."""
    table = tomllib.loads((HERE / "races.toml").read_text())
    if unknown := sorted(set(names) - set(table)):
        raise CellError(f"There is no planted race {unknown[0]}.", f"Known are: {', '.join(table)}.")
    return tuple(Race(name, **row) for name, row in table.items() if not names or name in names)


def image(session: Session, cell: str, folder: Path) -> Image:
    """The cell's image with all of the programs, which are built in the folder.

    No path of this machine is in them: of other programs, a schedule makes another run.
    """
    wanted = session.cell(cell)
    sources, made = HERE / "programs", {}
    for race in races():
        made[race.program.command] = built = folder / f"{race.name}.so"
        words = [COMPILERS[wanted.arch], *FLAGS, f"-ffile-prefix-map={sources}=.", "-o", str(built)]
        subprocess.run([*words, f"{race.name}.c"], cwd=sources, check=True)
    return session.image_with(wanted, Contents(("libc6",), tuple(made), made=made))
