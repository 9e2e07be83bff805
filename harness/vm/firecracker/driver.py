"""Firecracker: controlled by REST over a unix socket in a private folder; raw disks; KVM only.

The guest's serial line is Firecracker's standard input and output. There is no debug stub, so the places of its
vCPUs are unknown, and a verdict rests on the console and on how the process ended. Clones come from snapshots: RAM
is mapped copy-on-write, disks are copied. Source: Firecracker's docs/getting-started.md, docs/snapshotting/,
src/vmm/src/lib.rs (FcExitCode).
"""

import re
import socket
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from harness.core.close_on_error import close_on_error
from harness.core.errors import HypervisorError
from harness.core.machine import Disk, Machine
from harness.core.text import one_line, printable
from harness.host.process.supervised import tail_of
from harness.vm.base import ExitStatus, Template, Vcpu
from harness.vm.common.command_line_tool import program
from harness.vm.common.process import VmProcess
from harness.vm.common.rest_client import Api, Request
from harness.vm.common.sandbox import in_sandbox, inside, parts_of
from harness.vm.common.unsupported import reject_unsupported
from harness.vm.disks.raw_copy import raw_copies, write_raw
from harness.vm.firecracker import api as requests
from harness.vm.network.port_forwarding import Forwards, forward

NAME = "Firecracker"
API_SOCKET = "api.sock"
BOOT_TIME = re.compile(r"Guest-boot-time\s*=\s*(\d+) us")
CURE = "Put a release of https://github.com/firecracker-microvm/firecracker into PATH."


class FirecrackerVm:
    """One Firecracker process and the machine in it."""

    control: socket.socket | None = None
    debug: socket.socket | None = None

    def __init__(self, process: VmProcess, console: socket.socket, log: BinaryIO, held: ExitStack) -> None:
        """Take ownership of what is on the stack `held`: the process, its console and its log."""
        self._process = process
        self._log = log
        self._forwards: Forwards | None = None
        self._run: Request = requests.START
        self.pid = process.pid
        self.started = process.started
        self.command = process.command
        self.console = console
        self.api = Api(NAME, inside(process.pid, API_SOCKET))
        self._held = held.pop_all()

    def connect(self, machine: Machine) -> None:
        """Wait for the process and configure the machine. Raises `HypervisorError` with its messages."""
        self.api.wait(self._process, self._first_words)
        for request in requests.configuration(machine, self._version()):
            self.api.send(request)
        self._forward(machine)

    def restore(self, machine: Machine) -> None:
        """Wait for the process and restore the guest in its folder. Raises `HypervisorError`."""
        self.api.wait(self._process, self._first_words)
        self.api.send(requests.restore(self._version()))
        self._run = requests.RESUME
        self._forward(machine)

    def save(self) -> None:
        """Pause the guest, and write its state and RAM to the files in its folder."""
        for request in requests.snapshot():
            self.api.send(request)
        self._run = requests.RESUME

    def resume(self) -> None:
        self.api.send(self._run)

    def press_power_button(self) -> None:
        """Presses Ctrl-Alt-Del, the only button that exists, and only on x86_64."""
        self.api.send(requests.POWER_BUTTON)

    def stop(self) -> None:
        self._process.stop()

    def ports(self) -> Mapping[int, int]:
        return self._forwards.ports if self._forwards else {}

    def wait_for_exit(self, timeout: float = 5.0) -> ExitStatus | None:
        """Firecracker exits with 0 if the guest powered off or was reset, which it cannot distinguish; with 1 or
        more if it failed."""
        status = self._process.wait(timeout)
        return None if status is None else self._process.exit_status(status, self.words)

    def vcpus(self) -> tuple[Vcpu, ...]:
        return self._process.vcpus("fc_vcpu")

    def registers(self) -> str:
        return ""

    def hypervisor_error(self) -> str:
        return self.api.request_error(requests.DESCRIBE)

    def guest_boot_seconds(self) -> float | None:
        """Seconds from the start of the guest until it reports, through Firecracker's boot timer port, that it is
        up; None before.

        OSv writes to that port (0x3f0) just before it starts the program. Source: OSv's loader.cc. Later
        Firecrackers do not listen on it.
        """
        self._log.seek(0)
        match = BOOT_TIME.search(self._log.read().decode("utf-8", "replace"))
        return int(match[1]) / 1e6 if match else None

    def words(self) -> str:
        """The text that Firecracker wrote to its log and its standard error."""
        return "; ".join(words for words in (self._process.log_tail(), tail_of(self._log.fileno())) if words)

    def close(self) -> None:
        self._held.close()

    def _version(self) -> requests.Version:
        said = self.api.send(requests.DESCRIBE)
        numbers = re.findall(r"\d+", str(said.get("vmm_version", ""))) if isinstance(said, dict) else []
        if not numbers:
            words = printable(repr(said))[:200]
            raise HypervisorError(f"Firecracker told no version but: {words}.", CURE)
        return tuple(int(number) for number in numbers[:3])

    def _forward(self, machine: Machine) -> None:
        if machine.forwards:
            self._forwards = forward(self.pid, machine.forwards)
            self._held.callback(self._forwards.close)

    def _first_words(self) -> str:
        """Messages from before it has a log; they come on the console's line."""
        with suppress(BlockingIOError):
            said = one_line(self.console.recv(1 << 16, socket.MSG_DONTWAIT))
            return "; ".join(words for words in (said, self.words()) if words)
        return self.words()


class Firecracker:
    """Starts Firecracker machines, takes snapshots of them and clones these."""

    name = "firecracker"
    has_debug_stub = False

    def start(self, machine: Machine) -> FirecrackerVm:
        vm = self._spawn(machine, {})
        with close_on_error(vm):
            vm.connect(machine)
        return vm

    def identity(self, machine: Machine) -> str:
        binary = _binary()
        at = binary.stat()
        return f"{binary} {at.st_size} {at.st_mtime_ns}"

    def start_template(self, template: Template) -> FirecrackerVm:
        machine = template.machine
        for index, disk in enumerate((*machine.image.disks, *machine.disks)):
            write_raw(disk, str(_kept(template, index)))
        vm = self._spawn(_with_kept_disks(template, kept=True), _snapshot_files(template))
        with close_on_error(vm):
            vm.connect(machine)
        return vm

    def freeze(self, vm: FirecrackerVm, template: Template) -> None:
        vm.save()
        vm.stop()
        vm.wait_for_exit()
        vm.close()

    def fork(self, template: Template) -> FirecrackerVm:
        vm = self._spawn(_with_kept_disks(template, kept=False), _snapshot_files(template))
        with close_on_error(vm):
            vm.restore(template.machine)
        return vm

    def _spawn(self, machine: Machine, files: Mapping[str, str]) -> FirecrackerVm:
        """The process of a machine that is not yet configured; `files` are links in its folder."""
        reject_unsupported(machine, NAME, "virtio-blk")
        binary = _binary()
        with ExitStack() as held, ExitStack() as stack:
            disks = raw_copies(machine, stack)
            ours, theirs = socket.socketpair()
            held.enter_context(ours)
            end = stack.enter_context(theirs).fileno()
            log = held.enter_context(tempfile.TemporaryFile())
            links = {**parts_of(machine, disks), **files}
            command = [
                str(binary), "--api-sock", API_SOCKET, "--log-path", f"/proc/self/fd/{log.fileno()}",
                "--level", "Info", "--boot-timer",
            ]  # fmt: skip
            command = in_sandbox(command, links, machine.network)
            process = VmProcess(NAME, command, stdin=end, stdout=end, fds=[*disks, log.fileno()])
            return FirecrackerVm(held.enter_context(process), ours, log, held)


def driver() -> Firecracker:
    """The driver for the axis value `firecracker`."""
    return Firecracker()


def _binary() -> Path:
    return Path(program("firecracker", CURE)).resolve()


def _kept(template: Template, index: int) -> Path:
    return template.folder / f"disk{index}.raw"


def _snapshot_files(template: Template) -> dict[str, str]:
    return {name: str(template.folder.resolve() / name) for name in (requests.STATE, requests.RAM)}


def _with_kept_disks(template: Template, kept: bool) -> Machine:
    machine = template.machine
    count = len(machine.image.disks)
    disks = [Disk(_kept(template, index), "raw", kept) for index in range(count + len(machine.disks))]
    image = replace(machine.image, disks=tuple(disks[:count]))
    return replace(machine, image=image, disks=tuple(disks[count:]))
