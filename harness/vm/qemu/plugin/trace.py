"""What the vCPUs of a guest did, as QEMU's plugin `trace.c` writes it down: memory accesses and switches.

Source: QEMU, docs/devel/tcg-plugins.rst, qemu-plugin.h.
"""

import mmap
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from harness.vm.qemu.plugin.compiler import plugin_words

HEAD_BYTES = 4096
HEAD = struct.Struct("=5Q")
HELD, PAUSED = b"h", b"p"
"""What the plugin says on its line at an end or the count, and at a pause; any byte lets the guest run on."""

OWN, KERNELS = 1 << 20, 2 << 20
"""How many records of programs' instructions are kept, and how many others. One has 32 bytes."""
RECORD = np.dtype(
    [
        ("count", "<u8"), ("pc", "<u8"), ("address", "<u8"), ("kind", "u1"), ("vcpu", "u1"), ("size", "u1"),
        ("flow", "u1"), ("stack", "<u2"), ("other", "<u2"),
    ]
)  # fmt: skip
Records = npt.NDArray[np.void]
REST = 5
"""The flow of an instruction with which a vCPU gives way by itself."""


class Kind(IntEnum):
    """What a record tells.

    `LEFT`: a vCPU no longer runs a thread, of which this was the last instruction. The vCPU `address` runs now; if
    it is the same, OSv has switched to the thread `other`. `FRAME`s follow, the innermost call first, and so they
    do after `ENDED`, and after a `STORED` of watched memory. The size of `LEFT` is 1 if the thread is a program's.
    """

    LOADED = 1
    STORED = 2
    LEFT = 3
    FRAME = 4
    ENDED = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be traced.

    The guest stands still at the first of the addresses `ends`, at each of `pauses` before that, and at the first
    block of instructions behind the count `until`. The others are pairs of an address and a number of bytes: where
    the kernel's code is; where it begins with an interrupt; the code in which a thread is of no interest; and the
    memory to which writes are wanted, and nothing else.
    """

    arch: str
    ends: Sequence[int] = ()
    pauses: Sequence[int] = ()
    kernel: tuple[int, int] = (0, 0)
    entry: tuple[int, int] = (0, 0)
    quiet: tuple[int, int] = (0, 0)
    watched: tuple[int, int] = (0, 0)
    until: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """The instructions that were run so far, at which of them the guest was held because of the count and came to
    its end (0 if it has not), and how many records were written of programs' instructions and of others."""

    count: int
    held: int
    ended: int
    own: int
    kernels: int


class Trace:
    """The shared memory and the line between one QEMU and the harness. Nothing of it has a name."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._file = os.memfd_create("trace")
        os.ftruncate(self._file, HEAD_BYTES + (OWN + KERNELS) * RECORD.itemsize)
        self._memory = mmap.mmap(self._file, 0)
        self.line, self._theirs = socket.socketpair()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.line.close()
        self._theirs.close()
        self._memory.close()
        os.close(self._file)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What QEMU is to inherit."""
        return self._file, self._theirs.fileno()

    def words(self, plugin: Path) -> list[str]:
        """The words of QEMU's command line."""
        wanted = self._wanted
        numbers = {
            "ring": self._file, "hold": self._theirs.fileno(), "arm": int(wanted.arch == "aarch64"),
            "until": wanted.until, "own": OWN, "watched": wanted.watched[0], "watched_bytes": wanted.watched[1],
        }  # fmt: skip
        for name, (first, length) in (("kernel", wanted.kernel), ("entry", wanted.entry), ("quiet", wanted.quiet)):
            numbers |= {f"{name}_from": first, f"{name}_to": first + length}
        given = [f"{name}={number}" for name, number in numbers.items()]
        given += [f"end={address}" for address in wanted.ends] + [f"pause={address}" for address in wanted.pauses]
        return plugin_words(plugin, *given)

    def head(self) -> Head:
        """The numbers so far."""
        return Head(*HEAD.unpack_from(self._memory))

    def records(self) -> Records:
        """A copy of the last records, the oldest first."""
        head = self.head()
        own = self._ring(head.own, OWN, HEAD_BYTES)
        kernels = self._ring(head.kernels, KERNELS, HEAD_BYTES + OWN * RECORD.itemsize)
        both = np.concatenate([own, kernels])
        return both[np.argsort(both["count"], kind="stable")]

    def _ring(self, written: int, capacity: int, offset: int) -> Records:
        ring = np.frombuffer(self._memory, RECORD, capacity, offset)
        first = written % capacity if written > capacity else 0
        return np.concatenate([ring[first:], ring[:first]])[: min(written, capacity)]
