"""Variants of machines: each boots Debian's kernel, which is asked whether the device is really of that kind.

A variant that quietly fell back to what a machine has otherwise would pass every test that runs on it.
"""

import re
from dataclasses import replace

import pytest
from cells_here import runnable

from harness.core import project, variants
from harness.core.errors import CellError
from harness.core.matrix import Matrix
from harness.kernels.data_disks import GREETING
from harness.runner.base import Program
from harness.runner.interaction import Interaction
from harness.runner.session import Session
from harness.runner.verdict import Outcome

ROOT_IS = "grep -q '^/dev/{0} / ' /proc/mounts"
SCSI = ROOT_IS.format("sda") + " && grep -qx {0} /sys/class/scsi_host/*/proc_name"
ADDRESS = "ifconfig eth0 | grep -q 'inet addr:10.0.2.15'"
TAPPED = "ifconfig eth0 | grep -q 'inet addr:172.16.0.2' && ping -c 1 -w 20 172.16.0.1"
# Legacy devices lack feature 32, VERSION_1; modern ones have other PCI identifiers. Source: virtio 1.2, 4.1.2, 6.
VERSION_1 = "cut -c33 /sys/bus/virtio/devices/virtio0/features"
TRANSITIONAL_NAME = "grep -q 0x100[0-9a-f] /sys/class/net/eth0/device/../device"
MODERN_NAME = "grep -q 0x104[0-9a-f] /sys/class/net/eth0/device/../device"
MODERN_MMIO = f"readlink -f /sys/block/vda/device | grep virtio_mmio && [ $({VERSION_1}) = 1 ]"

# What a guest is asked on a cell with the variant; it is the variant's if the command ends with 0.
QUESTIONS = {
    ("x86_64", "virtio-scsi"): ("rofs", SCSI.format("virtio_scsi")),
    ("x86_64", "nvme"): ("rofs", ROOT_IS.format("nvme0n1")),
    ("x86_64", "ide"): ("rofs", SCSI.format("ata_piix")),
    ("x86_64", "pvscsi"): ("ext", SCSI.format("vmw_pvscsi")),
    ("x86_64", "second-disk"): ("ramfs", "[ $(cat /sys/block/vda/size) = 1179648 ]"),
    ("x86_64", "second-ext"): (
        "ext",
        f"mkdir /tmp/m && mount /dev/vdb2 /tmp/m && grep -qx '{GREETING.strip()}' /tmp/m/greeting",
    ),
    ("x86_64", "multiqueue"): ("rofs", "[ $(ls /sys/block/vda/mq | wc -l) = 4 ]"),
    ("x86_64", "nvme-multiqueue"): ("rofs", "[ $(ls /sys/block/nvme0n1/mq | wc -l) = 4 ]"),
    ("x86_64", "vmxnet3"): ("ramfs", f"readlink /sys/class/net/eth0/device/driver | grep -q vmxnet3 && {ADDRESS}"),
    ("x86_64", "tap"): ("ramfs", TAPPED),
    ("x86_64", "tap-nat"): ("ramfs", TAPPED),
    ("x86_64", "tap-multiqueue"): (
        "ramfs",
        f"set -- /sys/class/net/eth0/queues/rx-*; [ $# = 4 ] && {TAPPED}",
    ),
    ("x86_64", "vhost"): ("ramfs", TAPPED),
    ("x86_64", "vmware"): ("rofs", SCSI.format("ata_piix")),
    ("x86_64", "virtio-legacy"): ("ramfs", f"{TRANSITIONAL_NAME} && [ $({VERSION_1}) = 0 ] && {ADDRESS}"),
    ("x86_64", "virtio-transitional"): ("ramfs", f"{TRANSITIONAL_NAME} && [ $({VERSION_1}) = 1 ] && {ADDRESS}"),
    ("x86_64", "virtio-modern"): ("ramfs", f"{MODERN_NAME} && [ $({VERSION_1}) = 1 ] && {ADDRESS}"),
    ("x86_64", "cpus-4"): ("ramfs", "[ $(nproc) = 4 ]"),
    ("x86_64", "numa"): ("ramfs", "grep -qx 2-3 /sys/devices/system/node/node1/cpulist"),
    ("x86_64", "balloon"): ("ramfs", "ls /sys/bus/virtio/drivers/virtio_balloon/virtio*/device"),
    ("aarch64", "nvme"): ("rofs", ROOT_IS.format("nvme0n1")),
    ("aarch64", "virtio-scsi"): ("rofs", ROOT_IS.format("sda")),
    ("aarch64", "virtio-mmio"): ("rofs", MODERN_MMIO),
    ("aarch64", "virtio-mmio-modern"): ("rofs", MODERN_MMIO),
    ("aarch64", "tap"): ("ramfs", TAPPED),
    ("aarch64", "numa"): ("ramfs", "grep -qx 2-3 /sys/devices/system/node/node1/cpulist"),
}
ALIKE = (
    "second-disk", "second-ext", "multiqueue", "nvme-multiqueue", "tap-nat", "tap-multiqueue", "vhost",
    "virtio-legacy", "virtio-transitional", "virtio-modern", "cpus-4", "balloon",
)  # fmt: skip
QUESTIONS |= {("aarch64", name): QUESTIONS["x86_64", name] for name in ALIKE}
SHARED = (
    "mkdir /tmp/share && mount -t virtiofs share /tmp/share && cat /tmp/share/greeting && "
    "! touch /tmp/share/new && ! rm /tmp/share/greeting"
)


@pytest.mark.parametrize(("arch", "name"), QUESTIONS)
def test_a_linux_guest_has_the_devices_of_its_variant(session: Session, arch: str, name: str) -> None:
    fs, question = QUESTIONS[arch, name]
    cell = runnable(session, f"linux:{arch}-qemu-{fs}/{name}")
    run = session.run(cell, Program(name, question, 60))
    assert run.verdict.outcome is Outcome.PASSED, run.transcript.tail(20)


def test_every_variant_that_linux_can_have_is_asked_about(session: Session) -> None:
    asked = {name for _, name in QUESTIONS} | {"virtiofs", "nfs"}  # the last by test_nfs.py
    cells = [
        session.matrix.parse(f"linux:{arch}-qemu-rofs/{name}", "linux")
        for arch in ("x86_64", "aarch64")
        for name in variants.names()
    ]
    assert {cell.variant for cell in cells if not session.matrix.invalid(cell)} == asked


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_a_shared_folder_is_read_and_not_written(session: Session, arch: str) -> None:
    _needs_virtiofsd(session)
    cell = runnable(session, f"linux:{arch}-qemu-rofs/virtiofs")
    run = session.run(cell, Program("share", SHARED, 60, prints=(f"^{GREETING.strip()}$",)))
    assert run.verdict.outcome is Outcome.PASSED, run.transcript.tail(20)


def test_a_balloon_takes_memory(session: Session) -> None:
    cell = runnable(session, "linux:x86_64-qemu-ramfs/balloon")
    program = Program("balloon", "sh -c 'until free -m | grep -Eq \"^Mem: +[12]..\\\\b\"; do sleep 0.2; done'", 60)
    interaction = Interaction(act=lambda client: client.set_memory(256), long_running=False)
    run = session.run(cell, program, interaction)
    assert run.verdict.outcome is Outcome.PASSED, run.verdict.reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("osv:x86_64-qemu-rofs-nvme/ahci", "conf_drivers_ahci"),
        ("osv:x86_64-qemu-rofs-vbox/nvme", "conf_drivers_nvme"),
        ("osv:x86_64-qemu-rofs-nvme/virtio-scsi", "the driver of virtio-scsi"),
        ("osv:x86_64-qemu-rofs-vbox/pvscsi", "VMware's drivers"),
        ("osv:x86_64-qemu-rofs-vmware/virtio-modern", "virtio's drivers on PCI"),
        ("osv:aarch64-qemu-rofs-virtio-pci/virtio-mmio", "conf_drivers_mmio"),
        ("osv:aarch64-qemu-rofs/numa", "SRAT"),
        ("osv:aarch64-qemu-rofs/ide", "of PCs"),
        ("osv:x86_64-qemu-rofs/virtio-mmio", "no memory-mapped virtio"),
        ("osv:x86_64-qemu_microvm-rofs/nvme", "no nvme"),
        ("osv:x86_64-qemu_microvm-rofs/numa", "no NUMA nodes"),
        ("osv:x86_64-qemu_microvm-rofs/vhost", "no vhost"),
        ("osv:x86_64-qemu-rofs-vmware/tap-multiqueue", "lacks virtio's network card"),
        ("osv:x86_64-firecracker-rofs/nvme", "firecracker has its own devices"),
        ("linux:x86_64-qemu-rofs/ahci", "no module ahci"),
        ("linux:x86_64-qemu-rofs/e1000", "has a driver for Intel's e1000"),
    ],
)  # fmt: skip
def test_a_variant_without_a_driver_is_refused_with_the_reason(name: str, reason: str) -> None:
    matrix = Matrix.load()
    assert reason in (matrix.invalid(matrix.parse(name, "osv")) or "")


def test_every_rule_about_variants_is_the_reason_for_some_cell() -> None:
    matrix = Matrix.load()
    unused = list(matrix.variant_rules)
    for kernel in ("linux", "osv"):
        for plain in matrix.cells(kernel):
            for name in variants.names():
                rule = matrix.rule_against(replace(plain, variant=name))
                if rule in unused:
                    unused.remove(rule)
    assert not [rule.reason for rule in unused]


def test_a_name_with_a_variant_reads_back() -> None:
    matrix = Matrix.load()
    for name in variants.names():
        cell = matrix.parse(f"osv:aarch64-qemu-rofs-all+debug/{name}", "linux")
        assert (cell.variant, matrix.parse(str(cell), "linux")) == (name, cell)
        assert matrix.parse(matrix.short(cell), "osv", "aarch64") == cell
        assert "/" not in cell.slug
    with pytest.raises(CellError) as caught:
        matrix.parse("qemu-rofs/nvem", "osv")
    assert "nvme" in caught.value.hint


def test_a_profile_has_the_devices_that_it_drives() -> None:
    matrix = Matrix.load()

    def disk_and_card(name: str) -> tuple[str, str]:
        devices = variants.machine_profile_of(matrix.parse(name, "osv")).devices
        return devices.disk, devices.nic

    assert disk_and_card("x86_64-qemu-rofs-nvme") == ("nvme", "virtio-net")
    assert disk_and_card("x86_64-qemu-rofs-vbox") == ("ahci", "virtio-net")
    assert disk_and_card("x86_64-qemu-rofs-vmware") == ("ide", "vmxnet3")
    assert disk_and_card("x86_64-qemu-rofs-vmware/pvscsi") == ("pvscsi", "vmxnet3")
    assert (
        variants.machine_profile_of(matrix.parse("aarch64-qemu-rofs-microvm", "osv")).devices.transport == "mmio"
    )


def _needs_virtiofsd(session: Session) -> None:
    found = session.host.capability("virtiofsd")
    if not found.present:
        pytest.skip(f"virtiofsd: {found.found}")


@pytest.mark.parametrize(("cell", "named"), [("osv:qemu-rofs", "vblk1"), ("osv:qemu-ramfs", "vblk0")])
def test_a_second_disk_is_named_after_those_of_the_image(session: Session, cell: str, named: str) -> None:
    """An image of ramfs has none of its own."""
    if session.osv_root is None:
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    commands = [one.command for one in session.programs(session.cell(cell)) if one.variant == "second-disk"]
    assert len(commands) == 3 and all(named in command.split() for command in commands)


@pytest.mark.parametrize("file", ["catalog/osv.toml", "variants.toml"])
def test_no_row_names_a_second_disk_by_its_number(file: str) -> None:
    text = (project.SHIPPED / file).read_text()
    assert "{second_disk}" in text and not re.search(r"\bvblk[1-9]", text)
    assert variants.with_second_disk("a /dev/{second_disk}.1", 1) == "a /dev/vblk1.1"
