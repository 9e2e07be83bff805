"""Cloud Hypervisor: driven by REST over a unix socket in a folder that only it sees; raw disks; KVM only.

The guest's serial line is its standard output, which is heard from the first byte; typed into it can't be, for it
reads from terminals only. Of a panic and of a reset it tells by its event monitor; after a reset it would boot the
guest again, and is ended instead.

Source: Cloud Hypervisor's docs/api.md, vmm/src/serial_manager.rs, event_monitor/src/lib.rs,
devices/src/pvpanic.rs.
"""

import json
import os
import socket
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from harness.core.errors import HostError
from harness.core.machine import Machine
from harness.vm.base import ExitCause, ExitStatus, Vcpu
from harness.vm.cloud_hypervisor import api as requests
from harness.vm.common.close_on_error import close_on_error
from harness.vm.common.command_line_tool import program
from harness.vm.common.process import Child
from harness.vm.common.rest_client import Api
from harness.vm.common.sandbox import in_sandbox, inside, parts_of
from harness.vm.common.unsupported import reject_unsupported
from harness.vm.disks.raw_copy import raw_copies
from harness.vm.disks.virtiofsd import Virtiofsd
from harness.vm.network.port_forwarding import Forwards, forward

NAME = "Cloud Hypervisor"
API_SOCKET = "api.sock"
CURE = "Put a release of https://github.com/cloud-hypervisor/cloud-hypervisor into PATH."
CAUSES = {("guest", "panic"): ExitCause.PANICKED, ("vm", "rebooting"): ExitCause.RESET}
LONGEST_EVENT = 1 << 16  # bytes


class Events:
    """What the event monitor says, heard in a thread until the process has closed it."""

    def __init__(self, pipe: int, child: Child) -> None:
        self.cause: ExitCause | None = None
        self._pipe = pipe
        self._child = child
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the last event; the process must have ended."""
        self._thread.join()

    def _listen(self) -> None:
        heard = b""
        with os.fdopen(self._pipe, "rb", buffering=0) as pipe:
            while data := pipe.read(LONGEST_EVENT):
                *events, heard = (heard + data).split(b"\n\n")
                heard = heard[-LONGEST_EVENT:]
                for event in events:
                    self._note(event)

    def _note(self, text: bytes) -> None:
        try:
            event = json.loads(text)
            cause = CAUSES.get((event["source"], event["event"]))
        except (ValueError, TypeError, KeyError):
            return
        if cause and self.cause is None:
            self.cause = cause
            self._child.kill()


class CloudHypervisorVm:
    """One Cloud Hypervisor process and the machine in it."""

    control: socket.socket | None = None
    debug: socket.socket | None = None

    def __init__(self, child: Child, console: socket.socket, events: Events) -> None:
        self._child = child
        self._events = events
        self._forwards: Forwards | None = None
        self._share: Virtiofsd | None = None
        self.pid = child.pid
        self.started = child.started
        self.command = child.command
        self.console = console
        self.api = Api(NAME, inside(child.pid, API_SOCKET), requests.BASE)

    def connect(self, machine: Machine) -> None:
        """Wait for the process and make it the machine. Raises `HypervisorError` in its words."""
        self.api.wait(self._child, self._child.words)
        if machine.share:
            self._share = Virtiofsd(machine.share, _listening(inside(self.pid, requests.SHARE)))
        self.api.send(requests.creation(machine))
        if machine.forwards:
            self._forwards = forward(self.pid, machine.forwards)

    def resume(self) -> None:
        self.api.send(requests.BOOT)

    def press_power_button(self) -> None:
        self.api.send(requests.POWER_BUTTON)

    def stop(self) -> None:
        self._child.kill()

    def ports(self) -> Mapping[int, int]:
        return self._forwards.ports if self._forwards else {}

    def ending(self, timeout: float = 5.0) -> ExitStatus | None:
        status = self._child.status(timeout)
        if status is None:
            return None
        self._events.join()
        if self._events.cause:
            return ExitStatus(self._events.cause, f"{NAME} told of it, and was ended")
        return self._child.ending(status, self.words)

    def vcpus(self) -> tuple[Vcpu, ...]:
        return self._child.vcpus("vcpu")

    def registers(self) -> str:
        return ""

    def trouble(self) -> str:
        return self.api.complaint(requests.PING)

    def words(self) -> str:
        """What it wrote on its standard error, its log included, and virtiofsd on its."""
        words = self._child.words()
        return f"{words} (virtiofsd: {self._share.words()})" if self._share else words

    def close(self) -> None:
        self._child.close()
        self._events.join()
        if self._forwards:
            self._forwards.close()
        if self._share:
            self._share.end()
        self.console.close()


class CloudHypervisor:
    """Starts Cloud Hypervisor machines."""

    name = "cloud_hypervisor"

    def start(self, machine: Machine) -> CloudHypervisorVm:
        reject_unsupported(replace(machine, devices=replace(machine.devices, share=False)), NAME, "virtio-blk")
        binary = Path(program("cloud-hypervisor", CURE)).resolve()
        with ExitStack() as stack:
            disks = raw_copies(machine, stack)
            vm = _spawn(binary, parts_of(machine, disks), disks, machine.network)
        with close_on_error(vm):
            vm.connect(machine)
        return vm


def driver() -> CloudHypervisor:
    """The driver for the axis value `cloud_hypervisor`."""
    return CloudHypervisor()


def _listening(path: Path) -> socket.socket:
    """A socket of that name that takes one connection."""
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen(1)
    return made


def _spawn(binary: Path, links: Mapping[str, str], disks: list[int], network: bool) -> CloudHypervisorVm:
    ours, theirs = socket.socketpair()
    heard, told = os.pipe()
    command = [str(binary), "--api-socket", f"path={API_SOCKET}", "--event-monitor", f"fd={told}"]
    try:
        with theirs:
            child = Child(NAME, in_sandbox(command, links, network), theirs, [*disks, told])
    except HostError:
        ours.close()
        os.close(heard)
        raise
    finally:
        os.close(told)
    return CloudHypervisorVm(child, ours, Events(heard, child))
