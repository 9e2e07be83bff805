"""Runs a program on OSv: boots a guest with it on the command line, or clones one and gives it the command."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from harness.core.cell import Cell
from harness.core.errors import HarnessError, HypervisorError
from harness.core.events import publish
from harness.core.link_mode import LD_SO, LinkMode, launch_of
from harness.core.machine import Disk, Image, Machine
from harness.core.variants import machine_profile_of, with_second_disk
from harness.host.cache import Cache
from harness.kernels.rootfs.disk_image import blank_disk
from harness.kernels.symbols import Symbols
from harness.runner.base import Program, Run, conclude, failed_to_run
from harness.runner.console.transcript import Transcript
from harness.runner.guest import Guest
from harness.runner.interaction import GuestClient, Interaction
from harness.runner.machine_setup import apply_profile
from harness.runner.osv.boot_snapshot import OsvTemplates, templates_of
from harness.runner.osv.command_line import environment_option, programs_of
from harness.runner.osv.exit_tracer import ExitTracer
from harness.runner.osv.observed_run import observe, status_of, traced_status
from harness.runner.osv.post_mortem import Scene
from harness.runner.osv.watching_tracer import WatchingTracer, can_watch
from harness.runner.ready_snapshot import fork_ready
from harness.vm.base import Hypervisor, Template, Vm, snapshots_of
from harness.vm.gdb_remote import GdbRemote
from harness.vm.qemu.command_line import SEEDED_RANDOMNESS

BOOT_SECONDS = 60.0
READY = "forked when ready"
UNRANDOMISED = "--norandom"
PADDING = "OSV_HARNESS_PADDING"
"""A name in the environment of a program, which nothing reads."""
GRACE_SECONDS, LONGEST_GRACE = 0.5, 5.0
ENDING_SECONDS = 60.0
"""How long a guest may take to end whose program has failed. OSv waits for ever for a thread that spins."""


@dataclass(frozen=True, slots=True)
class Words:
    """How a cell's options change the start of programs: words before every command, and kernel arguments."""

    before: str = ""
    kernel: str = ""


def words_of(cell: Cell) -> Words:
    """How programs are launched on the cell. Source: OSv's scripts/run.py (--nopci) and test.py (ld.so)."""
    return Words(
        before=LD_SO[cell.arch] if launch_of(cell) is LinkMode.LINUX_LD else "",
        kernel="--nopci" if cell.hypervisor == "qemu_microvm" else "",
    )


class OsvRunner:
    """Starts one guest per program: boots it, or clones it if `fork` is set and possible. With the image's
    symbols, an exit tracer watches the kernel."""

    def __init__(
        self, image: Image, hypervisor: Hypervisor, accelerator: str, cache: Cache, fork: bool = False
    ) -> None:
        self.image = image
        self.accelerator = accelerator
        self._hypervisor = hypervisor
        self._cache = cache
        self._words = words_of(image.cell)
        self._symbols = Symbols(image.symbols, cache) if image.symbols else None
        self._templates = templates_of(image, hypervisor, cache, self._symbols, BOOT_SECONDS) if fork else None

    def machine(self, program: Program) -> Machine:
        """The machine that runs the program; `--verbose` makes the kernel report statuses and its clean end."""
        return self._bare_machine(program).with_command(self._command(program))

    def prepare(self) -> None:
        """Make the template of the usual size, if guests are forked; a boot needs only the image."""
        with suppress(HypervisorError):  # then a booted guest shows why
            self.template(Program("", "/", 0))

    def run(self, program: Program, interaction: Interaction | None = None) -> Run:
        bare = self._bare_machine(program)
        machine = bare.with_command(self._command(program))
        try:
            vm, origin, stub = self._start(program, bare, machine, interaction)
        except (HarnessError, OSError) as error:
            return failed_to_run(program, str(error), Transcript(monotonic()))
        with Guest(machine, vm) as guest:
            try:
                return self._watch(program, guest, origin, stub, interaction)
            except (HarnessError, OSError) as error:
                return failed_to_run(program, str(error), guest.transcript, vm.command)

    def template(self, program: Program) -> Template | None:
        """The snapshot from which the program's guest is cloned; None if it is booted."""
        machine = self._bare_machine(program)
        templates = self._templates_for(program, machine)
        return templates.template(machine) if templates else None

    def _bare_machine(self, program: Program) -> Machine:
        words = with_second_disk(machine_profile_of(self.image.cell, program.variant).osv, len(self.image.disks))
        # Where nothing random comes from the machine, OSv's devices for it would wait for that for ever.
        has_random = not program.deterministic or (program.schedule and self.image.cell.arch in SEEDED_RANDOMNESS)
        fixed = "" if has_random or UNRANDOMISED in self.image.cmdline else UNRANDOMISED
        given = (self.image.cmdline, self._words.kernel, words, fixed, "--verbose")
        cmdline = " ".join(word for word in given if word)
        wants_disk = program.disk and not self.image.disks
        disks = (Disk(blank_disk(self._cache)),) if wants_disk else ()
        accelerator = "tcg" if program.deterministic else self.accelerator  # hardware counts no instructions
        machine = Machine(
            self.image, cmdline, program.cpus, program.memory, accelerator, program.network,
            deterministic=program.deterministic, schedule=program.schedule, forwards=program.forwards, disks=disks,
        )  # fmt: skip
        return apply_profile(machine, program.variant, self._cache)

    def _command(self, program: Program) -> str:
        environment = program.environment
        if program.schedule and program.schedule.padding:
            environment = (*environment, (PADDING, "x" * program.schedule.padding))
        settings = " ".join(environment_option(name, value) for name, value in environment)
        return f"{settings} {self._words.before} {program.command}".strip()

    def _start(
        self, program: Program, bare: Machine, machine: Machine, interaction: Interaction | None
    ) -> tuple[Vm, str, "_Stub | None"]:
        """The guest, its origin, and its debug stub if that was used; `bare` is the machine without a command."""
        forks = snapshots_of(self._hypervisor)
        if program.slow_start and interaction and forks and machine.devices.supports_snapshots:
            with suppress(HypervisorError):  # then a booted guest shows why
                vm, _ = fork_ready(machine, machine.cmdline, interaction, forks, self._cache, _begin)
                return vm, READY, None
        if templates := self._templates_for(program, bare):
            try:
                vm, gdb, stack = templates.fork(bare, self._command(program))
                return vm, "forked", _Stub(gdb, stack)
            except HypervisorError as error:  # a booted guest shows why
                publish("template.failed", str(self.image.cell), f"its guests are booted: {error.message}")
                self._templates = None
        return self._hypervisor.start(machine), "booted", None

    def _templates_for(self, program: Program, machine: Machine) -> OsvTemplates | None:
        """The templates, if a clone can run it: it reads the kernel's options, and the environment, no more."""
        templates, fits = self._templates, machine.devices.supports_snapshots and not program.environment
        return templates if templates and fits and templates.takes(self._command(program)) else None

    def _watch(
        self, program: Program, guest: Guest, origin: str, stub: "_Stub | None", interaction: Interaction | None
    ) -> Run:
        vm, monitor = guest.vm, guest.monitor
        tracer = self._tracer(vm, origin, stub, program)
        if tracer:
            guest.console.watched[tracer.fileno()] = lambda: _handle_stop(guest, tracer)
            tracer.start()
        else:
            vm.resume()

        def dead() -> bool:
            if tracer:
                tracer.look()
            return tracer.dead if tracer else bool(monitor.faults()) or monitor.saw_mark("power_off_failed")

        def booted() -> bool:
            return origin == READY or monitor.saw_mark("booted") or bool(tracer and tracer.started)

        def failed() -> bool:
            complete = tracer if tracer and tracer.complete else None
            status = traced_status(program, complete) if complete else status_of(program, monitor, tracer).status
            good = (None, *program.good_statuses, *program.skip_statuses)
            return len(programs_of(program.command)) == 1 and status not in good

        boot_limit = min(BOOT_SECONDS + program.limit, program.boot_limit)
        activity = guest.wait_within(lambda: booted() or dead(), boot_limit)
        client = GuestClient(guest, interaction, self._end_of(vm)) if interaction else None
        limit = boot_limit if activity else program.limit
        if not activity:
            if client:
                activity = client.watch(guest, dead, program.limit)
            else:
                activity = guest.wait_within(lambda: dead() or failed(), program.limit)
                if not activity and failed():
                    activity = guest.wait_within(dead, min(ENDING_SECONDS, program.limit))
        if tracer and tracer.dead:
            guest.wait(lambda: tracer.halted, monotonic() + LONGEST_GRACE)  # for the rest of its last words
        if not guest.closed:
            guest.wait_for_quiet(GRACE_SECONDS, GRACE_SECONDS if activity else LONGEST_GRACE)
        if tracer and not guest.closed:
            guest.console.watched.pop(tracer.fileno(), None)
            tracer.examine()
        scene = Scene(guest, tracer, self._symbols)
        seen = observe(
            program, guest, tracer, booted=booted(), activity=activity, limit=limit,
            interaction=client.result() if client else None, abort_message=scene.abort_message(),
            fault=scene.fault(),
        )  # fmt: skip
        scene.hold()
        registers, vcpus = (vm.registers(), vm.vcpus()) if not guest.closed else ("", ())
        run = conclude(program, seen, guest.transcript, vm.command, origin, registers, vcpus)
        return scene.described(run)

    def _end_of(self, vm: Vm) -> Callable[[], None]:
        """How the guest is asked to end: by its power button, if it has one."""
        has_button = self.image.cell.arch == "x86_64" and self.image.cell.hypervisor == "qemu"
        return vm.press_power_button if has_button else vm.stop

    def _tracer(self, vm: Vm, origin: str, stub: "_Stub | None", program: Program) -> ExitTracer | None:
        """The exit tracer; None if hypervisor and kernel offer nothing to trace.

        The instructions of deterministic runs are compared with those of earlier ones, which had breakpoints.
        """
        if vm.debug is None or self._symbols is None:
            return None
        stub = stub or _Stub(GdbRemote(vm.debug, vm.pid))
        given, joining = (stub.gdb, self._symbols, self.image.cell.arch, stub.stack), origin == READY
        try:
            if self.accelerator == "tcg" and not program.deterministic and can_watch(self._symbols):
                return WatchingTracer(*given, joining=joining)
            return ExitTracer(*given, joining=joining, only_death=program.deterministic and program.cpus > 1)
        except HypervisorError:
            return None


@dataclass(frozen=True, slots=True)
class _Stub:
    """A debug stub, and the main thread's stack pointer if the guest is past that thread's entry."""

    gdb: GdbRemote
    stack: int = 0


def _begin(guest: Guest) -> tuple[Callable[[], bool], Mapping[str, str]]:
    """Let the guest run; stop at a fault."""
    guest.vm.resume()
    return lambda: bool(guest.monitor.faults()), {}


def _handle_stop(guest: Guest, tracer: ExitTracer) -> bool:
    """Handle a stop; returns whether the wait is to end: the kernel is dying, or the guest is gone."""
    more = tracer.take()
    if not more:
        guest.console.watched.pop(tracer.fileno())
    return tracer.dead or not more
