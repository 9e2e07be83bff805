"""A program on Linux: run by the agent of a guest that was forked from a template, or booted where it can't be.

The agent reports the program's status over the control line, which programs in the guest do not see;
its end mark on the console, an identifier that was drawn for this run, says that all output has come.
"""

import secrets
import socket
from time import monotonic

from harness.cache import Cache
from harness.console.transcript import Transcript
from harness.errors import HarnessError, HypervisorError
from harness.events import publish
from harness.guest import Guest
from harness.hypervisors import Hypervisor, Template, Vm, forking
from harness.machine import Image, Machine
from harness.programs import Program, Run, Visit, conclude, failed_to_run
from harness.verdict import Observation

BOOT_SECONDS = 60.0
GRACE_SECONDS, LONGEST_GRACE = 1.0, 5.0
LONGEST_REPORT = 4096


class Agent:
    """The guest's agent, spoken to over the control line; what it says is a guest's word, and bounded."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._received = b""
        self.gone = False
        self.ready = False
        self.exited: dict[str, int] = {}

    def fileno(self) -> int:
        return self._line.fileno()

    def run(self, identifier: str, command: str) -> None:
        """Have the command run; its status will be in `exited`."""
        self._line.sendall(f"run {identifier} {command}\n".encode())

    def listen(self) -> bool:
        """Take in what the agent said; called when the line is readable. Always ends the wait."""
        data = self._line.recv(65536)
        self.gone = not data
        *lines, rest = (self._received + data).split(b"\n")
        self._received = rest[:LONGEST_REPORT]
        for line in lines:
            words = line[:LONGEST_REPORT].decode("utf-8", "replace").split()
            if words[:1] == ["ready"]:
                self.ready = True
            elif len(words) == 3 and words[0] == "exited" and words[2].isdecimal():
                self.exited.setdefault(words[1], int(words[2]))
        return True


class LinuxRunner:
    """Runs programs in forks of one template for each size of guest; `origin` says which it was."""

    def __init__(
        self, image: Image, hypervisor: Hypervisor, accelerator: str, cache: Cache, boot_scale: float
    ) -> None:
        self.image = image
        self.accelerator = accelerator
        self._hypervisor = hypervisor
        self._cache = cache
        self._boot_seconds = BOOT_SECONDS * boot_scale

    def machine(self, program: Program) -> Machine:
        """The machine that the program's guest is."""
        return Machine(
            self.image, self.image.cmdline, program.cpus, program.memory, self.accelerator,
            program.network, control=True, forwards=program.forwards,
        )  # fmt: skip

    def run(self, program: Program, visit: Visit | None = None) -> Run:
        started = monotonic()
        machine = self.machine(program)
        try:
            vm, origin = self._start(machine)
        except (HarnessError, OSError) as error:
            return failed_to_run(program, str(error), Transcript(started))
        with Guest(machine, vm, started) as guest:
            try:
                return self._observe(program, guest, origin, visit)
            except (HarnessError, OSError) as error:
                return failed_to_run(program, str(error), guest.transcript, vm.command)

    def prepare(self) -> None:
        """Make the template of guests of the default size."""
        self.template(self.machine(Program("", "", 0)))

    def template(self, machine: Machine) -> Template | None:
        """The machine stopped where it takes commands, from the cache; None where it can't be forked."""
        forks = forking(self._hypervisor)
        if forks is None:
            return None
        parts = {"image": self.image.digest, "machine": machine.to_json(), "made by": forks.identity(machine)}
        where = self._cache.get("template", parts, lambda out: self._make_template(Template(machine, out)))
        return Template(machine, where)

    def _start(self, machine: Machine) -> tuple[Vm, str]:
        template = self.template(machine)
        forks = forking(self._hypervisor)
        if template and forks:
            return forks.fork(template), "forked"
        return self._hypervisor.start(machine), "booted"

    def _make_template(self, template: Template) -> None:
        publish("template.started", str(self.image.cell), f"{template.machine.memory} MiB")
        forks = forking(self._hypervisor)
        assert forks is not None
        vm = forks.start_template(template)
        with Guest(template.machine, vm, monotonic()) as guest:
            agent = _attach(guest)
            vm.resume()
            if not guest.wait(lambda: agent.ready or agent.gone, monotonic() + self._boot_seconds) or agent.gone:
                last = "; ".join(line.text for line in guest.transcript.tail(3))
                raise HypervisorError(f"The template's guest did not boot. The console's last lines: {last}")
            forks.freeze(vm, template)
        publish("template.done", str(self.image.cell))

    def _observe(self, program: Program, guest: Guest, origin: str, visit: Visit | None) -> Run:
        vm, monitor, started = guest.vm, guest.monitor, guest.transcript.start
        agent = _attach(guest)
        vm.resume()
        if origin == "booted":
            agent.ready = False
            guest.wait(lambda: agent.ready or guest.closed, monotonic() + self._boot_seconds)
        else:
            agent.ready = True
        identifier = secrets.token_hex(8)
        mark = f"{identifier} end".encode()
        monitor.expect(mark)

        def over() -> bool:
            return (identifier in agent.exited and monitor.saw(mark)) or bool(monitor.faults()) or agent.gone

        activity = None
        if agent.ready:
            agent.run(identifier, program.command)
            if visit:
                guest.visit(visit.line, visit.act, over, monotonic() + program.limit)
            activity = guest.wait_within(over, program.limit)
        if monitor.faults() or agent.gone:
            guest.wait_for_quiet(GRACE_SECONDS, LONGEST_GRACE)
        status = agent.exited.get(identifier)
        proven = status is not None and monitor.saw(mark)
        alive = not (guest.closed or agent.gone)
        ending = None if alive else vm.ending()
        trouble = vm.trouble() if activity and alive else ""
        if ending is None and not alive:
            trouble = vm.trouble() or "QEMU closed a line to the guest and still runs"
        seen = Observation(
            booted=agent.ready,
            status=status if proven or status else None,
            status_from="the guest's agent, over the control line",
            clean_end=proven and alive,
            ending=ending,
            faults=monitor.faults(),
            activity=activity,
            trouble=trouble,
            limit=program.limit,
            seconds=monotonic() - started,
            skip_statuses=program.skip_statuses,
        )
        registers, vcpus = (vm.registers(), vm.vcpus()) if alive and not proven else ("", ())
        return conclude(program, seen, guest.transcript, vm.command, origin, registers, vcpus)


def _attach(guest: Guest) -> Agent:
    """Listen to the guest's agent whenever its console is waited for."""
    line = guest.vm.control
    if line is None:
        raise HypervisorError("The machine has no control line.", "This is a fault of the harness: report it.")
    agent = Agent(line)

    def heard() -> bool:
        agent.listen()
        if agent.gone:
            guest.console.watched.pop(line.fileno(), None)
        return True

    guest.console.watched[line.fileno()] = heard
    return agent
