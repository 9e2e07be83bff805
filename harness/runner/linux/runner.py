"""Runs a program on Linux, by the agent of a guest that was cloned from a snapshot, or booted if that is
impossible.

The agent reports the program's status over the control line, which programs in the guest can't see, and passes on
the kernel's own log. Its end mark on the console, an identifier drawn for this run, shows that all output has
arrived.
"""

import secrets
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from time import monotonic

from harness.core.errors import HarnessError, HypervisorError
from harness.core.machine import Image, Machine
from harness.host.cache import Cache
from harness.runner.base import Program, Run, conclude, failed_to_run
from harness.runner.console.transcript import Transcript
from harness.runner.guest import Guest
from harness.runner.interaction import GuestClient, Interaction
from harness.runner.linux.agent import Agent
from harness.runner.linux.faults import FaultWatch
from harness.runner.linux.observed_run import ObservedRun
from harness.runner.machine_setup import apply_profile
from harness.runner.ready_snapshot import fork_ready
from harness.runner.snapshot_cache import cached_template
from harness.vm.base import Hypervisor, Template, Vm, snapshots_of

BOOT_SECONDS = 60.0
LOG_IS_OPEN = "printk.devkmsg=on"
"""The agent may write to the kernel's log without rate limits, and no program can change that.

Source: Linux, kernel/printk/printk.c (devkmsg_write, control_devkmsg).
"""
REMEMBERED = "/run/program"
END = f"kill -TERM $(cat {REMEMBERED})"


class LinuxRunner:
    """Runs programs in clones of one snapshot per size of guest, or boots a guest for each."""

    def __init__(
        self,
        image: Image,
        hypervisor: Hypervisor,
        accelerator: str,
        cache: Cache,
        boot_scale: float,
        fork: bool = True,
    ) -> None:
        self.image = image
        self.accelerator = accelerator
        self._hypervisor = hypervisor
        self._cache = cache
        self._fork = fork
        self._boot_seconds = BOOT_SECONDS * boot_scale

    def machine(self, program: Program) -> Machine:
        """The machine of the program's guest."""
        machine = Machine(
            self.image, f"{self.image.cmdline} {LOG_IS_OPEN}", program.cpus, program.memory, self.accelerator,
            program.network, control=True, forwards=program.forwards,
        )  # fmt: skip
        return apply_profile(machine, program.variant, self._cache)

    def run(self, program: Program, interaction: Interaction | None = None) -> Run:
        machine = self.machine(program)
        try:
            vm, origin, running = self._start(machine, program, interaction)
        except (HarnessError, OSError) as error:
            return failed_to_run(program, str(error), Transcript(monotonic()))
        with Guest(machine, vm) as guest:
            try:
                return self._observe(program, guest, origin, interaction, running)
            except (HarnessError, OSError) as error:
                return failed_to_run(program, str(error), guest.transcript, vm.command)

    def prepare(self) -> None:
        """Make the snapshot of guests of the default size."""
        self.template(self.machine(Program("", "", 0)))

    def template(self, machine: Machine) -> Template | None:
        """The snapshot of the machine, where it takes commands, from the cache; None if it can't be cloned."""
        forks = snapshots_of(self._hypervisor)
        if forks is None or not self._fork or not machine.devices.supports_snapshots:
            return None

        def make(template: Template) -> None:
            with Guest(machine, forks.start_template(template)) as guest:
                self._boot(guest)
                forks.freeze(guest.vm, template)

        return cached_template(self._cache, forks, machine, make, f"{machine.memory} MiB")

    def _start(self, machine: Machine, program: Program, interaction: Interaction | None) -> tuple[Vm, str, str]:
        """The guest, its origin, and the program's identifier if it runs already."""
        forks = snapshots_of(self._hypervisor)
        if program.slow_start and interaction and forks and machine.devices.supports_snapshots:

            def begin(guest: Guest) -> tuple[Callable[[], bool], Mapping[str, str]]:
                agent, identifier = self._boot(guest), secrets.token_hex(8)
                agent.run(identifier, _shell_command(program, long_running=True))
                return lambda: bool(agent.exited) or agent.gone, {"identifier": identifier}

            with suppress(HypervisorError):  # then a booted guest shows why
                command = _shell_command(program, long_running=True)
                vm, note = fork_ready(machine, command, interaction, forks, self._cache, begin)
                return vm, "forked when ready", note["identifier"]
        template = self.template(machine)
        if template and forks:
            return forks.fork(template), "forked", ""
        return self._hypervisor.start(machine), "booted", ""

    def _boot(self, guest: Guest) -> Agent:
        """Run the guest until its agent takes commands. Raises `HypervisorError` if it does not."""
        agent = _attach(guest)
        guest.vm.resume()
        guest.wait_within(lambda: agent.ready or agent.gone, self._boot_seconds)
        if agent.ready and not agent.gone:
            FaultWatch(guest, agent).settle()  # forks begin with what is said after this
        if agent.gone or not agent.ready:
            last = "; ".join(line.text for line in guest.transcript.tail(3))
            raise HypervisorError(f"The template's guest did not boot. The console's last lines: {last}")
        return agent

    def _observe(
        self, program: Program, guest: Guest, origin: str, interaction: Interaction | None, running: str
    ) -> Run:
        """`running` is the identifier of the program if the guest was cloned with it running."""
        agent, boot_limit = _attach(guest), min(self._boot_seconds, program.boot_limit)
        agent.ready = origin != "booted"  # the snapshot was taken when its agent accepted commands
        guest.vm.resume()
        late = None
        if not agent.ready:
            late = guest.wait_within(lambda: agent.ready or guest.closed, boot_limit)
        identifier = running or secrets.token_hex(8)
        observed = ObservedRun(program, guest, agent, identifier)
        client = None
        if interaction:
            client = GuestClient(guest, interaction, lambda: agent.run("end", END), agent.tell)
        activity = late
        if agent.ready:
            if not running:
                agent.run(identifier, _shell_command(program, client is not None))
            if client:
                activity = client.watch(guest, observed.over, program.limit)
            else:
                activity = guest.wait_within(observed.over, program.limit)
        observed.settle(activity)
        limit = boot_limit if late else program.limit
        seen = observed.observation(activity, limit, client.result() if client else None)
        registers, vcpus = (guest.vm.registers(), guest.vm.vcpus()) if observed.stuck else ("", ())
        run = conclude(program, seen, guest.transcript, guest.vm.command, origin, registers, vcpus)
        return replace(run, kernel_log=agent.log.shown())


def _shell_command(program: Program, long_running: bool) -> str:
    """The command for the guest's shell. A long-running program's process id is stored, so that it can be
    ended."""
    settings = "".join(f"export {name}={shlex.quote(value)}; " for name, value in program.environment)
    return settings + (f"echo $$ > {REMEMBERED}; exec {program.command}" if long_running else program.command)


def _attach(guest: Guest) -> Agent:
    """Read from the guest's agent whenever its console is waited for."""
    line = guest.vm.control
    if line is None:
        raise HypervisorError("The machine has no control line.", "This is a fault of the harness: report it.")
    agent = Agent(line)

    def receive() -> bool:
        agent.listen()
        if agent.gone:
            guest.console.watched.pop(line.fileno(), None)
        return True

    guest.console.watched[line.fileno()] = receive
    return agent
