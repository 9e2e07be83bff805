"""A program on Linux: run by the agent of a guest that was forked from a template, or booted where it can't be.

The agent reports the program's status over the control line, which programs in the guest do not see;
its end mark on the console, an identifier that was drawn for this run, says that all output has come.
"""

import base64
import secrets
import shlex
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic

from harness.cache import Cache
from harness.console.transcript import Transcript
from harness.errors import HarnessError, HypervisorError
from harness.events import publish
from harness.fitting import fitted
from harness.guest import Guest
from harness.hypervisors import Hypervisor, Template, Vm, forking
from harness.machine import Image, Machine
from harness.programs import Program, Run, conclude, failed_to_run, unprinted
from harness.programs.ready import fork_ready
from harness.programs.visit import Told, Visit, Visitor
from harness.verdict import Observation

BOOT_SECONDS = 60.0
GRACE_SECONDS, LONGEST_GRACE = 1.0, 5.0
LONGEST_REPORT = 1 << 20
REMEMBERED = "/run/program"
END = f"kill -TERM $(cat {REMEMBERED})"


class Agent:
    """The guest's agent, spoken to over the control line; what it says is a guest's word, and bounded."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._received = b""
        self.gone = False
        self.ready = False
        self.exited: dict[str, int] = {}
        self._asked: dict[str, Callable[[Told], None]] = {}

    def fileno(self) -> int:
        return self._line.fileno()

    def run(self, identifier: str, command: str) -> None:
        """Have the command run; its status will be in `exited`."""
        self._line.sendall(f"run {identifier} {command}\n".encode())

    def tell(self, command: str, answer: Callable[[Told], None]) -> None:
        """Have the command run beside the program; `answer` is called when it has ended."""
        identifier = secrets.token_hex(8)
        self._asked[identifier] = answer
        self._line.sendall(f"tell {identifier} {command}\n".encode())

    def listen(self) -> bool:
        """Take in what the agent said; called when the line is readable. Always ends the wait."""
        data = self._line.recv(1 << 16)
        self.gone = not data
        *lines, rest = (self._received + data).split(b"\n")
        self._received = rest[:LONGEST_REPORT]
        for line in lines:
            words = line[:LONGEST_REPORT].decode("utf-8", "replace").split()
            if words[:1] == ["ready"]:
                self.ready = True
            elif len(words) == 3 and words[0] == "exited" and _is_status(words[2]):
                self.exited.setdefault(words[1], int(words[2]))
            elif len(words) == 4 and words[0] == "told" and _is_status(words[2]) and words[1] in self._asked:
                output, _, errors = words[3].partition(":")
                self._asked.pop(words[1])(Told(int(words[2]), _decoded(output), _decoded(errors)))
        return True


class LinuxRunner:
    """Runs programs in forks of one template for each size of guest, or boots a guest for each."""

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
        """The machine that the program's guest is."""
        machine = Machine(
            self.image, self.image.cmdline, program.cpus, program.memory, self.accelerator,
            program.network, control=True, forwards=program.forwards,
        )  # fmt: skip
        return fitted(machine, program.variant, self._cache)

    def run(self, program: Program, visit: Visit | None = None) -> Run:
        machine = self.machine(program)
        try:
            vm, origin, running = self._start(machine, program, visit)
        except (HarnessError, OSError) as error:
            return failed_to_run(program, str(error), Transcript(monotonic()))
        with Guest(machine, vm) as guest:
            try:
                return self._observe(program, guest, origin, visit, running)
            except (HarnessError, OSError) as error:
                return failed_to_run(program, str(error), guest.transcript, vm.command)

    def prepare(self) -> None:
        """Make the template of guests of the default size."""
        self.template(self.machine(Program("", "", 0)))

    def template(self, machine: Machine) -> Template | None:
        """The machine stopped where it takes commands, from the cache; None where it can't be forked."""
        forks = forking(self._hypervisor)
        if forks is None or not self._fork or not machine.devices.can_be_forked:
            return None
        parts = {"image": self.image.digest, "machine": machine.to_json(), "made by": forks.identity(machine)}
        where = self._cache.get("template", parts, lambda out: self._make_template(Template(machine, out)))
        return Template(machine, where)

    def _start(self, machine: Machine, program: Program, visit: Visit | None) -> tuple[Vm, str, str]:
        """The guest, how it came to be, and the program's identifier if it runs already."""
        forks = forking(self._hypervisor)
        if program.slow_start and visit and forks and machine.devices.can_be_forked:

            def begin(guest: Guest) -> tuple[Callable[[], bool], Mapping[str, str]]:
                agent, identifier = self._boot(guest), secrets.token_hex(8)
                agent.run(identifier, _shell_command(program, serves=True))
                return lambda: bool(agent.exited) or agent.gone, {"identifier": identifier}

            with suppress(HypervisorError):  # then a booted guest shows why
                command = _shell_command(program, serves=True)
                vm, note = fork_ready(machine, command, visit, forks, self._cache, begin)
                return vm, "forked when ready", note["identifier"]
        template = self.template(machine)
        if template and forks:
            return forks.fork(template), "forked", ""
        return self._hypervisor.start(machine), "booted", ""

    def _make_template(self, template: Template) -> None:
        publish("template.started", str(self.image.cell), f"{template.machine.memory} MiB")
        forks = forking(self._hypervisor)
        assert forks is not None
        vm = forks.start_template(template)
        with Guest(template.machine, vm) as guest:
            self._boot(guest)
            forks.freeze(vm, template)
        publish("template.done", str(self.image.cell))

    def _boot(self, guest: Guest) -> Agent:
        """Let the guest run until its agent takes commands. Raises `HypervisorError` if it does not."""
        agent = _attach(guest)
        guest.vm.resume()
        guest.wait_within(lambda: agent.ready or agent.gone, self._boot_seconds)
        if agent.gone or not agent.ready:
            last = "; ".join(line.text for line in guest.transcript.tail(3))
            raise HypervisorError(f"The template's guest did not boot. The console's last lines: {last}")
        return agent

    def _observe(self, program: Program, guest: Guest, origin: str, visit: Visit | None, running: str) -> Run:
        """`running` is the identifier of the program where the guest was forked with it."""
        vm, monitor, started = guest.vm, guest.monitor, guest.transcript.start
        agent = _attach(guest)
        late, boot_limit = None, min(self._boot_seconds, program.boot_limit)
        vm.resume()
        if origin == "booted":
            agent.ready = False
            late = guest.wait_within(lambda: agent.ready or guest.closed, boot_limit)
        else:
            agent.ready = True
        identifier = running or secrets.token_hex(8)
        mark = f"{identifier} end".encode()
        monitor.expect(mark)

        def over() -> bool:
            return (identifier in agent.exited and monitor.saw(mark)) or bool(monitor.faults()) or agent.gone

        activity = late
        visitor = Visitor(guest, visit, lambda: agent.run("end", END), agent.tell) if visit else None
        if agent.ready:
            if not running:
                agent.run(identifier, _shell_command(program, visitor is not None))
            if visitor:
                activity = visitor.watch(guest, over, program.limit)
            else:
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
            status=status if proven or status not in program.good_statuses else None,
            status_from="the guest's agent, over the control line",
            clean_end=proven and alive,
            ending=ending,
            faults=monitor.faults(),
            activity=activity,
            trouble=trouble,
            limit=boot_limit if late else program.limit,
            seconds=monotonic() - started,
            skip_statuses=program.skip_statuses,
            good_statuses=program.good_statuses,
            unprinted=unprinted(program, guest.transcript, self.image.cell.kernel),
            visited=visitor.result() if visitor else None,
            kept_waiting=guest.kept_waiting,
        )
        registers, vcpus = (vm.registers(), vm.vcpus()) if alive and not proven else ("", ())
        return conclude(program, seen, guest.transcript, vm.command, origin, registers, vcpus)


def _shell_command(program: Program, serves: bool) -> str:
    """What the guest's shell is told to run; a program that serves is remembered, so that it can be ended."""
    settings = "".join(f"export {name}={shlex.quote(value)}; " for name, value in program.environment)
    return settings + (f"echo $$ > {REMEMBERED}; exec {program.command}" if serves else program.command)


def _is_status(word: str) -> bool:
    """Whether it is a number that a status can be: a guest may say any, and of any length."""
    return word.isdecimal() and len(word) <= 3


def _decoded(text: str) -> bytes:
    """Base64 of a guest's, which may not be any."""
    try:
        return base64.b64decode(text)
    except ValueError:
        return b""


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
