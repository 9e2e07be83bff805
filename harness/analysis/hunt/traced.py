"""Runs a seed once more, with all that its vCPUs do written down, to its end or to a number of instructions."""

import fcntl
import socket
import struct
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic, sleep

from harness.core.errors import HypervisorError
from harness.core.machine import Image
from harness.kernels.source_lines import LoadedObject, SourceLines
from harness.kernels.symbols import Symbols
from harness.runner.base import Program
from harness.runner.guest import Guest
from harness.runner.osv.exit_checkpoints import CLEAN_CALLER, FUNCTIONS, Checkpoint
from harness.runner.osv.loaded_objects import loaded_objects
from harness.runner.osv.runner import BOOT_SECONDS, OsvRunner
from harness.runner.session import Session
from harness.vm.gdb_remote import PAGE, GdbRemote
from harness.vm.qemu.driver import Qemu, QemuVm
from harness.vm.qemu.plugin.trace import PAUSED, Head, Records, Trace, Wanted
from harness.vm.registry import hypervisor

ENDS = (FUNCTIONS[Checkpoint.ABORT], FUNCTIONS[Checkpoint.HALT], FUNCTIONS[Checkpoint.POWEROFF], CLEAN_CALLER)
"""The first of these functions is where a run of OSv ends: what follows is its last words."""
UNLOADS = "_ZN3elf6object14run_fini_funcsEv"
"""Called before a program's code is given back."""
FIRST_ENTRY, BEHIND_ENTRY = ("ex_de", "exception_vectors"), "thread_main"
"""Source: OSv's arch/x64/entry.S, arch/aarch64/entry.S."""
IDLE = "_ZN5sched3cpu4idleEv"
SLOWER = 4.0
"""How many times longer a traced guest may take."""
GO_ON = b"g"
SETTLING = (0.1, 0.5, 2.0)
"""Seconds that QEMU's main thread is given to handle an interruption, in the first try and in further ones."""


@dataclass(frozen=True, slots=True)
class TracedGuest:
    """A guest that stands where it was to stand, its debug stub, and what its vCPUs did until then."""

    guest: Guest
    gdb: GdbRemote
    head: Head
    records: Records = field(repr=False)
    objects: tuple[LoadedObject, ...] = ()
    lines: SourceLines = field(kw_only=True)

    @property
    def is_exact(self) -> bool:
        """Whether nothing ran after the instruction at which it was to stand."""
        return self.head.count == self.head.held


@contextmanager
def traced_to_end(
    session: Session, image: Image, program: Program, watched: tuple[int, int] = (0, 0)
) -> Iterator[TracedGuest]:
    """The guest of a program with a schedule, at its end. Raises `HypervisorError` if it comes to none within its
    limit, and `HostError` if nothing can be traced here."""
    symbols = _symbols(session, image)
    idle = symbols.find(IDLE)
    wanted = Wanted(
        image.cell.arch, _addresses(symbols, ENDS), _addresses(symbols, (UNLOADS,)), _code(symbols),
        _entry(symbols), (idle.address, idle.size) if idle else (0, 0), watched,
    )  # fmt: skip
    with _traced(session, image, program, wanted, SETTLING[0]) as guest:
        yield guest


@contextmanager
def traced_until(session: Session, image: Image, program: Program, count: int) -> Iterator[TracedGuest]:
    """The guest where so many instructions were run, at the next branch. Raises what `traced_to_end` raises."""
    for settling in SETTLING:
        wanted = Wanted(image.cell.arch, until=count)
        with _traced(session, image, program, wanted, settling) as guest:
            if guest.is_exact:
                yield guest
                return
    raise HypervisorError(
        f"The guest could not be stopped at instruction {count:,}: it ran on.",
        "The host is too busy; try again when it is less so.",
    )


def _addresses(symbols: Symbols, names: Sequence[str]) -> list[int]:
    return [found.address for name in names if (found := symbols.find(name))]


def _code(symbols: Symbols) -> tuple[int, int]:
    """Where the kernel's code is."""
    first = next(function.address for function in symbols.functions if function.address)
    last = symbols.functions[-1]
    return first, last.address + last.size - first


def _entry(symbols: Symbols) -> tuple[int, int]:
    """Where the kernel's code begins with interrupts and exceptions: assembly in front of `thread_main`."""
    first, behind = _addresses(symbols, FIRST_ENTRY), _addresses(symbols, (BEHIND_ENTRY,))
    return (first[0], behind[0] - first[0]) if first and behind and first[0] < behind[0] else (0, 0)


def _symbols(session: Session, image: Image) -> Symbols:
    if image.symbols is None:
        raise HypervisorError(f"{image.cell} can't be traced: it has no symbols.")
    return Symbols(image.symbols, session.cache)


@contextmanager
def _traced(
    session: Session, image: Image, program: Program, wanted: Wanted, settling: float
) -> Iterator[TracedGuest]:
    driver, symbols = hypervisor(image.cell.hypervisor), _symbols(session, image)
    if not isinstance(driver, Qemu):
        raise HypervisorError(f"Guests of {image.cell.hypervisor} can't be traced.", "Trace them on qemu.")
    machine = OsvRunner(image, driver, "tcg", session.cache).machine(program)
    with Trace(wanted) as trace:
        vm = driver.start_traced(machine, trace)
        with Guest(machine, vm) as guest:
            run = _TracedRun(guest, vm, trace, symbols)
            run.to_stop(BOOT_SECONDS + SLOWER * program.limit, settling)
            objects = tuple(run.objects.values())
            lines = SourceLines(image.symbols, image.manifest, objects)
            yield TracedGuest(guest, run.gdb, trace.head(), trace.records(), objects, lines=lines)


class _TracedRun:
    """A guest on its way to where the plugin holds it. `objects` are the files that it had loaded, by address."""

    def __init__(self, guest: Guest, vm: QemuVm, trace: Trace, symbols: Symbols) -> None:
        assert vm.debug
        self._guest = guest
        self._vm = vm
        self._trace = trace
        self._symbols = symbols
        self._held = self._stopped = False
        self.objects: dict[int, LoadedObject] = {}
        self.gdb = GdbRemote(vm.debug, vm.pid)
        for address in _addresses(symbols, (FUNCTIONS[Checkpoint.HALT],)):
            self.gdb.set_breakpoint(address)  # as in the run itself, whose blocks of instructions it divides

    def to_stop(self, limit: float, settling: float) -> None:
        """Let it run until it is held, and stop it there. Raises `HypervisorError`."""
        watched = {self._trace.line.fileno(): self._take_hold, self.gdb.fileno(): self._take_stop}
        self._guest.console.watched |= watched
        self.gdb.resume()
        self._guest.wait_within(lambda: self._held or self._stopped, limit)
        for descriptor in watched:
            self._guest.console.watched.pop(descriptor)
        if self._held:
            self._guest.wait_for_quiet(0.05, 1.0)
            self.gdb.interrupt(lambda: self._release(settling))
        elif not self._stopped:
            how = "ended" if self._guest.closed else "did not come"
            raise HypervisorError(f"The traced guest {how} where it was to stand.")

    def _take_hold(self) -> bool:
        """Read what is loaded, while no vCPU runs. At a pause the guest goes on without knowing of it."""
        said = self._trace.line.recv(1)
        self.objects |= {one.base: one for one in loaded_objects(_Monitor(self._vm), self._symbols)}
        if said == PAUSED:
            self._trace.line.send(GO_ON)
            return False
        self._held = bool(said)
        return True

    def _take_stop(self) -> bool:
        self._stopped = self.gdb.take_stop() or False
        return True

    def _release(self, settling: float) -> None:
        """Let the plugin go on, once QEMU's main thread waits for the vCPUs to stop.

        Nothing tells when it waits. So it is given some time after it has read the interruption; whether that was
        enough is seen by what has run when the guest stands.
        """
        assert self._vm.debug
        limit = monotonic() + 20 * settling
        while _unread(self._vm.debug) and monotonic() < limit:
            sleep(0.01)
        sleep(settling)
        self._trace.line.send(GO_ON)


@dataclass(frozen=True, slots=True)
class _Monitor:
    """Reads the memory of a guest without stopping it: a stop would be the end of a vCPU's turn."""

    vm: QemuVm

    def read(self, address: int, length: int) -> bytes:
        """Up to `length` bytes; fewer at the end of what is mapped."""
        data = b""
        while len(data) < length:
            start = address + len(data)
            more = min(length - len(data), PAGE - start % PAGE)
            found = self.vm.code(0, start, more)
            if not found:
                break
            data += found
        return data


def _unread(sender: socket.socket) -> int:
    """Bytes of a socket that its peer has not read yet. Source: Linux, unix(7), SIOCOUTQ."""
    return int(struct.unpack("i", fcntl.ioctl(sender, termios.TIOCOUTQ, bytes(4)))[0])
