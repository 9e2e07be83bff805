"""A program on OSv: a guest is booted with it on the command line, and ends with it."""

from time import monotonic

from harness.cache import Cache
from harness.console.monitor import Match, Monitor
from harness.console.transcript import Transcript
from harness.errors import HarnessError
from harness.guest import Guest
from harness.hypervisors import Cause, Hypervisor, Vm
from harness.hypervisors._gdb import GdbRemote
from harness.machine import Image, Machine
from harness.programs import Program, Run, conclude, failed_to_run
from harness.symbols import Symbols
from harness.verdict import Activity, Observation
from harness.witness import Point, Witness, watch

BOOT_SECONDS = 60.0
GRACE_SECONDS, LONGEST_GRACE = 0.5, 5.0


class OsvRunner:
    """Boots one guest a program. `launcher` is put before every command (Linux's ld.so, say)."""

    def __init__(
        self, image: Image, hypervisor: Hypervisor, accelerator: str, cache: Cache, launcher: str = ""
    ) -> None:
        self.image = image
        self.accelerator = accelerator
        self._hypervisor = hypervisor
        self._launcher = launcher
        self._symbols = Symbols(image.symbols, cache) if image.symbols else None

    def machine(self, program: Program) -> Machine:
        """The machine that runs the program; `--verbose` makes the kernel tell statuses and its clean end."""
        command = " ".join(part for part in (self._launcher, program.command) if part)
        return Machine(
            self.image, f"{self.image.cmdline} --verbose {command}", program.cpus, program.memory,
            self.accelerator, program.network,
        )  # fmt: skip

    def run(self, program: Program) -> Run:
        started = monotonic()
        machine = self.machine(program)
        try:
            vm = self._hypervisor.start(machine)
        except HarnessError as error:
            return failed_to_run(program, str(error), Transcript(started))
        with Guest(machine, vm, started) as guest:
            try:
                return self._observe(program, guest, started)
            except HarnessError as error:
                return failed_to_run(program, str(error), guest.transcript, vm.command)

    def _observe(self, program: Program, guest: Guest, started: float) -> Run:
        vm, monitor = guest.vm, guest.monitor
        witness = self._witness(vm)
        if witness:
            guest.console.watched[witness.fileno()] = lambda: _heard(guest, witness)
            witness.start()
        else:
            vm.resume()

        halted = lambda: bool(witness and Point.HALT in witness.passed)  # noqa: E731
        dead = (lambda: halted()) if witness else (lambda: bool(monitor.faults()))
        guest.wait(lambda: bool(monitor.first("booted")) or dead(), monotonic() + BOOT_SECONDS + program.limit)
        deadline = monotonic() + program.limit
        ended = guest.wait(dead, deadline)
        if not guest.closed:
            guest.wait_for_quiet(GRACE_SECONDS, LONGEST_GRACE if ended and not witness else GRACE_SECONDS)
        activity, trouble, registers, vcpus = None, "", "", vm.vcpus() if not guest.closed else ()
        if not guest.closed:
            trouble = vm.trouble()
            activity = guest.activity() if not ended else None
            registers = vm.registers()
        ending = vm.ending() if guest.closed else None
        passed = witness.passed if witness else []
        status, status_from = self._status(program, monitor, witness)
        seen = Observation(
            booted=monitor.first("booted") is not None,
            status=status,
            status_from=status_from,
            clean_end=_ended_cleanly(ending, monitor, witness),
            ending=ending,
            faults=monitor.faults(),
            load_failed=_load_failed(monitor, program),
            halted=Point.HALT in passed,
            activity=activity or (Activity.UNKNOWN if not ended and not guest.closed else None),
            trouble=trouble,
            limit=program.limit,
            seconds=monotonic() - started,
            skip_statuses=program.skip_statuses,
            faults_are_final=witness is not None,
            ends_by=program.ends_by,
        )
        return conclude(program, seen, guest.transcript, vm.command, "booted", registers, vcpus)

    def _witness(self, vm: Vm) -> Witness | None:
        if vm.debug is None or self._symbols is None:
            return None
        return watch(GdbRemote(vm.debug), self._symbols, self.image.cell.arch)

    @staticmethod
    def _status(program: Program, monitor: Monitor, witness: Witness | None) -> tuple[int | None, str]:
        if witness:
            return witness.status, "the kernel, stopped at the program's end"
        own = [match for match in monitor.statuses() if match.text not in program.nested]
        if own:
            return own[-1].status, "the console"
        return (0, "no status line on the console") if monitor.first("powering_off") else (None, "")


def _heard(guest: Guest, witness: Witness) -> bool:
    """Listen to the witness; whether the wait is to end: the kernel halted, or the guest is gone."""
    more = witness.take()
    if not more:
        guest.console.watched.pop(witness.fileno())
    return not more


def _ended_cleanly(ending: object, monitor: Monitor, witness: Witness | None) -> bool:
    """Whether the kernel went through poweroff() and the process ended by it.

    A board without ACPI powers off by a reset, so the reset counts where the kernel asked for the end.
    """
    cause = getattr(ending, "cause", None)
    if witness:
        asked = Point.POWEROFF in witness.passed and Point.HALT not in witness.passed
        return asked and cause in (Cause.POWERED_OFF, Cause.RESET)
    return monitor.first("powering_off") is not None and cause is Cause.POWERED_OFF


def _load_failed(monitor: Monitor, program: Program) -> str:
    match: Match | None = monitor.first("load_failed")
    return match.text if match and program.command.split()[0] in match.text else ""
