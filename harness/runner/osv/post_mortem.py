"""Examines a guest of OSv that did not end well, while it is stopped.

That is where it met its fault, what it has loaded, and what its threads do. What can't be read is left out, and
does not change the verdict.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import islice

from harness.core.errors import HarnessError, HypervisorError
from harness.kernels.source_lines import LoadedObject, SourceLines
from harness.kernels.symbols import Symbols
from harness.runner.base import Run
from harness.runner.guest import Guest
from harness.runner.osv.abort_message import formed
from harness.runner.osv.exception import Fault, fault_of, returns
from harness.runner.osv.exit_tracer import ExitTracer
from harness.runner.osv.kernel_memory import Stack
from harness.runner.osv.loaded_objects import loaded_objects
from harness.runner.osv.threads import threads
from harness.runner.verdict import Outcome
from harness.vm.gdb_remote import GdbRemote

GOOD = (Outcome.PASSED, Outcome.SKIPPED)


class Scene:
    """One guest at the end of its run. Without an exit tracer nothing can be examined."""

    def __init__(self, guest: Guest, tracer: ExitTracer | None, symbols: Symbols | None) -> None:
        self._guest = guest
        self._tracer = tracer if symbols and guest.vm.debug and not guest.closed else None
        self._seen_message = tracer.abort_message if tracer else None
        self._symbols = symbols
        self._image = guest.machine.image

    def fault(self) -> str:
        """Where a dead guest met its exception, or which line of a program led to its death, in words; empty if
        neither is known."""
        if self._tracer is None or self._symbols is None or not self._tracer.dead:
            return ""
        with suppress(HypervisorError):
            gdb = self._tracer.hold()
            # Later the kernel's own backtrace has met page faults of its own.
            stack = self._tracer.stack_at_abort or replace(self._tracer.stack_now(), fault_address=None)
            found = fault_of(gdb, self._symbols, self._image.cell.arch, stack, self._is_code)
            return self._fault_place(found) if found else self._reached_from(stack)
        return ""

    def abort_message(self) -> str | None:
        """The message of abort(); parts that the kernel had not loaded are read from the host's files."""
        tracer = self._tracer
        if tracer and tracer.abort_arguments and not tracer.halted:
            with suppress(HypervisorError):
                gdb = tracer.hold()
                return formed(tracer.abort_arguments, self._reader(gdb))
        return self._seen_message

    def _reader(self, gdb: GdbRemote) -> Callable[[int, int], bytes]:
        """Reads the guest's memory and, where nothing is loaded, the file that belongs there."""
        return lambda address, length: gdb.read(address, length) or self._lines.read(address, length)

    def hold(self) -> None:
        """Stop the guest, so that everything read from now on is of one moment. If that fails, it is not asked
        again."""
        try:
            if self._tracer:
                self._tracer.hold()
        except HypervisorError:
            self._tracer = None

    def described(self, run: Run) -> Run:
        """The run, with what the guest had loaded and what its threads did, unless it ended well."""
        tracer, debug = self._tracer, self._guest.vm.debug
        if run.verdict.outcome in GOOD or tracer is None or debug is None:
            return run
        try:
            tracer.hold()
            text = threads(debug, self._image, self._objects)
        except (HarnessError, OSError) as error:
            text = f"Threads are not known: {error}\n"
        return replace(run, objects=self._objects, threads=text)

    @cached_property
    def _objects(self) -> tuple[LoadedObject, ...]:
        if self._tracer and self._symbols:
            with suppress(HypervisorError):
                return loaded_objects(self._tracer.hold(), self._symbols)
        return ()

    def _reached_from(self, stack: Stack) -> str:
        """The innermost place of a program in the chain of calls."""
        own = (back for back, _ in returns(stack) if any(one.base <= back < one.end for one in self._objects))
        places = self._lines.at(back - 1 for back in islice(own, 1))
        return f"reached from {places[0]}" if places else ""

    @cached_property
    def _lines(self) -> SourceLines:
        return SourceLines(self._image.symbols, self._image.manifest, self._objects)

    def _is_code(self, address: int) -> bool:
        if any(one.base <= address < one.end for one in self._objects):
            return True
        functions = self._symbols.functions if self._symbols else ()  # those of assembly tell no size
        first = next((function.address for function in functions if function.address), 0)
        return bool(first) and first <= address <= functions[-1].address

    def _fault_place(self, fault: Fault) -> str:
        about = "" if fault.address is None else f" at address {fault.address:#x}"
        if fault.caller is not None:  # a return address stands behind its call
            (place,) = self._lines.at([fault.caller - 1])
            return f"a call of address {fault.pc:#x} in {place}"
        (place,) = self._lines.at([fault.pc])
        return f"{fault.kind}{about}, in {place}"
