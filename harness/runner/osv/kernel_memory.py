"""Reads a stopped guest of OSv: registers, strings, whose its threads are, and whether it is in abort().

Source: OSv's runtime.cc (abort), include/osv/app.hh, include/osv/sched.hh; libstdc++'s basic_string.
"""

import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from harness.core.text import printable
from harness.kernels.symbols import Symbols
from harness.vm.gdb_remote import GdbRemote

ABORTING, ABORT_MESSAGE, CURRENT_THREAD = "_ZL8aborting", "_ZZ5abortPKczE3msg", "_ZN5sched9s_currentE"
LONGEST_MESSAGE = 1024  # bytes, the size of abort()'s buffer
LONGEST_PATH = 4096
STACK_BYTES = 8192  # of a stack that are kept
APPLICATION_BYTES = 320  # of an application that are searched; it has 312
RUNTIME_OFFSETS: dict[Path, int] = {}
"""Where a thread has the address of its program's runtime, of each kernel file for which this process knows it."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The program that a thread belongs to: the address of its `application`, and its path if it was asked for."""

    address: int
    path: str = ""


@dataclass(frozen=True, slots=True)
class Registers:
    """The debug stub's numbers of registers.

    These are the program counter, the stack pointer, the first six arguments, the return value, the link register
    (None if the return address is on the stack) and the frame pointer; the thread pointer, at an offset of the
    stub's answer to `g` or by a system register's name; and CR2, at such an offset. `thread_bytes` is how much of
    a sched::thread is searched.
    """

    pc: int
    stack: int
    arguments: tuple[int, ...]
    result: int
    link: int | None
    thread: int | str
    frame: int
    thread_bytes: int
    fault_address: int | None = None


# Source: the register order of the gdb target descriptions i386:x86-64 and aarch64; arch/aarch64/arch-switch.hh.
REGISTERS = {
    "x86_64": Registers(
        pc=16, stack=7, arguments=(5, 4, 3, 2, 8, 9), result=0, link=None, thread=164, frame=6,
        thread_bytes=24 << 10, fault_address=196,  # of 20928 bytes of HEAD's threads
    ),
    "aarch64": Registers(
        pc=32, stack=31, arguments=(0, 1, 2, 3, 4, 5), result=0, link=30, thread="TPIDR_EL1", frame=29,
        thread_bytes=72 << 10,  # of 66016 bytes
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stack:
    """A copy of a stack, because later exceptions may overwrite it: its stack and frame pointers, its content, and
    the address of the last page fault, if known."""

    pointer: int
    frame: int
    content: bytes
    fault_address: int | None = None

    def read(self, address: int, length: int) -> bytes:
        """Return `length` bytes of it; fewer at its end."""
        start = address - self.pointer
        return self.content[start : start + length] if start >= 0 else b""


class KernelMemory:
    """Reads one guest through its debug stub while it is stopped. Raises `HypervisorError` if the guest is
    gone."""

    def __init__(self, gdb: GdbRemote, symbols: Symbols, arch: str) -> None:
        self._gdb = gdb
        self._symbols = symbols
        self._registers = REGISTERS[arch]
        self._path_offset: int | None = None

    def number(self, register: int) -> int:
        """The C int in a register."""
        return signed(self._gdb.register(register))

    def stack(self) -> Stack:
        """The stack of the stopped vCPU."""
        register, where = self._gdb.register, self._registers
        fault = None if where.fault_address is None else self._gdb.field(where.fault_address, 8)
        pointer = register(where.stack)
        return Stack(pointer, register(where.frame), self._gdb.read(pointer, STACK_BYTES), fault)

    def stack_bytes(self, length: int) -> bytes:
        """As much of the stopped vCPU's stack, from its pointer on."""
        return self._gdb.read(self._gdb.register(self._registers.stack), length)

    def word(self, address: int) -> int:
        """The eight bytes at an address; 0 if they can't be read."""
        return int.from_bytes(self._gdb.read(address, 8), "little")

    def text(self, address: int) -> str | None:
        """A C string of the guest, made safe; None if it can't be read."""
        data = self._gdb.read(address, LONGEST_MESSAGE)
        return printable(data.partition(b"\0")[0].rstrip(b"\n")) if data else None

    def string(self, address: int) -> str:
        """A std::string of the guest, made safe; empty if there is none at the address.

        Source: libstdc++, basic_string: a pointer to the bytes, their number, and 16 bytes for a short string or
        else its capacity.
        """
        words = self._gdb.read(address, 24)
        if len(words) < 24:
            return ""
        start, length, room = (int.from_bytes(words[at : at + 8], "little") for at in (0, 8, 16))
        if not 0 < length <= LONGEST_PATH or (start != address + 16 and not length <= room <= 2 * LONGEST_PATH):
            return ""
        data = self._gdb.read(start, length)
        return printable(data) if len(data) == length and 0 not in data else ""

    def path_of(self, application: int) -> str:
        """The path of an `application`: the first std::string in it; empty if there is none.

        Source: OSv's include/osv/app.hh, `_command` after members that are no strings.
        """
        offsets = range(0, APPLICATION_BYTES, 8) if self._path_offset is None else (self._path_offset,)
        for offset in offsets if application else ():
            if path := self.string(application + offset):
                self._path_offset = offset
                return path
        return ""

    def return_address(self) -> int:
        """The return address of the function at whose entry the guest has stopped."""
        link, stack = self._registers.link, self._registers.stack
        return self._gdb.register(link) if link is not None else self.word(self._gdb.register(stack))

    def count(self, name: str) -> int:
        """The low four bytes of the variable with that mangled name, as a number; 0 if there is none."""
        variable = self._symbols.data(name)
        return int.from_bytes(self._gdb.read(variable.address, 4), "little") if variable else 0

    def end_of_ring(self, name: str, stop: int, length: int) -> bytes:
        """The last `length` bytes of the ring of bytes with that name, whose next byte goes to index `stop`."""
        ring = self._symbols.data(name)
        if ring is None:
            return b""
        before = self._gdb.read(ring.address + ring.size - length, length) if stop < length else b""
        return (before + self._gdb.read(ring.address + max(stop - length, 0), min(stop, length)))[-length:]

    def application_of_thread(self, known: Collection[int]) -> Owner | None:
        """Whose the stopped thread is, without a path if it is one of the `known` applications.

        None if it is no program's. One of the thread's fields, `_app_runtime`, points to a structure that begins
        with the address of its `application`, which has a pointer to that structure in turn.
        """
        offset, where = self._symbols.thread_offset(CURRENT_THREAD), self._registers
        pointer = where.thread
        base = self._gdb.named_register(pointer) if isinstance(pointer, str) else self._gdb.field(pointer, 8)
        if offset is None or not base:
            return None
        thread, noted = self.word(base + offset), RUNTIME_OFFSETS.get(self._symbols.elf)
        start, length = (0, where.thread_bytes) if noted is None else (noted, 8)
        fields = list(enumerate(words_of(self._gdb.read(thread + start, length))))
        for at, runtime in reversed(fields):  # it is one of the last
            application = self.word(runtime) if _may_point(runtime) else 0
            if _may_point(application) and runtime in words_of(self._gdb.read(application, APPLICATION_BYTES)):
                path = "" if application in known else self.path_of(application)
                if application in known or path:  # lists are such circles, too
                    RUNTIME_OFFSETS[self._symbols.elf] = start + 8 * at
                    return Owner(application, path)
        return None

    def aborts(self) -> bool:
        """Whether the kernel is in abort()."""
        flag = self._symbols.data(ABORTING)
        return flag is not None and any(self._gdb.read(flag.address, 1))

    def abort_message(self) -> str | None:
        """The message of abort() so far; None if it can't be read."""
        message = self._symbols.data(ABORT_MESSAGE)
        return self.text(message.address) if message else None


def signed(value: int) -> int:
    """The C int in the low half of a register or in a longer number."""
    low = value & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low


def words_of(data: bytes) -> list[int]:
    """The words of eight bytes that memory has."""
    return [word for (word,) in struct.iter_unpack("<Q", data[: len(data) & ~7])]


def _may_point(word: int) -> bool:
    """Whether a word may be the address of an object on OSv's heap."""
    return bool(word >> 40) and not word & 7
