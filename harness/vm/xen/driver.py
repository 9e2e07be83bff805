"""Xen: controlled by `xl` in a domain 0; hvm guests boot from their disk, pvh guests get the kernel itself.

A domain lives in the hypervisor and not in a process of ours: a reaper destroys it if the harness is killed. `xl
create` stays in the foreground and reports why the domain ended; its pty is read through `xl console`, which is
connected before the guest, created paused, runs its first instruction. The places of vCPUs are unknown. On x86_64,
when a guest's last vCPU halts with interrupts off, as kernels do after a crash, Xen reports the same reason as for
a power-off.

A domain has its name long before it is built, and `xl console` waits only five seconds for a pty that exists only
then. So it is started when `xl create` says that it waits for the domain's end. Source: xl(1), xl.cfg(5); Xen's
tools/xl/xl_vmcontrol.c ("Waiting for domain", "has shut down, reason code"), tools/console/client/main.c,
xen/include/public/sched.h, xen/arch/x86/hvm/hvm.c (hvm_hlt, hvm_vcpu_down).
"""

import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

from harness.core.errors import HostError, HypervisorError
from harness.core.machine import Disk, Machine
from harness.host.process.reaper import Reaper
from harness.vm.base import ExitCause, ExitStatus, Vcpu
from harness.vm.common.command_line_tool import failure_of, run_tool
from harness.vm.common.process import VmProcess
from harness.vm.disks.bootable import other_disks, write_bootable
from harness.vm.disks.raw_copy import write_raw
from harness.vm.xen import config

POWEROFF = 0
REASONS = {1: ExitCause.RESET, 3: ExitCause.PANICKED, 4: ExitCause.KILLED}
REASON = re.compile(r"has shut down, reason code (\d+)")
CURE = "Boot this host as a Xen domain 0: apt-get install xen-system-amd64, and choose Xen in the boot menu."
BUILT = "Waiting for domain"
CREATE_SECONDS = 300.0  # on a busy host 135 were seen


class XenVm:
    """One domain: the `xl` that waits for its end, and the `xl console` that reads its console. Takes ownership of
    its resources, which are on the stack, once all of them exist."""

    control: socket.socket | None = None
    debug: socket.socket | None = None

    def __init__(self, name: str, xl: str, machine: Machine, stack: ExitStack) -> None:
        self._name = name
        self._xl = xl
        self._stopped = False
        self._off = ExitCause.OFF_OR_HALTED if machine.image.cell.arch == "x86_64" else ExitCause.POWERED_OFF
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="osv-harness-xen-")))
        # Undone last to first: the domain goes before its disks.
        self._reaper = Reaper(["sh", "-c", '"$1" destroy "$2"; rm -rf "$3"', "reaper", xl, name, str(folder)])
        stack.callback(self._reaper.close)
        disks = _disks(machine, folder)
        file = folder / "domain.cfg"
        file.write_text(config.configuration(machine, name, disks))
        self._domain = VmProcess("xl", [xl, "create", "-F", "-p", str(file)])
        stack.callback(self._domain.close)
        self.command = self._domain.command
        self.started = self._domain.started
        self.pid = self._domain.pid
        self._await_domain()
        ours, theirs = socket.socketpair()
        stack.callback(ours.close)
        with theirs:
            kind = "serial" if config.kind(machine) == config.HVM else "pv"
            command, end = [xl, "console", "-t", kind, name], theirs.fileno()
            line = VmProcess("xl console", command, stdin=end, stdout=end)
        stack.callback(line.close)
        self.console = ours
        self._stack = stack.pop_all()

    def resume(self) -> None:
        self._run("unpause")

    def press_power_button(self) -> None:
        self._run("trigger", "power")

    def stop(self) -> None:
        self._stopped = True
        self._run("destroy")

    def ports(self) -> Mapping[int, int]:
        return {}

    def wait_for_exit(self, timeout: float = 5.0) -> ExitStatus | None:
        status = self._domain.wait(timeout)
        if status is None:
            return None
        if self._stopped:
            return ExitStatus(ExitCause.STOPPED, "xl destroyed the domain")
        words = self._domain.log_tail()
        if reason := REASON.search(words):
            return self._exit_status_of(int(reason[1]))
        return ExitStatus(ExitCause.KILLED, f"{self._domain.describe(status)}: {words}")

    def _exit_status_of(self, reason: int) -> ExitStatus:
        detail = f"the domain's reason was {reason}"
        if reason != POWEROFF:
            return ExitStatus(REASONS.get(reason, ExitCause.KILLED), detail)
        if self._off is ExitCause.OFF_OR_HALTED:
            detail += ": it powered off, or its last vCPU halted with interrupts off"
        return ExitStatus(self._off, detail)

    def vcpus(self) -> tuple[Vcpu, ...]:
        """The output of `xl vcpu-list`; it does not say what a vCPU waits for or where it is."""
        try:
            rows = self._run("vcpu-list").splitlines()[1:]
        except HypervisorError:
            return ()
        # Name ID VCPU CPU State Time(s) Affinity
        found = [re.search(r"\s(\d+)\s+\S+\s+\S+\s+(\d+\.\d+)\s", row) for row in rows]
        return tuple(Vcpu(int(row[1]), None, float(row[2]), 0.0) for row in found if row)

    def registers(self) -> str:
        return ""

    def hypervisor_error(self) -> str:
        return failure_of([self._xl, "domid", self._name])

    def close(self) -> None:
        self._stack.close()

    def _run(self, verb: str, *more: str) -> str:
        """Run `xl VERB DOMAIN …`; returns its output. Raises `HypervisorError` with its messages."""
        return run_tool([self._xl, verb, self._name, *more])

    def _await_domain(self) -> None:
        """Wait until the domain is built and paused."""
        deadline = monotonic() + CREATE_SECONDS
        while self._domain.wait(0.05) is None:
            if BUILT in self._domain.log_tail():
                return
            if monotonic() > deadline:
                raise HypervisorError(
                    f"xl built no domain in {CREATE_SECONDS:.0f} s: {self._domain.log_tail()}",
                    f"It is: {' '.join(self.command)}",
                )
        why = self._domain.log_tail()
        raise HypervisorError(f"xl created no domain: {why}", f"It is: {' '.join(self.command)}")


class Xen:
    """Starts Xen domains."""

    name = "xen"

    def start(self, machine: Machine) -> XenVm:
        config.check(machine)
        config.kind(machine)
        xl = shutil.which("xl") or shutil.which("xl", path="/usr/sbin:/sbin")
        if xl is None:
            raise HostError("xl is missing.", CURE)
        with ExitStack() as stack:
            return XenVm(f"osv-harness-{secrets.token_hex(6)}", xl, machine, stack)


def driver() -> Xen:
    """The driver for the axis value `xen`."""
    return Xen()


def _disks(machine: Machine, folder: Path) -> list[str]:
    """The paths of its disks. The command line is written to the disk that an hvm guest boots from."""
    if config.kind(machine) != config.HVM:
        return [_disk(disk, folder / f"disk{index}.raw") for index, disk in enumerate(config.all_disks(machine))]
    write_bootable(machine, folder / "disk0.raw")
    others = enumerate(other_disks(machine), start=1)
    return [str(folder / "disk0.raw"), *(_disk(disk, folder / f"disk{index}.raw") for index, disk in others)]


def _disk(disk: Disk, copy: Path) -> str:
    if disk.kept:
        return str(disk.path.resolve())
    write_raw(disk, str(copy))
    return str(copy)
