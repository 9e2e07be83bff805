"""The exact cost of a boot: guest instructions from reset to each checkpoint of the kernel.

A deterministic machine has no clock but its instruction count, no randomness, and a console that never makes it
wait. So the same kernel with its files in RAM gives the same counts, whatever else the host does. A breakpoint
stops the guest *at* a checkpoint, because at any later moment it has run on: after OSv told its hypervisor to
power off, it waits in a loop of 175 instructions until the hypervisor's thread handles that.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import HarnessError, HypervisorError
from harness.core.machine import Machine
from harness.runner.guest import Guest
from harness.runner.osv.kernel_memory import REGISTERS
from harness.vm.base import Counts, Hypervisor
from harness.vm.gdb_remote import GdbRemote

CHECKPOINTS_FILE = Path(__file__).parent / "checkpoints.toml"
LAST_LINES = 4


class CountError(HarnessError):
    """A boot that could not be counted to its end, with the last lines of its console."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The end of a phase: the name of a kernel function, or one of our own names (`@entry`)."""

    phase: str
    until: str


@dataclass(frozen=True, slots=True)
class InstructionCounts:
    """A counted boot: its phases in order, with the instructions of each. `missed` are phases without a checkpoint
    of their own; they are part of the next phase."""

    phases: tuple[tuple[str, int], ...]
    missed: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """The instructions from reset to the last checkpoint."""
        return sum(count for _, count in self.phases)

    def until(self, phase: str) -> int:
        """The instructions from reset to the beginning of the phase."""
        names = [name for name, _ in self.phases]
        return sum(count for _, count in self.phases[: names.index(phase)])


def checkpoints(kernel: str) -> tuple[Checkpoint, ...]:
    """The checkpoints of a kernel's boot, in order."""
    return tuple(Checkpoint(**row) for row in tomllib.loads(CHECKPOINTS_FILE.read_text())[kernel])


def count(
    machine: Machine, driver: Hypervisor, wanted: Iterable[Checkpoint], addresses: Mapping[str, Sequence[int]],
    limit: float,
) -> InstructionCounts:
    """Boot the machine once and count its instructions from checkpoint to checkpoint, for at most `limit` seconds.

    `addresses` are those of the checkpoints that the kernel has, by their names; one is passed at the first of its
    own that is reached. Raises `CountError` if the guest does not reach the last one, `HypervisorError` if it
    can't be counted at all.
    """
    wanted = tuple(wanted)
    checkpoint_at = {address: one.phase for one in wanted for address in addresses.get(one.until, ())}
    vm = driver.start(machine)
    with Guest(machine, vm) as guest:
        if not isinstance(vm, Counts) or vm.debug is None:
            raise HypervisorError(f"The hypervisor {driver.name} counts no instructions.", "Count on qemu.")
        stub = GdbRemote(vm.debug, vm.pid)
        counts = _CountRecorder(stub, vm, checkpoint_at, REGISTERS[machine.image.cell.arch].pc)
        guest.console.watched[stub.fileno()] = counts.stopped
        stub.resume()
        last = wanted[-1].phase
        guest.wait_within(lambda: counts.gone or last in counts.passed, limit)
        if last not in counts.passed:
            console = "; ".join(line.text for line in guest.transcript.tail(LAST_LINES)) or "nothing"
            how = "ended" if guest.closed or counts.gone else f"went on for {limit:.0f} s"
            raise CountError(
                f"The counted boot of {machine.image.cell} {how} before it passed {wanted[-1].until}.",
                f"The console's last lines: {console}",
            )
    return _phases(wanted, counts.passed)


class _CountRecorder:
    """Records the count at each checkpoint when it is first reached."""

    def __init__(self, stub: GdbRemote, vm: Counts, checkpoint_at: Mapping[int, str], pc: int) -> None:
        self._stub = stub
        self._vm = vm
        self._checkpoint_at = dict(checkpoint_at)
        self._pc = pc
        self.passed: dict[str, int] = {}
        self.gone = False
        for address in self._checkpoint_at:
            if not stub.set_breakpoint(address):
                raise HypervisorError(f"The hypervisor takes no breakpoint at {address:#x}.")

    def stopped(self) -> bool:
        """Handle a stop of the guest at a checkpoint, or its end; returns whether that ends the wait."""
        report = self._stub.take_stop()
        if not report:
            self.gone = report is False
            return self.gone
        address = self._stub.register(self._pc)
        if phase := self._checkpoint_at.get(address):
            self.passed[phase] = self._vm.instructions()
            for other in [one for one, of in self._checkpoint_at.items() if of == phase]:
                del self._checkpoint_at[other]
                self._stub.clear_breakpoint(other)
        self._stub.resume()
        return True


def _phases(wanted: Iterable[Checkpoint], passed: Mapping[str, int]) -> InstructionCounts:
    """Turn the counts at checkpoints into counts of phases; a checkpoint that is reached out of order is a missed
    one."""
    phases, missed, before = [], [], 0
    for checkpoint in wanted:
        if passed.get(checkpoint.phase, -1) >= before:
            phases.append((checkpoint.phase, passed[checkpoint.phase] - before))
            before = passed[checkpoint.phase]
        else:
            missed.append(checkpoint.phase)
    return InstructionCounts(tuple(phases), tuple(missed))
