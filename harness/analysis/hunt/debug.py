"""Runs a seed to where it ends, or to an instruction, and keeps it stopped there for gdb."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path

from harness.analysis.hunt.traced import traced_until
from harness.core.errors import HypervisorError
from harness.core.machine import Image
from harness.kernels.symbols import Symbols
from harness.runner.base import Program
from harness.runner.guest import Guest
from harness.runner.osv.exit_checkpoints import FUNCTIONS, Checkpoint
from harness.runner.osv.kernel_memory import REGISTERS
from harness.runner.osv.runner import BOOT_SECONDS, OsvRunner
from harness.runner.session import Session
from harness.vm.gdb_remote import GdbRemote
from harness.vm.gdb_socket import gdb_socket
from harness.vm.registry import hypervisor

ENDS = (Checkpoint.HALT, Checkpoint.POWEROFF)
"""Where every run of OSv ends: dead, or on its way to power off."""


@dataclass(frozen=True, slots=True)
class StoppedGuest:
    """A guest that stands, where it stands, and the socket on which its debug stub waits for one gdb.

    `vcpus` are lines that say where each vCPU is; `files` are the host's files of what the guest has loaded, with
    their addresses there.
    """

    guest: Guest
    place: str
    socket: Path
    vcpus: tuple[str, ...] = ()
    files: tuple[tuple[Path, int], ...] = ()

    @property
    def gdb_options(self) -> list[str]:
        """gdb's options, for a shell."""
        words = [f"-ex 'target remote {self.socket}'"]
        return words + [f"-ex 'add-symbol-file {shlex.quote(str(path))} -o {at:#x}'" for path, at in self.files]

    def wait(self) -> None:
        """Return when the guest is gone: gdb's `kill` ends it, and `detach` lets it run on."""
        self.guest.wait(lambda: False, inf)


@contextmanager
def stopped_at_end(session: Session, image: Image, program: Program) -> Iterator[StoppedGuest]:
    """Run the program, which has a schedule, to where its guest ends, and keep the guest stopped in the block.

    Raises `HypervisorError` if it does not come to an end within its limit, or there are no symbols.
    """
    driver = hypervisor(image.cell.hypervisor)
    machine = OsvRunner(image, driver, "tcg", session.cache).machine(program)
    vm = driver.start(machine)
    with Guest(machine, vm) as guest:
        if vm.debug is None or image.symbols is None:
            raise HypervisorError(f"{image.cell} can't be debugged: it has no symbols.")
        ends = _Ends(GdbRemote(vm.debug, vm.pid), Symbols(image.symbols, session.cache), image.cell.arch)
        guest.console.watched[ends.gdb.fileno()] = ends.take
        ends.gdb.resume()
        guest.wait_within(lambda: ends.gone or ends.reached is not None, BOOT_SECONDS + program.limit)
        guest.console.watched.pop(ends.gdb.fileno(), None)
        if ends.reached is None:
            how = "is gone" if ends.gone or guest.closed else "runs on"
            raise HypervisorError(f"The guest did not come to where it ends: it {how}.")
        ends.clear()
        with gdb_socket(vm.debug) as path:
            yield StoppedGuest(guest, ends.reached, path)


@contextmanager
def stopped_at_instruction(
    session: Session, image: Image, program: Program, count: int
) -> Iterator[StoppedGuest]:
    """Run the program, which has a schedule, until that many instructions were run, and keep the guest stopped in
    the block. Raises what `traced_until` raises."""
    with traced_until(session, image, program, count) as traced:
        vm, lines = traced.guest.vm, traced.lines
        places = lines.at(vcpu.pc or 0 for vcpu in vm.vcpus())
        told = tuple(f"vCPU {index} is in {place}, at {place.address:#x}" for index, place in enumerate(places))
        files = tuple((path, one.base) for one in traced.objects if (path := lines.host_file(one)))
        assert vm.debug
        with gdb_socket(vm.debug) as path:
            yield StoppedGuest(traced.guest, f"instruction {traced.head.held:,}", path, told, files)


class _Ends:
    """Breakpoints where runs end."""

    def __init__(self, gdb: GdbRemote, symbols: Symbols, arch: str) -> None:
        self.gdb = gdb
        self.reached: Checkpoint | None = None
        self.gone = False
        self._pc = REGISTERS[arch].pc
        functions = {point: symbols.find(FUNCTIONS[point]) for point in ENDS}
        self._points = {found.address: point for point, found in functions.items() if found}
        for address in self._points:
            gdb.set_breakpoint(address)

    def take(self) -> bool:
        """Note at which the guest has stopped, or that it is gone; returns whether that ends the wait."""
        stop = self.gdb.take_stop()
        if stop:
            self.reached = self._points.get(self.gdb.register(self._pc))
        self.gone = stop is False
        return stop is not None

    def clear(self) -> None:
        """Remove the breakpoints, of which gdb would not know."""
        for address in self._points:
            self.gdb.clear_breakpoint(address)
