"""Tells who wrote to a place in a guest's memory, in the run of a seed: what a debugger would go back for."""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from harness.analysis.hunt.conflicts import frames_after
from harness.analysis.hunt.traced import traced_to_end
from harness.core.errors import CellError
from harness.core.machine import Image
from harness.runner.base import Program
from harness.runner.session import Session
from harness.vm.qemu.plugin.trace import Kind

LAST = 20
MOST_FRAMES = 12
WORD = 8  # bytes
_TEXT = re.compile(r"(0x[0-9a-fA-F]+)(?:\+(\d+))?")


@dataclass(frozen=True, slots=True)
class Memory:
    """A virtual address of a guest, and a number of bytes from there on."""

    address: int
    length: int = WORD

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `0x1234` or `0x1234+16`. Raises `CellError`."""
        found = _TEXT.fullmatch(text)
        if not found or found[2] == "0":
            raise CellError(f"{text} is no memory of a guest.", "Some looks like 0x100000004110+8.")
        return cls(int(found[1], 16), int(found[2] or WORD))


def writes(session: Session, image: Image, program: Program, memory: Memory) -> Iterator[str]:
    """Lines about the last writes to the memory, the last first, in a run of the program, which has a schedule.
    Raises what `traced_to_end` raises."""
    with traced_to_end(session, image, program, (memory.address, memory.length)) as guest:
        stores = np.flatnonzero(guest.records["kind"] == Kind.STORED)
        kept = f"{len(stores):,} were kept"
        yield f"Writes to {memory.length} bytes at {memory.address:#x}, the last first; {kept}"
        for index in reversed(deque(stores, LAST)):
            one = guest.records[index]
            frames = frames_after(guest.records, index)[:MOST_FRAMES]
            place, *callers = guest.lines.at([int(one["pc"]), *frames])
            yield (
                f"{one['count']:,}: vCPU {one['vcpu']}, thread {one['stack']} wrote {one['size']} bytes"
                f" at {one['address']:#x} in {place}"
            )
            yield from (f"    called from {caller}" for caller in callers)
