"""Traces how programs ended under TCG, where breakpoints are expensive: by the data that OSv writes on its way.

As soon as a guest has a breakpoint, TCG looks for one at each jump, which takes a fifth of a program's speed; and
it runs code beside one an instruction at a time. A watchpoint costs only what touches the same page of data. So
while the main thread waits for a program there are no breakpoints, and this is watched instead:

- the flag of `abort`, and the message that it writes next;
- the end of the kernel's log, to which `exit`, `shutdown` and an uncaught signal write before they power off;
- `__libc_stack_end`, which each program sets as it begins;
- the return address of `join` on the main thread's stack, which is read when it returns.

Breakpoints tell the rest from there. Source: QEMU, accel/tcg/cpu-exec.c (check_for_breakpoints) and
accel/tcg/cputlb.c (TLB_WATCHPOINT); OSv's runtime.cc (abort, exit), core/shutdown.cc, core/debug.cc, core/app.cc
(application::main) and libc/signal.cc.
"""

import re
from time import monotonic

from harness.core.errors import HypervisorError
from harness.kernels.symbols import Symbols
from harness.runner.osv.exit_checkpoints import CLEAN_CALLER, FUNCTIONS, SIGNAL_CALLER, Checkpoint, ExitCaller
from harness.runner.osv.exit_tracer import ExitTracer
from harness.runner.osv.kernel_memory import ABORT_MESSAGE, ABORTING, signed, words_of
from harness.vm.gdb_remote import Access, GdbRemote, NoAnswer

LOG, LOG_END, PROGRAM_BEGINS = "debug_buffer", "debug_buffer_idx", "__libc_stack_end"
WATCHED = {ABORTING: 1, ABORT_MESSAGE: 1, LOG_END: 4, PROGRAM_BEGINS: 8}
"""What is watched for writes, and how many bytes of it."""
EXIT, LOGGERS = FUNCTIONS[Checkpoint.EXIT], {FUNCTIONS[Checkpoint.EXIT]: "debugf", CLEAN_CALLER: "debug"}
"""What `exit` and `shutdown` call to write to the kernel's log."""
ENDING = {*LOGGERS, SIGNAL_CALLER}
CALLS = 2048  # bytes of the stack in which the caller of a logger is found
FRAME = 256  # bytes of the stack, of abort() itself
STATUS, LAST_LINES = re.compile(rb"program exited with status (-?\d+)\n"), 1024  # bytes of the log
PROLOGUE = 8  # instructions within which AArch64's `join` has saved its return address
FIRST_LOOK, LOOK_AGAIN = 4.0, 8.0  # seconds
MOST_STOPS = 200
"""Stops that told nothing, after which breakpoints are the cheaper."""


def can_watch(symbols: Symbols) -> bool:
    """Whether the kernel has what is watched, and logs what it is expected to."""
    callers = LOGGERS | {SIGNAL_CALLER: "debugf"}
    logged = all(symbols.returns_of_calls(caller, logger) for caller, logger in callers.items())
    return logged and all(map(symbols.data, (LOG, *WATCHED)))


class WatchingTracer(ExitTracer):
    """An exit tracer of a kernel that `can_watch`."""

    def __init__(self, gdb: GdbRemote, symbols: Symbols, arch: str, stack: int = 0, joining: bool = False) -> None:
        self._watched: dict[int, str] = {}
        self._place, self._back = 0, 0  # where the return address of join is on the stack if watched, and itself
        self._made: set[int] = set()  # programs of other threads that were seen to be made and not yet to begin
        self._values: dict[str, int] = {}
        self._strangers = 0  # programs that began and whose they are is not known
        self._useless = 0  # stops
        self._next_look = monotonic() + FIRST_LOOK
        super().__init__(gdb, symbols, arch, stack, joining)
        if joining:
            self._watch_data()

    @property
    def watches_data(self) -> bool:
        """Whether data is watched now, and not functions."""
        return bool(self._watched)

    def look(self) -> None:
        """Now and then stop the guest, and see whether it died unseen: by a `halt` that nothing announced, or by
        an `abort` whose flag was set by an atomic access that QEMU did not tell of."""
        if not self.watches_data or self._standing or monotonic() < self._next_look:
            return
        self._next_look = monotonic() + LOOK_AGAIN
        try:
            self._gdb.interrupt()
        except HypervisorError:  # it has ended; or the host has stopped it, and it answers when it goes on
            return
        try:
            self._note_unseen()
            if not self.halted:
                self._pass()
        except NoAnswer:
            raise
        except HypervisorError:  # it has ended
            return

    def examine(self) -> None:
        super().examine()
        if self.watches_data and not self.dead:
            try:
                self.hold()
                self._pass_other(self._gdb.register(self._registers.pc))
                self._note_unseen()
            except HypervisorError:
                return

    def _note_unseen(self) -> None:
        """Note where it stands, and what an interruption at the same time kept QEMU from telling."""
        if self._gdb.accessed is None:
            if self._place and self._gdb.register(self._registers.pc) == self._back:
                self._pass_return(self._back)
            for name in (LOG_END, PROGRAM_BEGINS):
                if self._memory.count(name) != self._values[name]:
                    self._note_written(name)
        if any(self._is_in(Checkpoint.HALT, pc) for pc in self._gdb.of_each_vcpu(self._registers.pc)):
            self._note(Checkpoint.HALT)
            self._standing = True
            self._read_abort()
        elif self._memory.aborts() and not self.aborted:
            self._note_abort()

    def _is_in(self, point: Checkpoint, pc: int) -> bool:
        inside = self._symbols.at(pc)
        return inside is not None and inside.name == FUNCTIONS[point]

    def _await_return(self, back: int) -> None:
        self._place, self._back = self._place_of_return(back), back
        if not (self._place and self._gdb.set_watchpoint(Access.READ, self._place, 8)):
            super()._await_return(back)
        if not (self.dead or Checkpoint.EXIT in self.passed or self._useless >= MOST_STOPS):
            self._watch_data()

    def _watch_main(self) -> None:
        self._watch_code()

    def _watch_data(self) -> None:
        """Watch data in place of functions, if the stub can."""
        self._values = {name: self._memory.count(name) for name in (LOG_END, PROGRAM_BEGINS)}
        if all(map(self._watch, WATCHED)):
            self._disarm_all(*FUNCTIONS)
        else:
            self._watch_code()

    def _watch_code(self) -> None:
        """Watch functions in place of data."""
        self._unwatch(*WATCHED)
        self._arm_rest()

    def _watch(self, name: str) -> bool:
        variable = self._symbols.data(name)
        if variable is None or not self._gdb.set_watchpoint(Access.WRITE, variable.address, WATCHED[name]):
            return False
        self._watched[variable.address] = name
        return True

    def _unwatch(self, *names: str) -> None:
        for address, name in [row for row in self._watched.items() if row[1] in names]:
            self._gdb.clear_watchpoint(Access.WRITE, address, WATCHED[name])
            del self._watched[address]

    def _await_end(self) -> None:
        """Let breakpoints tell how the kernel ends."""
        self._arm_all(point for point in (Checkpoint.HALT, Checkpoint.POWEROFF) if not self._watches(point))

    def _place_of_return(self, back: int) -> int:
        """Where `join`, at whose entry the guest is, has its return address on the stack; 0 if it is not found."""
        registers = self._registers
        if registers.link is None:
            return self._gdb.register(registers.stack)
        outer = self._gdb.register(registers.frame)
        for _ in range(PROLOGUE):
            if not self._gdb.step():
                break
            if (frame := self._gdb.register(registers.frame)) != outer:
                return frame + 8 if self._memory.word(frame + 8) == back else 0
        return 0

    def _pass_other(self, address: int) -> None:
        accessed = self._gdb.accessed
        if accessed is None:
            return
        if accessed == self._place:
            self._pass_return(address)
            return
        name = self._watched.get(accessed, "")
        if name:
            self._complete()
            self._note_written(name)
        # Of two vCPUs that stop at once only one is told of, and the other may have begun to power off.
        if self._memory.count(LOG_END) != self._values[LOG_END]:
            self._await_end()

    def _complete(self) -> None:
        """Let the access happen, before which QEMU stops AArch64. Source: QEMU, target/arm/cpu.c
        (gdb_stop_before_watchpoint)."""
        if self._registers.link is not None:
            names = list(self._watched.values())
            self._unwatch(*names)
            if self._gdb.step():
                all(map(self._watch, names))

    def _note_written(self, name: str) -> None:
        """Handle that a variable was written, or what is further on in its page (`GdbRemote.set_watchpoint`)."""
        if name == PROGRAM_BEGINS:
            self._note_begun()
        elif name == LOG_END and self._memory.count(name) != self._values[name]:
            self._note_logged()
        elif name != LOG_END and self._memory.aborts():
            self._note_abort()
        else:
            self._count()
        if name in self._values:
            self._values[name] = self._memory.count(name)

    def _pass_return(self, address: int) -> None:
        """Handle the return of the main thread from `join`, or the reading of its stack by something else."""
        self._gdb.clear_watchpoint(Access.READ, self._place, 8)
        place, self._place = self._place, 0
        if address == self._back:
            self._note(Checkpoint.JOINED)
            self._learn(Checkpoint.JOINED)
        elif self._memory.word(place) == self._back and self._may_return(address, place):
            self._set(Checkpoint.JOINED, self._back)
        else:  # two vCPUs stopped at once, and QEMU told of the other: what it returned is not known any more
            self.lost.append(Checkpoint.JOINED)

    def _may_return(self, pc: int, place: int) -> bool:
        """Whether the vCPU is in `join` or in what that called, which has its return address at `place`."""
        return self._gdb.register(self._registers.stack) < place or self._is_in(Checkpoint.JOIN, pc)

    def _note_abort(self) -> None:
        """Record that abort() has begun: it has set its flag, or begun to write its message."""
        self._note(Checkpoint.ABORT)
        self.stack_at_abort = self._memory.stack()
        self.abort_arguments = self._abort_arguments()
        self._unwatch(ABORTING, ABORT_MESSAGE)
        self._await_end()

    def _abort_arguments(self) -> tuple[int, ...]:
        """What abort() was called with, where it has only set its flag: its registers, but for the third, which it
        has saved between two of them; none if they are not there."""
        if not self._is_in(Checkpoint.ABORT, self._gdb.register(self._registers.pc)):
            return ()
        first, second, _, *others = (self._gdb.register(number) for number in self._registers.arguments)
        saved = words_of(self._memory.stack_bytes(FRAME))
        for at, word in enumerate(saved):
            if word == second and saved[at + 2 : at + 5] == others:
                return (first, second, saved[at + 1], *others)
        return ()

    def _note_begun(self) -> None:
        """Record the program that begins, if another thread than the main one made it."""
        found = self._memory.application_of_thread({program.application for program in self.programs})
        self._strangers += found is None
        if found is None or not found.path:
            self._count()
        elif found.address in self._made:
            self._made.remove(found.address)
        else:
            self.nested.append(found.path)

    def _note_other(self, application: int, path: str) -> None:
        super()._note_other(application, path)
        self._made.add(application)

    def _note_logged(self) -> None:
        """Look who wrote to the kernel's log."""
        callers = self._callers()
        if EXIT in callers:
            self._note_exit()
        if callers & ENDING:
            self._await_end()
        else:
            self._count()

    def _callers(self) -> set[str]:
        """The functions to which the stopped vCPU's stack has a return address."""
        words = words_of(self._memory.stack_bytes(CALLS))
        return {found.name for word in words if (found := self._symbols.at(word - 1))}

    def _note_exit(self) -> None:
        """Record the call of exit(), whose line is one of the last of the kernel's log."""
        if Checkpoint.EXIT in self.passed:
            return
        self._note(Checkpoint.EXIT)
        statuses = STATUS.findall(self._memory.end_of_ring(LOG, self._memory.count(LOG_END), LAST_LINES))
        if statuses:
            self.exit_status = signed(int(statuses[-1]))
            self.exit_caller = self._who_exits()
        else:
            self.lost.append(Checkpoint.EXIT)

    def _who_exits(self) -> ExitCaller:
        """Whose thread calls exit(), which is always asked: not every program's beginning may have been seen."""
        asked = self._owner_of_thread()
        return super()._who_exits() if asked is ExitCaller.UNKNOWN and not self._strangers else asked

    def _learn(self, point: Checkpoint) -> None:
        super()._learn(point)
        # Of two vCPUs that stop at once only one is told of, and the other may have called exit().
        if point is Checkpoint.POWEROFF and EXIT in self._callers():
            self._note_exit()

    def _count(self) -> None:
        """After too many stops that told nothing, watch functions."""
        self._useless += 1
        if self._useless == MOST_STOPS:
            self._watch_code()
