"""A program on OSv: a guest is booted with it on the command line, or forked and given it, and ends with it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from harness.cache import Cache
from harness.cell import Cell
from harness.console.monitor import Monitor
from harness.console.transcript import Transcript
from harness.errors import HarnessError, HypervisorError
from harness.fitting import fitted
from harness.guest import Guest
from harness.hypervisors import Cause, Ending, Hypervisor, Template, Vm, forking
from harness.hypervisors._gdb import GdbRemote
from harness.images.disks import blank_disk
from harness.launch import LD_SO, Launch, launch_of
from harness.machine import Disk, Image, Machine
from harness.programs import Program, Run, conclude, failed_to_run, unprinted
from harness.programs.osv_template import templates
from harness.programs.ready import fork_ready
from harness.programs.visit import Visit, Visitor
from harness.symbols import Symbols
from harness.variants import fittings_of
from harness.verdict import Observation
from harness.witness import Point, Witness, watch

BOOT_SECONDS = 60.0
READY = "forked when ready"
GRACE_SECONDS, LONGEST_GRACE = 0.5, 5.0


@dataclass(frozen=True, slots=True)
class Words:
    """What a cell's options change in how programs are started: words before every command, and arguments
    for the kernel."""

    before: str = ""
    kernel: str = ""


def words_of(cell: Cell) -> Words:
    """How programs are launched on the cell. Source: OSv's scripts/run.py (--nopci) and test.py (ld.so)."""
    return Words(
        before=LD_SO[cell.arch] if launch_of(cell) is Launch.LINUX_LD else "",
        kernel="--nopci" if cell.hypervisor == "qemu_microvm" else "",
    )


class OsvRunner:
    """Starts one guest a program: boots it, or forks it where `fork` is wished for and can be had.

    The image's symbols let a witness stand in the kernel where there are any.
    """

    def __init__(
        self, image: Image, hypervisor: Hypervisor, accelerator: str, cache: Cache, fork: bool = False
    ) -> None:
        self.image = image
        self.accelerator = accelerator
        self._hypervisor = hypervisor
        self._cache = cache
        self._words = words_of(image.cell)
        self._symbols = Symbols(image.symbols, cache) if image.symbols else None
        self._templates = templates(image, hypervisor, cache, self._symbols, BOOT_SECONDS) if fork else None

    def machine(self, program: Program) -> Machine:
        """The machine that runs the program; `--verbose` makes the kernel tell statuses and its clean end."""
        return self._bare_machine(program).with_command(self._command(program))

    def prepare(self) -> None:
        """Nothing: the image is all that a boot needs."""

    def run(self, program: Program, visit: Visit | None = None) -> Run:
        machine = self.machine(program)
        try:
            vm, gdb, origin = self._start(program, machine, visit)
        except (HarnessError, OSError) as error:
            return failed_to_run(program, str(error), Transcript(monotonic()))
        with Guest(machine, vm) as guest:
            try:
                return self._watch(program, guest, gdb, origin, visit)
            except (HarnessError, OSError) as error:
                return failed_to_run(program, str(error), guest.transcript, vm.command)

    def template(self, program: Program) -> Template | None:
        """What the program's guest is forked from; None where it is booted."""
        if self._templates and self._templates.takes(self._command(program)):
            return self._templates.template(self._bare_machine(program))
        return None

    def _bare_machine(self, program: Program) -> Machine:
        words = fittings_of(self.image.cell, program.variant).osv
        cmdline = " ".join(word for word in (self.image.cmdline, self._words.kernel, words, "--verbose") if word)
        wants_disk = program.disk and not self.image.disks
        disks = (Disk(blank_disk(self._cache)),) if wants_disk else ()
        accelerator = "tcg" if program.counted else self.accelerator  # hardware counts no instructions
        machine = Machine(
            self.image, cmdline, program.cpus, program.memory, accelerator, program.network,
            counted=program.counted, forwards=program.forwards, disks=disks,
        )  # fmt: skip
        return fitted(machine, program.variant, self._cache)

    def _command(self, program: Program) -> str:
        settings = " ".join(_quoted(f"--env={name}={value}") for name, value in program.environment)
        return f"{settings} {self._words.before} {program.command}".strip()

    def _start(self, program: Program, machine: Machine, visit: Visit | None) -> tuple[Vm, GdbRemote | None, str]:
        """The guest, its debug stub if that has been used, and how it came to be."""
        forks = forking(self._hypervisor)
        if program.slow_start and visit and forks and machine.devices.can_be_forked:
            with suppress(HypervisorError):  # then a booted guest shows why
                vm, _ = fork_ready(machine, machine.cmdline, visit, forks, self._cache, _begin)
                return vm, None, READY
        command = self._command(program)
        if self._templates and machine.devices.can_be_forked and self._templates.takes(command):
            return *self._templates.fork(self._bare_machine(program), command), "forked"
        return self._hypervisor.start(machine), None, "booted"

    def _watch(
        self, program: Program, guest: Guest, gdb: GdbRemote | None, origin: str, visit: Visit | None
    ) -> Run:
        vm, monitor = guest.vm, guest.monitor
        witness = self._witness(vm, gdb)
        if witness:
            guest.console.watched[witness.fileno()] = lambda: _heard(guest, witness)
            witness.start()
        else:
            vm.resume()

        def dead() -> bool:
            return witness.dead if witness else bool(monitor.faults() or _not_powered_off(monitor))

        def booted() -> bool:
            return origin == READY or monitor.first("booted") is not None

        boot_limit = min(BOOT_SECONDS + program.limit, program.boot_limit)
        activity = guest.wait_within(lambda: booted() or dead(), boot_limit)
        visitor = Visitor(guest, visit, self._end_of(vm)) if visit else None
        if not activity:
            activity = (
                visitor.watch(guest, dead, program.limit) if visitor else guest.wait_within(dead, program.limit)
            )
        if witness and witness.dead:
            guest.wait(lambda: witness.halted, monotonic() + LONGEST_GRACE)  # for the rest of its last words
        if not guest.closed:
            guest.wait_for_quiet(GRACE_SECONDS, GRACE_SECONDS if activity else LONGEST_GRACE)
        alive = not guest.closed
        ending = None if alive else vm.ending()
        status, status_from = _status(program, monitor, witness)
        seen = Observation(
            booted=booted(),
            status=status,
            status_from=status_from,
            clean_end=_ended_cleanly(ending, monitor, witness),
            ending=ending,
            faults=monitor.faults(),
            load_failed=_load_failed(monitor, program),
            halted=witness is not None and witness.halted,
            not_powered_off=_not_powered_off(monitor),
            aborted=witness.last_words if witness else "",
            activity=activity,
            trouble=vm.trouble() if alive else "",
            limit=program.limit,
            seconds=monotonic() - guest.transcript.start,
            skip_statuses=program.skip_statuses,
            faults_are_final=witness is not None,
            ends_by=program.ends_by,
            good_statuses=program.good_statuses,
            unprinted=unprinted(program, guest.transcript, self.image.cell.kernel),
            visited=visitor.result() if visitor else None,
            kept_waiting=guest.kept_waiting,
        )
        registers, vcpus = (vm.registers(), vm.vcpus()) if alive else ("", ())
        return conclude(program, seen, guest.transcript, vm.command, origin, registers, vcpus)

    def _end_of(self, vm: Vm) -> Callable[[], None]:
        """How the guest is asked to end: by its power button where it has one."""
        has_button = self.image.cell.arch == "x86_64" and self.image.cell.hypervisor == "qemu"
        return vm.press_power_button if has_button else vm.stop

    def _witness(self, vm: Vm, gdb: GdbRemote | None) -> Witness | None:
        if vm.debug is None or self._symbols is None:
            return None
        return watch(gdb or GdbRemote(vm.debug, vm.pid), self._symbols, self.image.cell.arch)


def _quoted(word: str) -> str:
    """A word of the command line. Source: OSv's core/commands.cc, whose quotes are "..." with \\ before \"."""
    return f'"{word}"' if " " in word else word


def _begin(guest: Guest) -> tuple[Callable[[], bool], Mapping[str, str]]:
    """Let the guest run; a fault ends it."""
    guest.vm.resume()
    return lambda: bool(guest.monitor.faults()), {}


def _heard(guest: Guest, witness: Witness) -> bool:
    """Listen to the witness; whether the wait is to end: the kernel is dying, or the guest is gone."""
    more = witness.take()
    if not more:
        guest.console.watched.pop(witness.fileno())
    return witness.dead or not more


def _status(program: Program, monitor: Monitor, witness: Witness | None) -> tuple[int | None, str]:
    if witness:
        return witness.status, "the kernel, stopped where it learns the status"
    own = [match for match in monitor.statuses() if match.text not in program.nested]
    if own:
        return own[-1].status, "the console"
    if monitor.first("powering_off"):
        return 0, "no status line on the console before its end"
    return None, ""


def _ended_cleanly(ending: Ending | None, monitor: Monitor, witness: Witness | None) -> bool:
    """Whether the kernel went through poweroff() and the process ended by it.

    A board without ACPI powers off by a reset, so a reset counts where the kernel was seen to ask for the end.
    """
    if ending is None:
        return False
    if witness:
        asked = Point.POWEROFF in witness.passed and not witness.halted
        return asked and ending.cause in (Cause.POWERED_OFF, Cause.RESET)
    return monitor.first("powering_off") is not None and ending.cause is Cause.POWERED_OFF


def _not_powered_off(monitor: Monitor) -> str:
    """What the kernel said when it could not power off, after it had said that it would; it halts then."""
    asked = monitor.first("powering_off")
    if asked is None:
        return ""
    failed = (match for match in monitor.matches if match.name == "not_powered_off")
    return next((match.text for match in failed if match.offset > asked.offset), "")


def _load_failed(monitor: Monitor, program: Program) -> str:
    match = monitor.first("load_failed")
    return match.text if match and program.command.split()[0] in match.text else ""
