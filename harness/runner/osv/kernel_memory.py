"""Reads a stopped guest of OSv: registers, strings, whose its threads are, and whether it is in abort().

Source: OSv's runtime.cc (abort), include/osv/app.hh, include/osv/sched.hh; libstdc++'s basic_string.
"""

from collections.abc import Collection
from dataclasses import dataclass

from harness.core.text import printable
from harness.kernels.symbols import Symbols
from harness.vm.gdb_remote import GdbRemote

ABORTING, ABORT_MESSAGE, CURRENT_THREAD = "_ZL8aborting", "_ZZ5abortPKczE3msg", "_ZN5sched9s_currentE"
LONGEST_MESSAGE = 1024  # bytes, the size of abort()'s buffer
LONGEST_PATH = 4096
STACK_BYTES = 8192  # of a stack that are kept
THREAD_BYTES = 24576  # of a sched::thread that are searched; it has 20928 on x86_64
APPLICATION_BYTES = 256  # of an application that are searched


@dataclass(frozen=True, slots=True)
class Registers:
    """The debug stub's numbers of registers.

    These are the program counter, the stack pointer, the first six arguments, the return value, the link register
    (None if the return address is on the stack) and the frame pointer; the thread pointer, at an offset of the
    stub's answer to `g` or by a system register's name; and CR2, at such an offset.
    """

    pc: int
    stack: int
    arguments: tuple[int, ...]
    result: int
    link: int | None
    thread: int | str
    frame: int
    fault_address: int | None = None


# Source: the register order of the gdb target descriptions i386:x86-64 and aarch64; arch/aarch64/arch-switch.hh.
REGISTERS = {
    "x86_64": Registers(
        pc=16, stack=7, arguments=(5, 4, 3, 2, 8, 9), result=0, link=None, thread=164, frame=6, fault_address=196
    ),
    "aarch64": Registers(
        pc=32, stack=31, arguments=(0, 1, 2, 3, 4, 5), result=0, link=30, thread="TPIDR_EL1", frame=29
    ),
}


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
        value = self._gdb.register(register) & 0xFFFFFFFF
        return value - (1 << 32) if value >> 31 else value

    def stack(self) -> Stack:
        """The stack of the stopped vCPU."""
        register, where = self._gdb.register, self._registers
        fault = None if where.fault_address is None else self._gdb.field(where.fault_address, 8)
        pointer = register(where.stack)
        return Stack(pointer, register(where.frame), self._gdb.read(pointer, STACK_BYTES), fault)

    def _word(self, address: int) -> int:
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
        return self._gdb.register(link) if link is not None else self._word(self._gdb.register(stack))

    def application_of_thread(self, known: Collection[int]) -> str | None:
        """Whose the stopped thread is: empty if it belongs to one of the `known` applications, else its path.

        None if it is unknown. One of the thread's fields, `_app_runtime`, points to a structure that begins with
        the address of its `application`.
        """
        offset, where = self._symbols.thread_offset(CURRENT_THREAD), self._registers.thread
        base = self._gdb.named_register(where) if isinstance(where, str) else self._gdb.field(where, 8)
        if offset is None or not base:
            return None
        fields = self._gdb.read(self._word(base + offset), THREAD_BYTES)
        for start in range(0, len(fields) - 7, 8):
            pointer = int.from_bytes(fields[start : start + 8], "little")
            application = self._word(pointer) if _may_point(pointer) else 0
            if application in known:
                return ""
            if path := self.path_of(application) if _may_point(application) else "":
                return path
        return None

    def aborts(self) -> bool:
        """Whether the kernel is in abort()."""
        flag = self._symbols.data(ABORTING)
        return flag is not None and any(self._gdb.read(flag.address, 1))

    def abort_message(self) -> str | None:
        """The message of abort() so far; None if it can't be read."""
        message = self._symbols.data(ABORT_MESSAGE)
        return self.text(message.address) if message else None


def _may_point(word: int) -> bool:
    """Whether a word may be the address of an object on OSv's heap."""
    return bool(word >> 40) and not word & 7
