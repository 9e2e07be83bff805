"""The kernel's own word on how a program ended, taken where the kernel keeps it and not from the console.

A breakpoint of the hypervisor's debug stub stands at each place through which OSv must go: the return of
the main thread's join of the program it was told to run (its status is in the return register), exit()
(its argument), poweroff(), halt() and abort() (its argument is a format of what the kernel dies of). Programs
that a test runs itself do not pass the first of these, so their statuses can't be taken for its own, and nothing
a guest prints can look like one.

Source: OSv's loader.cc (do_main_thread), core/app.cc (application::join), runtime.cc (exit, abort), core/power.cc.
"""

from dataclasses import dataclass
from enum import StrEnum

from harness.console.transcript import printable
from harness.errors import HypervisorError
from harness.hypervisors._gdb import GdbRemote
from harness.symbols import Symbols


class Point(StrEnum):
    """A place that the kernel was seen to pass."""

    RETURNED = "returned"
    EXITED = "exited"
    POWEROFF = "poweroff"
    HALT = "halt"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Registers:
    """The debug stub's numbers for the program counter, the first argument and the return value."""

    pc: int
    argument: int
    result: int


# Source: the register order of the gdb target descriptions i386:x86-64 and aarch64.
REGISTERS = {"x86_64": Registers(pc=16, argument=5, result=0), "aarch64": Registers(pc=32, argument=0, result=0)}
FUNCTIONS = {
    Point.EXITED: "exit",
    Point.POWEROFF: "_ZN3osv8poweroffEv",
    Point.HALT: "_ZN3osv4haltEv",
    Point.ABORT: "_Z5abortPKcz",  # the last, for hardware has four breakpoints
}
LONGEST_WORDS = 200
MAIN_THREAD, JOIN = "_Z14do_main_threadPv", "_ZN3osv11application4joinEv"


class Witness:
    """Watches one guest through its debug socket. Each place is watched until it is first passed."""

    def __init__(self, gdb: GdbRemote, symbols: Symbols, arch: str) -> None:
        self._gdb = gdb
        self._registers = REGISTERS[arch]
        self._places: dict[int, Point] = {}
        self.passed: list[Point] = []
        self.status: int | None = None
        self.last_words = ""
        self._set_breakpoints(symbols)

    def fileno(self) -> int:
        """Readable when the guest stands at one of the places."""
        return self._gdb.fileno()

    @property
    def watches_status(self) -> bool:
        """Whether this kernel has the places that tell a program's status."""
        return Point.RETURNED in self._places.values() or self.status is not None

    @property
    def halted(self) -> bool:
        """Whether the kernel gave up: the guest stands at the entry of halt()."""
        return Point.HALT in self.passed

    @property
    def dead(self) -> bool:
        """Whether the kernel gave up or is about to: abort() does not return, though it may not reach halt()."""
        return self.halted or Point.ABORT in self.passed

    def take(self) -> bool:
        """Note the place at which the guest stands, and let it run on; False when nothing more will come.

        At `halt` the guest is left standing, for its registers are then those of its death.
        """
        stopped = self._gdb.take_stop()
        if not stopped:
            return stopped is None
        try:
            return self._pass()
        except HypervisorError:  # it ended as it stopped
            return False

    def _pass(self) -> bool:
        """Note the place and let the guest run on; whether more will come."""
        address = self._gdb.register(self._registers.pc)
        point = self._places.pop(address, None)
        if point is not None:
            self.passed.append(point)
            self._note(point)
            if point is Point.HALT:
                return False
            self._gdb.clear_breakpoint(address)
        self._gdb.resume()
        return True

    def start(self) -> None:
        """Let the guest run for the first time."""
        self._gdb.resume()

    def _note(self, point: Point) -> None:
        if point is Point.ABORT:
            words = self._gdb.read(self._gdb.register(self._registers.argument), LONGEST_WORDS)
            self.last_words = printable(words.partition(b"\0")[0].rstrip(b"\n"))
        if self.status is not None:
            return
        if point is Point.RETURNED:
            self.status = _signed(self._gdb.register(self._registers.result))
        elif point is Point.EXITED:
            self.status = _signed(self._gdb.register(self._registers.argument))

    def _set_breakpoints(self, symbols: Symbols) -> None:
        wanted = [(address, Point.RETURNED) for address in symbols.returns_of_calls(MAIN_THREAD, JOIN)]
        functions = ((symbols.find(name), point) for point, name in FUNCTIONS.items())
        wanted += [(function.address, point) for function, point in functions if function]
        for address, point in wanted:
            if self._gdb.set_breakpoint(address):
                self._places[address] = point


def _signed(register: int) -> int:
    """A C int out of a register."""
    value = register & 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def watch(gdb: GdbRemote, symbols: Symbols, arch: str) -> Witness | None:
    """A witness for the guest, or None where its kernel or hypervisor offers nothing to watch."""
    try:
        witness = Witness(gdb, symbols, arch)
    except HypervisorError:
        return None
    return witness if witness.watches_status else None
