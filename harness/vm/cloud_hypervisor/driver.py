"""Cloud Hypervisor: controlled by REST over a unix socket in a private folder; raw disks; KVM only.

The guest's serial line is its standard output, which is read from the first byte; it cannot be written, because it
reads only from terminals. Its event monitor reports a panic and a reset; after a reset it would boot the guest
again, so it is killed. Source: Cloud Hypervisor's docs/api.md, vmm/src/serial_manager.rs,
event_monitor/src/lib.rs, devices/src/pvpanic.rs.
"""

import json
import os
import socket
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from io import FileIO
from pathlib import Path

from harness.core.close_on_error import close_on_error
from harness.core.machine import Machine
from harness.host.process.supervised import SupervisedProcess
from harness.vm.base import ExitCause, ExitStatus, Vcpu
from harness.vm.cloud_hypervisor import api as requests
from harness.vm.common.command_line_tool import program
from harness.vm.common.process import VmProcess
from harness.vm.common.rest_client import Api
from harness.vm.common.sandbox import in_sandbox, inside, parts_of
from harness.vm.common.unsupported import reject_unsupported
from harness.vm.disks.raw_copy import raw_copies
from harness.vm.disks.virtiofsd import start_virtiofsd
from harness.vm.network.port_forwarding import Forwards, forward

NAME = "Cloud Hypervisor"
API_SOCKET = "api.sock"
CURE = "Put a release of https://github.com/cloud-hypervisor/cloud-hypervisor into PATH."
CAUSES = {("guest", "panic"): ExitCause.PANICKED, ("vm", "rebooting"): ExitCause.RESET}
LONGEST_EVENT = 1 << 16  # bytes


class Events:
    """Reads the event monitor in a thread until the process closes it."""

    def __init__(self, pipe: FileIO, process: VmProcess) -> None:
        self.cause: ExitCause | None = None
        self._pipe = pipe
        self._process = process
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the last event; the process must have ended."""
        self._thread.join()

    def _listen(self) -> None:
        received = b""
        with self._pipe:
            while data := self._pipe.read(LONGEST_EVENT):
                *events, received = (received + data).split(b"\n\n")
                received = received[-LONGEST_EVENT:]
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
            self._process.stop()


class CloudHypervisorVm:
    """One Cloud Hypervisor process and the machine in it."""

    control: socket.socket | None = None
    debug: socket.socket | None = None

    def __init__(self, process: VmProcess, console: socket.socket, events: Events, held: ExitStack) -> None:
        """Take ownership of what is on the stack `held`: the process and its console."""
        self._process = process
        self._events = events
        self._forwards: Forwards | None = None
        self._share: SupervisedProcess | None = None
        self.pid = process.pid
        self.started = process.started
        self.command = process.command
        self.console = console
        self.api = Api(NAME, inside(process.pid, API_SOCKET), requests.BASE)
        self._held = held.pop_all()

    def connect(self, machine: Machine) -> None:
        """Wait for the process and configure the machine. Raises `HypervisorError` with its messages."""
        self.api.wait(self._process, self._process.log_tail)
        if machine.share:
            self._share = start_virtiofsd(machine.share, _listening(inside(self.pid, requests.SHARE)))
            self._held.callback(self._share.close)
        self.api.send(requests.creation(machine))
        if machine.forwards:
            self._forwards = forward(self.pid, machine.forwards)
            self._held.callback(self._forwards.close)

    def resume(self) -> None:
        self.api.send(requests.BOOT)

    def press_power_button(self) -> None:
        self.api.send(requests.POWER_BUTTON)

    def stop(self) -> None:
        self._process.stop()

    def ports(self) -> Mapping[int, int]:
        return self._forwards.ports if self._forwards else {}

    def wait_for_exit(self, timeout: float = 5.0) -> ExitStatus | None:
        status = self._process.wait(timeout)
        if status is None:
            return None
        self._events.join()
        if self._events.cause:
            return ExitStatus(self._events.cause, f"{NAME} told of it, and was ended")
        return self._process.exit_status(status, self.words)

    def vcpus(self) -> tuple[Vcpu, ...]:
        return self._process.vcpus("vcpu")

    def registers(self) -> str:
        return ""

    def hypervisor_error(self) -> str:
        return self.api.request_error(requests.PING)

    def words(self) -> str:
        """The text that it and virtiofsd wrote to their standard error, its log included."""
        words = self._process.log_tail()
        return f"{words} (virtiofsd: {self._share.log_tail()})" if self._share else words

    def close(self) -> None:
        self._process.close()
        self._events.join()
        self._held.close()


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
    """A listening socket with that name, for one connection."""
    made = socket.socket(socket.AF_UNIX)
    with close_on_error(made):
        made.bind(str(path))
        made.listen(1)
    return made


def _spawn(binary: Path, links: Mapping[str, str], disks: list[int], network: bool) -> CloudHypervisorVm:
    with ExitStack() as held, ExitStack() as stack:
        ours, theirs = socket.socketpair()
        held.enter_context(ours)
        end = stack.enter_context(theirs).fileno()
        events, notifier = os.pipe()
        stack.callback(os.close, notifier)
        pipe = held.enter_context(FileIO(events))
        command = [str(binary), "--api-socket", f"path={API_SOCKET}", "--event-monitor", f"fd={notifier}"]
        command = in_sandbox(command, links, network)
        process = held.enter_context(VmProcess(NAME, command, stdin=end, stdout=end, fds=[*disks, notifier]))
        return CloudHypervisorVm(process, ours, Events(pipe, process), held)
