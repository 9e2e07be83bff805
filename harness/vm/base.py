"""The interfaces of hypervisors: two small protocols, and optional abilities as further protocols.

Each hypervisor is a package with a module whose `driver()` returns a `Hypervisor`, and a row of `matrix.toml`.
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
    """Its vCPUs stopped for good: only the kernel's message tells a power-off from a crash that ends in a halt."""
    RESET = "reset"
    PANICKED = "panicked"
    STOPPED = "stopped_by_harness"
    KILLED = "killed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a guest's process ended; `detail` is the hypervisor's own description."""

    cause: ExitCause
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Vcpu:
    """One virtual cpu at one moment: its program counter (None if the hypervisor does not give it), the seconds of
    host cpu that it used, and the seconds that it was ready to run while the host ran something else."""

    index: int
    pc: int | None
    cpu_seconds: float
    waited_seconds: float


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address at which a guest's port is reached, and the prefix of a command that is to reach it."""

    host: str
    port: int
    command_prefix: tuple[str, ...] = ()


class Vm(Protocol):
    """A running virtual machine: sockets to talk to it, and its end. Closing it leaves nothing behind.

    `started` is when its process was started, in monotonic seconds.
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
        """Ask the guest to power off."""
        ...

    def stop(self) -> None:
        """End the process now; its exit status says so."""
        ...

    def ports(self) -> Mapping[int, int]:
        """The host port on 127.0.0.1 behind each forwarded guest port."""
        ...

    def wait_for_exit(self, timeout: float = 5.0) -> ExitStatus | None:
        """Wait until the process has ended; returns its exit status, or None if it still runs after `timeout`
        seconds."""
        ...

    def vcpus(self) -> tuple[Vcpu, ...]:
        """Every vCPU now; empty if the hypervisor no longer answers."""
        ...

    def registers(self) -> str:
        """The vCPUs' registers as text for people; empty if the hypervisor no longer answers."""
        ...

    def hypervisor_error(self) -> str:
        """Why the hypervisor itself stopped the guest (a full disk, an I/O error); empty if it did not."""
        ...

    def close(self) -> None:
        """End the process if it still runs, and release everything it held."""
        ...


class Hypervisor(Protocol):
    """Starts machines."""

    name: str

    def start(self, machine: Machine) -> Vm:
        """Start the machine as a process, with stopped vCPUs. Raises `HypervisorError` with the hypervisor's
        messages."""
        ...


@dataclass(frozen=True, slots=True)
class Template:
    """A snapshot: a guest stopped at a known point. `machine` is its machine; `folder` holds its RAM, the rest of
    its state, and its disks' overlays."""

    machine: Machine
    folder: Path


@runtime_checkable
class SupportsSnapshots(Protocol):
    """The ability to stop a guest at a point and start clones of it there. `has_debug_stub` is whether a stub can
    tell the point and clones have one."""

    has_debug_stub: bool

    def identity(self, machine: Machine) -> str:
        """What a snapshot depends on besides the machine: for example a version that can't read another's
        state."""
        ...

    def start_template(self, template: Template) -> Vm:
        """Start the machine with its RAM and disk writes in the folder, to be run to the point."""
        ...

    def freeze(self, vm: Vm, template: Template) -> None:
        """Stop the guest, write the rest of its state to the folder, and end its process."""
        ...

    def fork(self, template: Template) -> Vm:
        """A stopped clone of the snapshot's guest; it shares nothing that it writes with any other."""
        ...


@runtime_checkable
class StartsCounted(Protocol):
    """The ability to start deterministic machines, for guests of the named arches."""

    counted_arches: frozenset[str]


@runtime_checkable
class Counts(Protocol):
    """The ability of a running deterministic machine to count instructions."""

    def instructions(self) -> int:
        """The instructions that the guest has run since its reset; exact while it is stopped."""
        ...


@runtime_checkable
class ReadsCode(Protocol):
    """The ability of a running machine to show the bytes that a vCPU has at an address."""

    def code(self, vcpu: int, address: int, length: int) -> bytes:
        """`length` bytes at the virtual address, as the vCPU with that index sees it; empty if there are none."""
        ...


@runtime_checkable
class HasOwnNetwork(Protocol):
    """The ability of a running machine to let commands into its guest's network, if that is separate from the
    host's."""

    def endpoint(self, port: int) -> Endpoint | None:
        """The guest's port without a forwarder in between; None if the network is not separate."""
        ...


@runtime_checkable
class SupportsBallooning(Protocol):
    """The ability of a running machine to take memory from its guest and give it back, if it has a balloon."""

    def set_balloon(self, mib: int) -> None:
        """Ask the guest to use only so many MiB."""
        ...


def snapshots_of(driver: Hypervisor) -> SupportsSnapshots | None:
    """The driver's snapshot support, if it has any."""
    return driver if isinstance(driver, SupportsSnapshots) else None
