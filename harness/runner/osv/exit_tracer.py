"""Traces how programs ended, in the kernel itself and not on the console.

`exit_checkpoints` says where a guest is stopped for it, and when. A program belongs to the command line, or to
/init, if the main thread waits for it, which the stack pointer shows. Its status is what `join` returns to the
main thread. Checkpoints without a breakpoint are in `refused`; the kernel's memory is read instead: `abort` leaves
a flag and its message there.
"""

from collections.abc import Iterable

from harness.core.errors import HypervisorError
from harness.kernels.symbols import Symbols
from harness.runner.osv.exit_checkpoints import (
    BEFORE_BOOT,
    ESSENTIAL,
    FUNCTIONS,
    HELPFUL,
    JOIN,
    MAIN_THREAD,
    Checkpoint,
    ExitCaller,
    TracedProgram,
)
from harness.runner.osv.exit_record import ExitRecord
from harness.runner.osv.kernel_memory import REGISTERS, KernelMemory, Stack
from harness.vm.gdb_remote import GdbRemote

LONGEST_INSTRUCTION = 15  # bytes; the first of a function that is watched is no jump
MAIN_STACK = 512 << 10  # bytes of the main thread's stack that it uses at most at the places above


class ExitTracer(ExitRecord):
    """Watches one guest through its debug socket.

    `stack` is the main thread's stack pointer if the guest is about to read its command, as clones of a booted
    guest are. `joining` is whether the main thread waits for a program already, as in clones of a ready guest.
    With `only_death` it stops the guest only at `halt`: what other vCPUs do while one stands at a breakpoint
    depends on the host. Source: QEMU, accel/tcg/tcg-accel-ops-rr.c.
    Raises `HypervisorError` if the stub does not answer.
    """

    def __init__(
        self, gdb: GdbRemote, symbols: Symbols, arch: str, stack: int = 0, joining: bool = False,
        only_death: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self._gdb = gdb
        self._symbols = symbols
        self._registers = REGISTERS[arch]
        self._memory = KernelMemory(gdb, symbols, arch)
        self._armed: dict[int, Checkpoint] = {}
        self._returning: set[tuple[int, int]] = set()
        """Checkpoints that were handled and could not be stepped over yet, with the stack pointer of each."""
        self._standing = False
        self.stack = stack
        self._main_runs = bool(stack) or joining or only_death
        self.only_death = only_death
        if only_death:
            self._arm(Checkpoint.HALT)
        elif self._main_runs:
            self._arm_rest()
        else:
            self._arm_all(BEFORE_BOOT)
        if joining:
            for address in symbols.returns_of_calls(MAIN_THREAD, JOIN):
                self._set(Checkpoint.JOINED, address)

    def fileno(self) -> int:
        """Readable when the guest has stopped at a checkpoint."""
        return self._gdb.fileno()

    @property
    def complete(self) -> bool:
        """Whether everything that a verdict needs is traced, or will be once the main thread runs."""
        wanted = ESSENTIAL if self._main_runs else (Checkpoint.MAIN,)
        return not self.only_death and not self.lost and not any(point in self.refused for point in wanted)

    def start(self) -> None:
        """Let the guest run for the first time."""
        self._gdb.resume()

    def take(self) -> bool:
        """Handle the checkpoint at which the guest has stopped, and let it run on; False when no more will come.

        At `halt` the guest stays stopped: its registers are those of its death.
        """
        stopped = self._gdb.take_stop()
        if not stopped:
            return stopped is None
        try:
            return self._pass()
        except HypervisorError:  # it ended as it stopped
            return False

    def hold(self) -> GdbRemote:
        """Stop the guest if it runs, and return its stub. Raises `HypervisorError` if the guest is gone."""
        if not self._standing:
            self._gdb.interrupt()
            self._standing = True
        return self._gdb

    def stack_now(self) -> Stack:
        """The stack of the stopped vCPU. Raises `HypervisorError` if the guest is gone."""
        return self._memory.stack()

    def look(self) -> None:
        """Look for what no checkpoint shows; called about once a second. Breakpoints show all."""

    def examine(self) -> None:
        """Stop the guest if it runs, and check whether it is in abort(), for which a breakpoint may have been
        refused."""
        if Checkpoint.ABORT in self.refused or self.aborted:
            try:
                self.hold()
                self._read_abort()
            except HypervisorError:
                return

    def _pass(self) -> bool:
        """Handle the checkpoint and let the guest run on; returns whether more will come."""
        address = self._gdb.register(self._registers.pc)
        point = self._armed.get(address)
        match point:
            case None:
                self._pass_other(address)
            case Checkpoint.HALT:
                self._note(point)
                self._standing = True
                self._read_abort()
                return False
            case Checkpoint.CREATED | Checkpoint.JOIN:
                if not self._note_program(point, address):
                    return False
            case _:
                self._note(point)
                self._disarm(address)
                self._learn(point)
        self._gdb.resume()
        return True

    def _note(self, point: Checkpoint) -> None:
        if point not in self.passed:
            self.passed.append(point)

    def _learn(self, point: Checkpoint) -> None:
        """Record what the checkpoint shows."""
        registers = self._registers
        if point is Checkpoint.MAIN:
            self.stack = self._gdb.register(registers.stack)
            self._main_runs = True
            self._arm_rest()
        elif point is Checkpoint.JOINED:
            self._program(self.awaited).status = self._memory.number(registers.result)
            self.awaited = 0
            self._watch_main()
        elif point is Checkpoint.EXIT:
            self.exit_status = self._memory.number(registers.arguments[0])
            self.exit_caller = self._who_exits()
        elif point is Checkpoint.POWEROFF:
            # A call that does not return may be the last word of its function.
            caller = self._symbols.at(self._memory.return_address() - 1)
            self.poweroff_caller = caller.name if caller else "?"
        elif point is Checkpoint.ABORT:
            self.abort_arguments = tuple(self._gdb.register(number) for number in registers.arguments)
            self.abort_message = self._memory.text(self.abort_arguments[0])
            self.stack_at_abort = self._memory.stack()

    def _note_program(self, point: Checkpoint, address: int) -> bool:
        """Record that a program is created or waited for; False if the guest ended meanwhile."""
        application, path = (self._gdb.register(number) for number in self._registers.arguments[:2])
        stack = self._gdb.register(self._registers.stack)
        if (address, stack) in self._returning:
            return self._step_over(address)
        mine = self.stack - MAIN_STACK < stack <= self.stack
        if point is Checkpoint.CREATED:
            if mine:
                self.programs.append(TracedProgram(application, self._memory.string(path)))
            else:
                self._note_other(application, self._memory.string(path))
        elif mine:
            self.awaited = application
            self._program(application)
            self._disarm(address)
            self._await_return(self._memory.return_address())
            return True
        return self._step_over(address)

    def _note_other(self, application: int, path: str) -> None:
        """Record a program that another thread makes."""
        self.nested.append(path)

    def _step_over(self, address: int) -> bool:
        """Let the vCPU at a checkpoint pass it, and set the breakpoint again; False if the guest ended.

        Under KVM an interrupt may come first, on AArch64 in a third of the steps: the vCPU is then in its handler,
        and will return to the checkpoint with the same stack pointer, for the same call.
        """
        point, noted = self._armed[address], (address, self._gdb.register(self._registers.stack))
        self._disarm(address)
        if not self._gdb.step():
            return False
        if address < self._gdb.register(self._registers.pc) <= address + LONGEST_INSTRUCTION:
            self._returning.discard(noted)
        else:
            self._returning.add(noted)
        self._set(point, address)
        return True

    def _program(self, application: int) -> TracedProgram:
        """The program with that address that has no status yet; a new one if it is not known."""
        for program in self.programs:
            if program.application == application and program.status is None:
                return program
        self.programs.append(TracedProgram(application, self._memory.path_of(application)))
        return self.programs[-1]

    def _who_exits(self) -> ExitCaller:
        """Whose thread calls exit(): a program of the main thread, if no other was created; otherwise the thread's
        data tell."""
        if not self.nested and Checkpoint.CREATED not in self.refused:
            return ExitCaller.OWN
        return self._owner_of_thread()

    def _owner_of_thread(self) -> ExitCaller:
        """Whose the stopped thread is, by its data."""
        found = self._memory.application_of_thread({program.application for program in self.programs})
        if found is None:
            return ExitCaller.UNKNOWN
        self.exit_path = found.path
        return ExitCaller.NESTED if found.path else ExitCaller.OWN

    def _read_abort(self) -> None:
        """Find in the kernel's memory whether it is in abort(), and with which message."""
        if self._memory.aborts():
            self._note(Checkpoint.ABORT)
        words = self._memory.abort_message() if self.aborted else None
        if words or (self.halted and words is not None):  # at the latest then the message is complete
            self.abort_message = words

    def _arm_rest(self) -> None:
        """Set the breakpoints that could not be set before the main thread ran, and further ones while there are
        any left."""
        self._arm_all(point for point in (*ESSENTIAL, *HELPFUL) if not self._watches(point))

    def _watch_main(self) -> None:
        """Watch what the main thread does next, which waits for no program any more."""
        self._arm(Checkpoint.JOIN)

    def _await_return(self, back: int) -> None:
        """Watch for the end of the main thread's wait; the guest is at the entry of `join`, which returns to
        `back`."""
        self._set(Checkpoint.JOINED, back)

    def _pass_other(self, address: int) -> None:
        """Handle a stop at an address that is no checkpoint's."""

    def _watches(self, point: Checkpoint) -> bool:
        return point in self.passed or point in self._armed.values()

    def _arm_all(self, points: Iterable[Checkpoint]) -> None:
        for point in points:
            self._arm(point)

    def _arm(self, point: Checkpoint) -> None:
        """Set a breakpoint at a checkpoint, or record that it is impossible."""
        function = self._symbols.find(FUNCTIONS[point]) or self._symbols.beginning_with(FUNCTIONS[point])
        done = function is not None and self._set(point, function.address)
        if done and point in self.refused:
            self.refused.remove(point)
        elif not done and point not in self.refused:
            self.refused.append(point)

    def _set(self, point: Checkpoint, address: int) -> bool:
        if done := self._gdb.set_breakpoint(address):
            self._armed[address] = point
        return done

    def _disarm_all(self, *points: Checkpoint) -> None:
        for address in [address for address, point in self._armed.items() if point in points]:
            self._disarm(address)

    def _disarm(self, address: int) -> None:
        del self._armed[address]
        self._gdb.clear_breakpoint(address)
