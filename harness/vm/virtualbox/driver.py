"""VirtualBox: controlled by VBoxManage with a registry of the run's own; an AHCI disk, serial over a socket.

The machine runs in `VBoxHeadless`, our child, which dies with us. VirtualBox's own server ends when nobody uses
it; a reaper removes the folder with registry, disks and socket if the harness is killed. Source: VirtualBox's
manual, chapters "VBoxManage" and "Remote Virtual Machines" (VBoxHeadless); OSv's scripts/gen-vbox-ova.sh.
VBOX_USER_HOME and VBOX_IPC_SOCKETID separate a registry and its server from others.
"""

import os
import secrets
import socket
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from harness.core.errors import HypervisorError
from harness.core.machine import Machine
from harness.host.process.reaper import Reaper
from harness.vm.base import ExitStatus, Vcpu
from harness.vm.common.command_line_tool import program, run_tool
from harness.vm.common.process import VmProcess
from harness.vm.common.serial_socket import SerialSocket
from harness.vm.common.unsupported import reject_network, reject_unsupported
from harness.vm.disks.vmdk import write_vmdks
from harness.vm.virtualbox import commands

CURE = "Install VirtualBox (https://www.virtualbox.org/wiki/Linux_Downloads) and its kernel module."


class VirtualBoxVm:
    """One registered machine and the VBoxHeadless that runs it. Takes ownership of its resources, which are on the
    stack, once all of them exist."""

    control: socket.socket | None = None
    debug: socket.socket | None = None

    def __init__(self, machine: Machine, manage: str, headless: str, stack: ExitStack) -> None:
        self._manage = manage
        self._name = f"osv-harness-{secrets.token_hex(6)}"
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="osv-harness-vbox-")))
        self._environment = {"VBOX_USER_HOME": str(folder / "home"), "VBOX_IPC_SOCKETID": self._name}
        reaper = Reaper(["rm", "-rf", str(folder)])
        stack.callback(reaper.close)
        serial = SerialSocket(folder / "serial")
        stack.callback(serial.close)
        disks = [str(folder / name) for name in write_vmdks(machine, folder)]
        for command in commands.creation(machine, self._name, str(folder), disks, str(folder / "serial")):
            self._say(*command)
        self._process = VmProcess(
            "VBoxHeadless", [headless, "--startvm", self._name, "--vrde", "off", "--start-paused"],
            environment={**os.environ, **self._environment},
        )  # fmt: skip
        stack.callback(self._process.close)
        self.pid = self._process.pid
        self.started = self._process.started
        self.command = self._process.command
        self.console = serial.accept("VirtualBox", self._why_not)
        stack.callback(self.console.close)
        self._stack = stack.pop_all()

    def resume(self) -> None:
        self._say("controlvm", self._name, "resume")

    def press_power_button(self) -> None:
        self._say("controlvm", self._name, "acpipowerbutton")

    def stop(self) -> None:
        self._process.stopped = True
        self._say("controlvm", self._name, "poweroff")

    def ports(self) -> Mapping[int, int]:
        return {}

    def wait_for_exit(self, timeout: float = 5.0) -> ExitStatus | None:
        """VirtualBox does not distinguish a power-off from another end, unless VBoxHeadless fails."""
        status = self._process.wait(timeout)
        return None if status is None else self._process.exit_status(status, self._process.log_tail)

    def vcpus(self) -> tuple[Vcpu, ...]:
        return self._process.vcpus("EMT")

    def registers(self) -> str:
        return ""

    def hypervisor_error(self) -> str:
        try:
            state = self._say("showvminfo", self._name, "--machinereadable")
        except HypervisorError as error:
            return error.message
        return "VirtualBox stopped the guest: guru meditation" if 'VMState="gurumeditation"' in state else ""

    def close(self) -> None:
        self._stack.close()

    def _say(self, *words: str) -> str:
        return run_tool([self._manage, "--nologo", *words], self._environment)

    def _why_not(self) -> str:
        return "" if self._process.wait() is None else self._process.last_words()


class VirtualBox:
    """Starts VirtualBox machines."""

    name = "virtualbox"

    def start(self, machine: Machine) -> VirtualBoxVm:
        reject_unsupported(machine, "VirtualBox", "ahci")
        reject_network(machine, "VirtualBox")
        manage, headless = program("VBoxManage", CURE), program("VBoxHeadless", CURE)
        with ExitStack() as stack:
            return VirtualBoxVm(machine, manage, headless, stack)


def driver() -> VirtualBox:
    """The driver for the axis value `virtualbox`."""
    return VirtualBox()
