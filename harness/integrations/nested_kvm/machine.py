"""The VM of a lab as QEMU's command line, and its process with the lines that it is spoken to by."""

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
    """What a lab is: QEMU's `-M` and `-cpu`, Linux's name of its serial line, words for that Linux alone, and how
    many cpus it has unless more are asked for: each is a thread of QEMU's, and costs memory for its translations.
    """

    machine: str
    cpu: str
    console: str
    words: str = ""
    most_cpus: int = 4


BOARDS = {
    # OSv and Firecracker were seen to run on EPYC's SVM. With two cpus Linux now and then finds itself with the
    # guest's segment bases, in QEMU 10.0 and 11.1: docs/results/lab.md.
    "x86_64": Board("q35", "EPYC,+svm", "ttyS0", "edd=off no_timer_check noreplace-smp tsc=reliable", most_cpus=1),
    # The cpu `max` does as well, and is slow: each of its pointers is authenticated.
    "aarch64": Board("virt,virtualization=on,gic-version={gic}", "cortex-a72", "ttyAMA0"),
}
"""By the lab's arch."""

GICS = (3, 2)
"""Versions of an aarch64 lab's interrupt controller, the usual one first; a Raspberry Pi 4 has the other."""

WEAKLY_ORDERED = frozenset({"aarch64"})
"""Arches whose cpus QEMU can run in threads of their own on any host. Source: docs/devel/multi-thread-tcg.rst."""

PORTS = ("control", "stdout", "stderr")
LINES = (*PORTS, "terminal", "console")
FIRST_SHARE = 8
"""The number of the PCI slot from which shares have theirs, eight in each."""

QUIET = "quiet loglevel=4 panic=-1 nokaslr mitigations=off init_on_alloc=0 lsm= audit=0 cryptomgr.notests"
"""What makes a boot short under TCG; `kernels.linux.command_line` says why."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """How many cpus the VM has, how much memory in MiB, and which GIC, where its arch has one."""

    cpus: int
    memory: int
    gic: int = GICS[0]


def command_line(
    emulator: Emulator, arch: str, hardware: Hardware, kernel: Path, initrd: Path, shares: Mapping[str, Path],
    out: Path, lines: Mapping[str, int],
) -> list[str]:  # fmt: skip
    """QEMU's words. `shares` maps tags to folders that are shown read-only; `out` is the one that is written;
    `lines` are the descriptors of QEMU's ends of the sockets. No network, and nothing that listens."""
    board = BOARDS[arch]
    threads = "multi" if arch == host_arch() or arch in WEAKLY_ORDERED else "single"
    clock = [clock_parameter()] if arch == "x86_64" else []
    args = [*emulator.command, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"]
    args += ["-M", board.machine.format(gic=hardware.gic), "-accel", f"tcg,thread={threads}", "-cpu", board.cpu]
    args += ["-smp", str(hardware.cpus), "-m", f"{hardware.memory}M"]
    args += ["-kernel", str(kernel), "-initrd", str(initrd)]
    args += ["-append", " ".join([f"console={board.console}", QUIET, board.words, *clock])]
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
    """A running lab. It dies with the thread that started it, whatever kills that."""

    def __init__(
        self, emulator: Emulator, arch: str, hardware: Hardware, kernel: Path, initrd: Path,
        shares: Mapping[str, Path], out: Path,
    ) -> None:  # fmt: skip
        """Raises `HostError` where it can't be started."""
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

    def tell(self, line: str) -> None:
        """Say a line to the lab's init."""
        self.lines["control"].sendall(f"{line}\n".encode())

    def words(self) -> str:
        """What QEMU said, less what every emulation of an EPYC says: that it lacks some of its features."""
        said = self.process.log_tail().split("; ")
        return "; ".join(line for line in said if "requested feature: CPUID" not in line)

    def close(self) -> None:
        """End it."""
        self._held.close()
