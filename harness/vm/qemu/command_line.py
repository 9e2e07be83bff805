"""A machine as QEMU's command line: pure functions, so that it can be read, tested and pasted."""

from dataclasses import dataclass, replace

from harness.core.errors import CellError
from harness.core.machine import Machine
from harness.core.schedule import IN_ORDER, Schedule
from harness.vm.common.kernel_args import command_line as kernel_args
from harness.vm.qemu.devices import Memory, devices, disk, network, numa, ram, virtio

CONTROL_PORT = "org.osv-harness.control"
CONSOLE_SET = 99  # disks have those from 0
COUNTED = ("-rtc", "base=2020-01-01T00:00:00,clock=vm", "-seed", "1")
"""A clock that is the instruction count, starting at a fixed date.

Source: QEMU, docs/devel/tcg-icount.rst.
"""


@dataclass(frozen=True, slots=True)
class Board:
    """A QEMU machine type for one arch: its `-M` text, how its devices attach, its panic device.

    `on_hardware` is its `-M` text under KVM, if that differs.
    """

    machine: str
    cpu: str
    bus: str
    panic: str | None
    on_hardware: str = ""


DETERMINISTIC_CPUS = {"x86_64": "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt", "aarch64": "cortex-a57"}
"""The least that programs need, without instructions that draw random numbers."""
SEEDED_RANDOMNESS = {"x86_64": ",+rdrand"}
"""What a machine with a schedule has beside it: instructions that draw the same random numbers in each boot, by
`-seed`. OSv knows none on AArch64, and what a virtio device gives comes when the host likes."""

BOARDS = {
    ("q35", "x86_64"): Board("q35", "max", "pci", "pvpanic"),
    ("pc", "x86_64"): Board("pc", "max", "pci", "pvpanic"),
    ("microvm", "x86_64"): Board(
        "microvm,acpi=off,x-option-roms=off,auto-kernel-cmdline=on", "max", "device", None
    ),
    ("microvm-acpi", "x86_64"): Board("microvm,acpi=on,x-option-roms=off", "max", "device", None),
    # KVM uses the host's interrupt controller: one with a GICv2 (Raspberry Pi 4) can't emulate a GICv3.
    # Source: QEMU 7.2, hw/arm/virt.c (finalize_gic_version).
    ("virt", "aarch64"): Board(
        "virt,gic-version=3", "max,pauth-impdef=on", "pci", "pvpanic-pci", "virt,gic-version=host"
    ),
}


@dataclass(frozen=True, slots=True)
class Wires:
    """The descriptors of QEMU's ends of its sockets; -1 for none."""

    console: int
    monitor: int
    debug: int
    control: int
    share: int = -1


def board_for(machine: Machine, default: dict[str, str]) -> Board:
    """The board of the machine's arch: its devices' `board`, or the driver's default for that arch."""
    arch = machine.image.cell.arch
    name = machine.devices.board or default.get(arch, "")
    if name == "microvm" and machine.image.reads_acpi:
        name = "microvm-acpi"
    try:
        board = BOARDS[name, arch]
    except KeyError:
        known = sorted(board for board, of in BOARDS if of == arch)
        raise CellError(
            f"There is no QEMU board {name or 'by default'} for {arch}.", f"Known are: {', '.join(known)}."
        ) from None
    if machine.accelerator != "tcg" and board.on_hardware:
        board = replace(board, machine=board.on_hardware)
    return replace(board, bus="device") if machine.devices.transport == "mmio" else board


def command_line(binary: str, board: Board, machine: Machine, wires: Wires, memory: Memory | None) -> list[str]:
    """QEMU's complete command line for a machine that is stopped until told to run.

    Nothing in it listens on the network or names a file that QEMU would write: disks have an unnamed temporary
    overlay, and the sockets are inherited descriptors.
    """
    hardware_cpu = machine.accelerator != "tcg"
    threads = "single" if machine.deterministic else "multi"
    accelerator = machine.accelerator if hardware_cpu else f"tcg,thread={threads}"
    args = [binary, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-S"]
    cpu = _deterministic_cpu(machine) if machine.deterministic else board.cpu
    args += ["-accel", accelerator, "-cpu", "host" if hardware_cpu else cpu]
    args += ["-smp", str(machine.cpus), "-m", f"{machine.memory}M"]
    backends = ram(machine, memory)
    args += ["-M", board.machine + (",memory-backend=ram0" if len(backends) == 1 else "")]
    args += [word for backend in backends for word in ("-object", backend)] + numa(machine)
    by_dhcp = machine.devices.netdev == "user"
    words = machine.cmdline if by_dhcp else kernel_args(machine, "")
    args += ["-kernel", str(machine.image.kernel), "-append", words]
    if machine.image.initrd:
        args += ["-initrd", str(machine.image.initrd)]
    args += devices(machine, board.bus, wires.share)
    for index, one in enumerate((*machine.image.disks, *machine.disks)):
        args += disk(machine.devices, board.bus, index, one)
    if machine.deterministic:
        args += [*COUNTED, *scheduled(machine.schedule or IN_ORDER)]
    elif board.bus == "pci" or machine.image.cell.kernel != "osv":
        # OSv's driver for a memory-mapped one dies of std::bad_function_call: drivers/virtio-rng.cc creates no
        # interrupt for it.
        args += ["-object", "rng-random,id=rng0,filename=/dev/urandom"]
        args += ["-device", virtio("rng", machine.devices, board.bus) + ",rng=rng0"]
    if board.panic:
        args += ["-device", board.panic]
    args += network(machine, board.bus)
    if machine.deterministic:
        args += ["-add-fd", f"fd={wires.console},set={CONSOLE_SET}"]
        args += ["-chardev", f"file,id=console,path=/dev/fdset/{CONSOLE_SET},append=on"]
    else:
        args += ["-chardev", f"socket,id=console,fd={wires.console}"]
    args += ["-serial", "chardev:console"]
    args += ["-chardev", f"socket,id=monitor,fd={wires.monitor}", "-mon", "chardev=monitor,mode=control"]
    if wires.debug >= 0:
        args += ["-chardev", f"socket,id=debug,fd={wires.debug}", "-gdb", "chardev:debug"]
    if machine.control:
        args += ["-chardev", f"socket,id=control,fd={wires.control}"]
        args += ["-device", virtio("serial", machine.devices, board.bus)]
        args += ["-device", f"virtserialport,chardev=control,name={CONTROL_PORT}"]
    return args


def _deterministic_cpu(machine: Machine) -> str:
    arch = machine.image.cell.arch
    return DETERMINISTIC_CPUS[arch] + (SEEDED_RANDOMNESS.get(arch, "") if machine.schedule else "")


def scheduled(schedule: Schedule) -> list[str]:
    """The clock's pace, and a timer of the virtual clock for each turn, at which the vCPU that runs gives way.

    The timers are those of network filters that nothing is sent through: no guest sees them.
    Source: QEMU, accel/tcg/tcg-accel-ops-icount.c (`icount_get_limit`), net/filter-buffer.c.
    """
    words = ["-icount", f"shift={schedule.shift},sleep=off"]
    for index, turn in enumerate(schedule.turns):
        words += ["-netdev", f"hubport,id=turn{index},hubid={index + 1}"]
        words += ["-object", f"filter-buffer,id=turns{index},netdev=turn{index},interval={turn}"]
    return words
