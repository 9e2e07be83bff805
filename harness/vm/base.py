"""What turns a machine into a running process: two small protocols, and optional powers beside them.

One package a hypervisor, with a module whose `driver()` returns a `Hypervisor`, and a row of `matrix.toml`.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from io import FileIO
from pathlib import Path
from typing import Protocol, runtime_checkable

from harness.core.machine import Machine


class ExitCause(StrEnum):
    """Who or what ended a guest's process."""

    POWERED_OFF = "powered_off"
    OFF_OR_HALTED = "powered_off_or_halted"
    """Its vCPUs stopped for good: only the kernel's word tells a power-off from a crash that ends in a halt."""
    RESET = "reset"
    PANICKED = "panicked"
    STOPPED = "stopped_by_harness"
    KILLED = "killed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a guest's process ended; `detail` is the hypervisor's own word for it."""

    cause: ExitCause
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Vcpu:
    """One virtual cpu at one moment: its program counter (None where the hypervisor does not tell), the seconds of
    host cpu that it has used, and the seconds that it was ready to run and the host ran something else."""

    index: int
    pc: int | None
    cpu_seconds: float
    waited_seconds: float


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a port of a guest is reached, and what a command begins with that is to be there."""

    host: str
    port: int
    entering: tuple[str, ...] = ()


class Vm(Protocol):
    """A running virtual machine: sockets to talk to it, and its end. Closing it leaves nothing behind.

    `started` is when its process was, in monotonic seconds.
    """

    pid: int
    started: float
    command: tuple[str, ...]
    console: socket.socket | FileIO
    control: socket.socket | None
    debug: socket.socket | None

    def resume(self) -> None:
        """Let the vCPUs run; a machine is created stopped."""
        ...

    def press_power_button(self) -> None:
        """Ask the guest to turn itself off."""
        ...

    def stop(self) -> None:
        """End the process now, and say so in its ending."""
        ...

    def ports(self) -> Mapping[int, int]:
        """The host port of 127.0.0.1 behind each forwarded guest port."""
        ...

    def ending(self, timeout: float = 5.0) -> ExitStatus | None:
        """How the process ended, or None if it still runs after `timeout` seconds."""
        ...

    def vcpus(self) -> tuple[Vcpu, ...]:
        """Every vCPU now; empty if the hypervisor no longer answers."""
        ...

    def registers(self) -> str:
        """The vCPUs' registers as text for a person; empty if the hypervisor no longer answers."""
        ...

    def trouble(self) -> str:
        """Why the hypervisor itself holds the guest stopped (a full disk, an I/O error), or nothing."""
        ...

    def close(self) -> None:
        """End the process if it still runs, and give back everything it held."""
        ...


class Hypervisor(Protocol):
    """Starts machines."""

    name: str

    def start(self, machine: Machine) -> Vm:
        """The machine as a process, its vCPUs stopped. Raises `HypervisorError` in the hypervisor's words."""
        ...


@dataclass(frozen=True, slots=True)
class Template:
    """A guest stopped at a known point: the machine that it is, and the folder with its RAM, the rest of
    its state, and what its disks had become."""

    machine: Machine
    folder: Path


@runtime_checkable
class SupportsSnapshots(Protocol):
    """The power to stop a guest at a point and start copies of it there."""

    def identity(self, machine: Machine) -> str:
        """What besides the machine a template depends on: a version that can't read another's state."""
        ...

    def start_template(self, template: Template) -> Vm:
        """The template's machine with its RAM and disk writes in the folder, to be run to the point."""
        ...

    def freeze(self, vm: Vm, template: Template) -> None:
        """Stop the guest, write the rest of its state to the folder, and end its process."""
        ...

    def fork(self, template: Template) -> Vm:
        """A copy of the template's guest, stopped; it shares nothing that it writes with any other."""
        ...


@runtime_checkable
class StartsCounted(Protocol):
    """The power to start `counted` machines, for guests of the arches that it names."""

    counted_arches: frozenset[str]


@runtime_checkable
class Counts(Protocol):
    """A running machine's power to count, if it is a `counted` one."""

    def instructions(self) -> int:
        """How many the guest has run since its reset; exact while it stands still."""
        ...


@runtime_checkable
class HasOwnNetwork(Protocol):
    """A running machine's power to let others into its guest's network, where that is apart from this host's."""

    def place(self, port: int) -> Endpoint | None:
        """The guest's port without a forwarder on the way; None where the network is not apart."""
        ...


@runtime_checkable
class SupportsBallooning(Protocol):
    """A running machine's power to take memory from its guest, and to give it back, where it has a balloon."""

    def set_balloon(self, mib: int) -> None:
        """Ask the guest to be content with so many MiB."""
        ...


def snapshots_of(driver: Hypervisor) -> SupportsSnapshots | None:
    """The driver's power to fork, if it has it."""
    return driver if isinstance(driver, SupportsSnapshots) else None
