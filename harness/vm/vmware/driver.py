"""VMware Workstation or Player: driven by vmrun and a .vmx file; boots from a pvscsi disk, with the serial line on
a pipe.

The machine's process is VMware's and not our child: a reaper stops it and removes its folder, whoever is killed.
VMware reboots a guest that resets, and does not say how a guest ended; that it ended is seen in vmrun's list.

Source: OSv's scripts/run.py (start_osv_vmware); VMware's "Using vmrun to Control Virtual Machines".
"""

import secrets
import socket
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic, sleep

from harness.core.machine import Machine
from harness.host.process.reaper import Reaper
from harness.vm.base import ExitCause, ExitStatus, Vcpu
from harness.vm.common.command_line_tool import failure_of, program, run_tool
from harness.vm.common.serial_socket import SerialSocket
from harness.vm.common.unsupported import reject_network, reject_unsupported
from harness.vm.disks.vmdk import write_vmdks
from harness.vm.vmware.vmx import SERIAL_PIPE, vmx

CURE = "Install VMware Workstation for Linux, which brings vmrun, and its kernel modules."
LOOK_SECONDS = 0.2
REMOVE = '"$1" stop "$2" hard; rm -rf "$3"'


class VmwareVm:
    """One machine of VMware's. Its resources go onto the stack, which it takes over once everything has
    started."""

    control: socket.socket | None = None
    debug: socket.socket | None = None

    def __init__(self, machine: Machine, vmrun: str, stack: ExitStack) -> None:
        self._vmrun = vmrun
        self._list = (vmrun, "list")
        self._stopped = False
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="osv-harness-vmware-")))
        self._file = folder / "osv.vmx"
        stack.callback(Reaper(["sh", "-c", REMOVE, "reaper", vmrun, str(self._file), str(folder)]).close)
        serial = SerialSocket(folder / SERIAL_PIPE)
        stack.callback(serial.close)
        name = f"osv-harness-{secrets.token_hex(6)}"
        self._file.write_text(vmx(machine, name, write_vmdks(machine, folder)))
        self.command = (vmrun, "start", str(self._file), "nogui")
        self.started = monotonic()
        run_tool(self.command)
        self.console = serial.accept("VMware", self._why_not)
        stack.callback(self.console.close)
        self.pid = _process_with(str(self._file))
        self._run("pause")
        self._stack = stack.pop_all()

    def resume(self) -> None:
        self._run("unpause")

    def press_power_button(self) -> None:
        self._run("stop", "soft")

    def stop(self) -> None:
        self._stopped = True
        self._run("stop", "hard")

    def ports(self) -> Mapping[int, int]:
        return {}

    def wait_for_exit(self, timeout: float = 5.0) -> ExitStatus | None:
        deadline = monotonic() + timeout
        while self._runs():
            if monotonic() >= deadline:
                return None
            sleep(LOOK_SECONDS)
        return ExitStatus(
            ExitCause.STOPPED if self._stopped else ExitCause.POWERED_OFF, "vmrun no longer lists it"
        )

    def vcpus(self) -> tuple[Vcpu, ...]:
        return ()

    def registers(self) -> str:
        return ""

    def hypervisor_error(self) -> str:
        return failure_of(self._list)

    def close(self) -> None:
        self._stack.close()

    def _run(self, verb: str, *more: str) -> str:
        return run_tool([self._vmrun, verb, str(self._file), *more])

    def _runs(self) -> bool:
        return str(self._file) in run_tool(self._list).splitlines()

    def _why_not(self) -> str:
        return "" if self._runs() else "vmrun does not list it"


class Vmware:
    """Starts VMware machines."""

    name = "vmware"

    def start(self, machine: Machine) -> VmwareVm:
        reject_unsupported(machine, "VMware", "pvscsi")
        reject_network(machine, "VMware")
        with ExitStack() as stack:
            return VmwareVm(machine, program("vmrun", CURE), stack)


def driver() -> Vmware:
    """The driver for the axis value `vmware`."""
    return Vmware()


def _process_with(word: str) -> int:
    """The process with the word on its command line; 0 if there is none."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if word.encode() in path.read_bytes().split(b"\0"):
                return int(path.parent.name)
    return 0
