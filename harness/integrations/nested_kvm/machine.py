"""The VM of a lab: QEMU's command line, its process, and the sockets to it."""

import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from harness.core.arch import host_arch
from harness.host.process.supervised import SupervisedProcess
from harness.integrations.nested_kvm.emulator import Emulator
from harness.kernels.linux.tsc import clock_parameter


@dataclass(frozen=True, slots=True)
class Board:
    """The machine of a lab: QEMU's `-M` and `-cpu`, Linux's name of its serial line, extra kernel arguments, and
    how many cpus it has by default. Each cpu is a thread of QEMU, and costs memory for its translated code."""

    machine: str
    cpu: str
    console: str
    kernel_args: str = ""
    most_cpus: int = 4


BOARDS = {
    # OSv and Firecracker were seen to run on the SVM of EPYC. With two cpus, Linux sometimes runs with the
    # segment bases of its guest, in QEMU 10.0 and 11.1: docs/results/lab.md.
    "x86_64": Board("q35", "EPYC,+svm", "ttyS0", "edd=off no_timer_check noreplace-smp tsc=reliable", most_cpus=1),
    # The cpu `max` works too, but is slow: it authenticates every pointer.
    "aarch64": Board("virt,virtualization=on,gic-version={gic}", "cortex-a72", "ttyAMA0"),
}
"""By the lab's arch."""

GICS = (3, 2)
"""Versions of an aarch64 lab's interrupt controller, the usual one first; a Raspberry Pi 4 has the other."""

WEAKLY_ORDERED = frozenset({"aarch64"})
"""Arches whose cpus QEMU can run in separate threads on any host. Source: docs/devel/multi-thread-tcg.rst."""

PORTS = ("control", "stdout", "stderr")
LINES = (*PORTS, "terminal", "console")
FIRST_SHARE = 8
"""The first PCI slot of shares; each slot has eight."""

QUIET = "quiet loglevel=4 panic=-1 nokaslr mitigations=off init_on_alloc=0 lsm= audit=0 cryptomgr.notests"
"""Kernel arguments that make a boot short under TCG; `kernels.linux.command_line` gives the reasons."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """The number of cpus, the memory in MiB, and the version of the GIC, if the arch has one."""

    cpus: int
    memory: int
    gic: int = GICS[0]


def command_line(
    emulator: Emulator, arch: str, hardware: Hardware, kernel: Path, initrd: Path, shares: Mapping[str, Path],
    out: Path, lines: Mapping[str, int],
) -> list[str]:  # fmt: skip
    """QEMU's command line, without a network and without anything that listens.

    `shares` maps tags to folders that are shown read-only; `out` is the writable one. `lines` are the descriptors
    of QEMU's ends of the sockets.
    """
    board = BOARDS[arch]
    threads = "multi" if arch == host_arch() or arch in WEAKLY_ORDERED else "single"
    clock = [clock_parameter()] if arch == "x86_64" else []
    args = [*emulator.command, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"]
    args += ["-M", board.machine.format(gic=hardware.gic), "-accel", f"tcg,thread={threads}", "-cpu", board.cpu]
    args += ["-smp", str(hardware.cpus), "-m", f"{hardware.memory}M"]
    args += ["-kernel", str(kernel), "-initrd", str(initrd)]
    args += ["-append", " ".join([f"console={board.console}", QUIET, board.kernel_args, *clock])]
    for name in LINES:
        args += ["-chardev", f"socket,id={name},fd={lines[name]}"]
    args += ["-serial", "chardev:console", "-device", "virtio-serial-pci,max_ports=8"]
    args += ["-device", "virtconsole,chardev=terminal,nr=0"]
    for name in PORTS:
        args += ["-device", f"virtserialport,chardev={name},name=org.osv-harness.{name}"]
    rows = [(tag, folder, ",readonly=on") for tag, folder in shares.items()]
    for number, (tag, folder, more) in enumerate([*rows, ("out", out, "")]):
        slot, function = divmod(number, 8)
        at = f"{FIRST_SHARE + slot:#x}.{function}" + (",multifunction=on" if function == 0 else "")
        path = str(folder).replace(",", ",,")
        args += ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{more}"]
        args += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag},addr={at}"]
    return args


class Vm:
    """A running lab. It dies with the thread that started it, whatever kills that thread."""

    def __init__(
        self, emulator: Emulator, arch: str, hardware: Hardware, kernel: Path, initrd: Path,
        shares: Mapping[str, Path], out: Path,
    ) -> None:  # fmt: skip
        """Raises `HostError` if it can't be started."""
        with ExitStack() as held, ExitStack() as stack:
            self.lines: dict[str, socket.socket] = {}
            theirs: dict[str, int] = {}
            for name in LINES:
                mine, other = socket.socketpair()
                self.lines[name] = held.enter_context(mine)
                theirs[name] = stack.enter_context(other).fileno()
            command = command_line(emulator, arch, hardware, kernel, initrd, shares, out, theirs)
            environment = {**os.environ, **emulator.environment}
            self.process = held.enter_context(
                SupervisedProcess("QEMU", command, fds=[*theirs.values()], environment=environment)
            )
            self._held = held.pop_all()

    def send(self, line: str) -> None:
        """Send a line to the lab's init."""
        self.lines["control"].sendall(f"{line}\n".encode())

    def qemu_output(self) -> str:
        """QEMU's messages, without the one that every emulated EPYC causes: that features are missing."""
        parts = self.process.log_tail().split("; ")
        return "; ".join(line for line in parts if "requested feature: CPUID" not in line)

    def close(self) -> None:
        """Stop it."""
        self._held.close()
