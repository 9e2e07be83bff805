"""Finds the exception of which a guest of OSv died, from its stack.

The kernel keeps frame pointers, so the chain of return addresses is known within its own code: from abort() to the
handler of the exception. The handler is called by an entry in assembly, which has stored all registers on the
stack: OSv's `exception_frame`. On x86_64 that is behind the return address into the entry. On AArch64 it is the
first place behind it with the syndrome of an exception, the exception level and a code address. Source: OSv's
arch/x64/entry.S and exceptions.hh, arch/aarch64/entry.S and exceptions.hh; Intel SDM, volume 3, 6.13; Arm ARM,
D17.2.37 (ESR_EL1).
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.kernels.symbols import Symbols
from harness.runner.osv.kernel_memory import Stack
from harness.vm.gdb_remote import GdbRemote

MOST_FRAMES = 64
ABORT = "_Z5abortPKcz"
ENTRIES = {
    "ex_pf": "page_fault", "ex_gp": "general_protection", "ex_ud": "invalid_opcode", "ex_de": "divide_error",
    "ex_ac": "alignment_check", "ex_mf": "math_fault", "ex_xm": "simd_exception", "ex_ss": "stack_fault",
}  # fmt: skip
"""Entries of x86_64, and the handlers that they call."""

FRAME_AFTER = 16  # bytes from the return address to x86_64's frame
FRAME_BYTES, PROGRAM_COUNTER, STACK_POINTER = 21 * 8, 16 * 8, 19 * 8
HANDLER_BYTES = 2048  # of AArch64's stack from a handler's frame to the exception's
PAGE_FAULT = "page fault"
CLASSES = {
    0x00: "unknown instruction", 0x0E: "illegal execution state", 0x20: PAGE_FAULT, 0x21: PAGE_FAULT,
    0x22: "misaligned program counter", 0x24: PAGE_FAULT, 0x25: PAGE_FAULT, 0x26: "misaligned stack pointer",
    0x2C: "floating-point exception", 0x3C: "breakpoint instruction",
}  # fmt: skip
"""Exception classes of AArch64 that an instruction of a program can cause."""

AARCH64_CALLS = tuple(
    (f"entry_curr_el_sp{stack}_sync", handler)
    for stack in ("0", "x")
    for handler in ("page_fault", "handle_unexpected_exception")
)
"""Callers and callees by which AArch64's entries pass a frame to a handler."""

AARCH64_FRAME = struct.Struct("<31Q Q Q Q I I Q")
LONG = 1 << 25  # of a syndrome: the instruction has 32 bits, as all of A64 have
MODES = (0b0100, 0b0101)  # SPSR's mode: EL1, with either stack


@dataclass(frozen=True, slots=True)
class Fault:
    """The exception: its kind, the address of the instruction, the memory address that it concerned (None if there
    is none or it is unknown) and, for a call to a bad address, the caller."""

    kind: str
    pc: int
    address: int | None = None
    caller: int | None = None


def fault_of(
    gdb: GdbRemote, symbols: Symbols, arch: str, stack: Stack, is_code: Callable[[int], bool]
) -> Fault | None:
    """The exception whose handler called what is at `stack`; None if that is in no handler. Raises
    `HypervisorError` if the guest is gone."""
    chain = list(returns(stack))
    in_abort = [at for at, (back, _) in enumerate(chain) if (found := symbols.at(back)) and found.name == ABORT]
    find = _on_x86 if arch == "x86_64" else _on_aarch64
    for back, where in chain[in_abort[-1] if in_abort else 0 :]:  # an abort may meet a fault of its own
        if fault := find(gdb, symbols, back, where, stack, is_code):
            return fault
    return None


def returns(stack: Stack) -> Iterator[tuple[int, int]]:
    """Return addresses and their places on the stack, along the chain of frame pointers, the innermost first."""
    frame = stack.frame
    for _ in range(MOST_FRAMES):
        words = stack.read(frame, 16)
        if len(words) < 16:
            return
        outer, back = struct.unpack("<QQ", words)
        yield back, frame + 8
        if outer <= frame:  # it is the program's, or another stack's
            return
        frame = outer


def _on_x86(
    gdb: GdbRemote, symbols: Symbols, back: int, where: int, stack: Stack, is_code: Callable[[int], bool]
) -> Fault | None:
    handler = next(
        (handler for entry, handler in ENTRIES.items() if back in symbols.returns_of_calls(entry, handler)), None
    )
    frame = stack.read(where + FRAME_AFTER, FRAME_BYTES) if handler else b""
    if handler is None or len(frame) < FRAME_BYTES:
        return None
    (pc,) = struct.unpack_from("<Q", frame, PROGRAM_COUNTER)
    (pointer,) = struct.unpack_from("<Q", frame, STACK_POINTER)
    above = 0 if is_code(pc) else int.from_bytes(gdb.read(pointer, 8), "little")
    address = stack.fault_address if handler == "page_fault" else None
    return Fault(handler.replace("_", " "), pc, address, above if is_code(above) else None)


def _on_aarch64(
    gdb: GdbRemote, symbols: Symbols, back: int, where: int, stack: Stack, is_code: Callable[[int], bool]
) -> Fault | None:
    if not any(back in symbols.returns_of_calls(*call) for call in AARCH64_CALLS):
        return None
    data = stack.read(where, HANDLER_BYTES)
    for at in range(0, len(data) - AARCH64_FRAME.size + 1, 8):
        *registers, pointer, pc, state, syndrome, _, address = AARCH64_FRAME.unpack_from(data, at)
        kind = CLASSES.get(syndrome >> 26)
        if kind is None or not syndrome & LONG or state >> 32 or state & 0xF not in MODES or pointer % 16:
            continue
        if is_code(pc):
            return Fault(kind, pc, address if kind == PAGE_FAULT else None)
        if kind == PAGE_FAULT and is_code(registers[30]):
            return Fault(kind, pc, address, registers[30])
    return None
