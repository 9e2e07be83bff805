"""How the vCPUs of a deterministic guest take turns: the only difference between two of its runs of one image."""

import random
import re
from dataclasses import dataclass, replace
from typing import Self

from harness.core.errors import CellError

CPUS = (1, 2, 3, 4)
SHIFTS = range(3, 9)
"""An instruction takes two to the power of this many nanoseconds. Source: QEMU, docs/devel/tcg-icount.rst."""
TURNS = (3.3, 5.3)
"""The shortest and the longest random turn, as the decimal logarithm of its instructions."""
SHORTEST = 20
"""Microseconds of a random turn at least: QEMU wakes for the end of each while the guest sleeps, too. So short
turns want slow instructions."""
MOST_TURNS = 3
PADDING = range(0, 64)
"""Bytes of a word in the environment, which delays everything after it by some instructions."""
NEAR = 0.2
"""A turn of a schedule near another is longer or shorter by at most this share."""
_TEXT = re.compile(r"(\d)c(\d)s((?:\d+t)*)(\d+)p")


@dataclass(frozen=True, slots=True)
class Schedule:
    """One interleaving of a guest's vCPUs, as far as its hypervisor lets us choose it.

    The running vCPU yields at each multiple of each of `turns`, which are microseconds of the guest's clock.
    """

    cpus: int = 1
    shift: int = 0
    turns: tuple[int, ...] = ()
    padding: int = 0

    @classmethod
    def drawn(cls, number: int, cpus: int) -> Self:
        """The schedule with that number; the same number always gives the same schedule."""
        rng = random.Random(f"schedule {number}")
        shift = rng.choice(SHIFTS)
        lengths = [10 ** rng.uniform(*TURNS) for _ in range(rng.randint(1, MOST_TURNS))]
        turns = sorted({max(SHORTEST, round(length * 2**shift / 1000)) for length in lengths})
        return cls(cpus, shift, tuple(turns), rng.choice(PADDING))

    def near(self, number: int) -> "Schedule":
        """The schedule with that number, from 1 on, of those near this one; no two numbers give the same.

        The vCPUs and the clock's pace are the same, so preemptions come as often, but elsewhere.
        """
        rng = random.Random(f"near {self} {number}")
        turns = {max(1, round(turn * rng.uniform(1 - NEAR, 1 + NEAR))) for turn in self.turns}
        return replace(self, turns=tuple(sorted(turns)), padding=self.padding + number)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of `str`. Raises `CellError`."""
        found = _TEXT.fullmatch(text)
        if not found or int(found[1]) not in CPUS:
            raise CellError(f"{text} is no schedule of vCPUs.", "One looks like 2c3s17t40t31p.")
        turns = tuple(int(turn) for turn in found[3].split("t")[:-1])
        return cls(int(found[1]), int(found[2]), turns, int(found[4]))

    def __str__(self) -> str:
        return f"{self.cpus}c{self.shift}s{''.join(f'{turn}t' for turn in self.turns)}{self.padding}p"


IN_ORDER = Schedule()
"""One vCPU, nothing else chosen."""
