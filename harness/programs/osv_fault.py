"""Where a guest of OSv that died met the exception that it died of, read from its stack.

An exception handler's caller, the entry in assembly, has put all registers on the stack: OSv's `exception_frame`.
On x86_64 the return address into that entry stands below the frame and leads to it. On AArch64 the frame is known
by its syndrome, its exception level and its address of code.

Source: OSv's arch/x64/entry.S and exceptions.hh, arch/aarch64/entry.S and exceptions.hh; Intel SDM, volume 3, 6.13;
Arm ARM, D17.2.37 (ESR_EL1).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from harness.exit_tracer import REGISTERS
from harness.hypervisors._gdb import GdbRemote
from harness.symbols import Symbols

STACK_BYTES = 16384 + 4096  # of an exception's stack and what its handlers use
ENTRIES = {
    "ex_pf": "page_fault", "ex_gp": "general_protection", "ex_ud": "invalid_opcode", "ex_de": "divide_error",
    "ex_ac": "alignment_check", "ex_mf": "math_fault", "ex_xm": "simd_exception", "ex_ss": "stack_fault",
}  # fmt: skip
"""Entries of x86_64 to the handlers that they call."""

FRAME_AFTER = 16  # bytes from the return address to the frame
PROGRAM_COUNTER, STACK_POINTER = 16 * 8, 19 * 8  # in x86_64's frame
FAULT_ADDRESS = 196
"""Where CR2 is in the stub's answer to `g` on x86_64. Source: QEMU's gdb-xml/i386-64bit.xml."""

ABORTS = {0x20: "page fault", 0x21: "page fault", 0x24: "page fault", 0x25: "page fault", 0x0: "invalid_opcode"}
"""Exception classes of AArch64."""

AARCH64_FRAME = struct.Struct("<31Q Q Q Q I I Q")
EL1, MODE = 0b0101, 0xF  # SPSR's mode: EL1 with its own stack


@dataclass(frozen=True, slots=True)
class Fault:
    """The exception: what kind it is, the address of the instruction, that of the memory it was about (None where
    it is about none or it is not known), and where it had been called from (of a call that led nowhere)."""

    kind: str
    pc: int
    address: int | None = None
    caller: int | None = None


def fault_of(gdb: GdbRemote, symbols: Symbols, arch: str, is_code: Callable[[int], bool]) -> Fault | None:
    """The exception that the standing vCPU handles, the innermost one that began in code; None if it handles none.

    Raises `HypervisorError` if the guest is gone.
    """
    stack = gdb.register(REGISTERS[arch].stack)
    words = gdb.read(stack, STACK_BYTES)
    return _on_x86(gdb, symbols, words) if arch == "x86_64" else _on_aarch64(words, is_code)


def _on_x86(gdb: GdbRemote, symbols: Symbols, stack: bytes) -> Fault | None:
    returns = {
        back: handler for entry, handler in ENTRIES.items() for back in symbols.returns_of_calls(entry, handler)
    }  # fmt: skip
    for at in range(0, len(stack) - FRAME_AFTER - STACK_POINTER - 8, 8):
        (word,) = struct.unpack_from("<Q", stack, at)
        if word not in returns:
            continue
        frame = at + FRAME_AFTER
        (pc,) = struct.unpack_from("<Q", stack, frame + PROGRAM_COUNTER)
        if returns[word] != "page_fault":
            return Fault(returns[word].replace("_", " "), pc)
        (pointer,) = struct.unpack_from("<Q", stack, frame + STACK_POINTER)
        address = gdb.field(FAULT_ADDRESS, 8)
        if (
            struct.pack("<Q", address) not in stack[:frame]
        ):  # of another fault meanwhile: its handlers never had it
            address = None
        caller = None if pc else int.from_bytes(gdb.read(pointer, 8), "little")
        return Fault("page fault", pc, address, caller)
    return None


def _on_aarch64(stack: bytes, is_code: Callable[[int], bool]) -> Fault | None:
    for at in range(0, len(stack) - AARCH64_FRAME.size + 1, 8):
        *registers, _, pc, state, syndrome, _, address = AARCH64_FRAME.unpack_from(stack, at)
        kind = ABORTS.get(syndrome >> 26)
        if kind is None or not syndrome or state >> 32 or state & MODE not in (EL1, EL1 - 1):
            continue
        if not pc and is_code(registers[30]):
            return Fault(kind, pc, address, registers[30])
        if is_code(pc):
            return Fault(kind, pc, address if "page" in kind else None)
    return None
