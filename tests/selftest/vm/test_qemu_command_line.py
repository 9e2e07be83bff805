"""What of QEMU's command line depends on the kernel's drivers and on the host's hardware, without a guest."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.machine import Devices, Image, Machine
from harness.core.matrix import Matrix
from harness.vm.base import Hypervisor, snapshots_of
from harness.vm.qemu.command_line import Wires, board_for, command_line
from harness.vm.registry import hypervisor

BOARDS = {"qemu": {"x86_64": "q35", "aarch64": "virt"}, "qemu_microvm": {"x86_64": "microvm"}}


def machine(name: str, **parts: object) -> Machine:
    """A machine of the cell; what it boots does not exist."""
    cell = Matrix.load().parse(name, "osv")
    image = Image(cell, Path("kernel"), "", "digest", reads_acpi=cell.kernel == "linux")
    return replace(Machine(image, ""), **parts)  # type: ignore[arg-type]


def words(of: Machine) -> str:
    """Its command line."""
    board = board_for(of, BOARDS[of.image.cell.hypervisor])
    return " ".join(command_line("qemu", board, of, Wires(0, 0, 0, 0), None))


@pytest.mark.parametrize(
    ("name", "devices", "legacy"),
    [
        ("osv:x86_64-qemu_microvm-rofs", Devices(), "off"),
        ("linux:x86_64-qemu_microvm-rofs", Devices(), "off"),
        ("osv:aarch64-qemu-rofs", Devices(transport="mmio"), "off"),
        ("osv:aarch64-qemu-rofs", Devices(transport="mmio", flavour="modern"), "off"),
        ("osv:aarch64-qemu-rofs", Devices(transport="mmio", flavour="legacy"), "on"),
    ],
)
def test_memory_mapped_devices_have_the_interface_that_osv_drives(
    name: str, devices: Devices, legacy: str
) -> None:
    assert f"-global virtio-mmio.force-legacy={legacy} " in words(machine(name, devices=devices))


@pytest.mark.parametrize(
    ("name", "devices", "has_one"),
    [
        ("osv:x86_64-qemu_microvm-rofs", Devices(), False),
        ("osv:aarch64-qemu-rofs", Devices(transport="mmio"), False),
        ("osv:aarch64-qemu-rofs", Devices(), True),
        ("linux:x86_64-qemu_microvm-rofs", Devices(), True),
    ],
)
def test_osv_has_no_memory_mapped_source_of_entropy(name: str, devices: Devices, has_one: bool) -> None:
    """Its driver can have no interrupt of one, and the kernel aborts."""
    assert ("rng-random" in words(machine(name, devices=devices))) is has_one


def test_devices_on_pci_are_not_told_of_memory_mapped_ones() -> None:
    assert "virtio-mmio" not in words(machine("osv:x86_64-qemu-rofs"))


@pytest.mark.parametrize(("accelerator", "gic"), [("kvm", "host"), ("tcg", "3")])
def test_the_interrupt_controller_is_the_hosts_where_hardware_runs_the_guest(accelerator: str, gic: str) -> None:
    assert f"-M virt,gic-version={gic} " in words(machine("osv:aarch64-qemu-rofs", accelerator=accelerator))


def test_a_template_is_of_one_command_line() -> None:
    driver: Hypervisor = hypervisor("qemu")
    forks = snapshots_of(driver)
    assert forks
    mmio = machine("osv:aarch64-qemu-rofs", devices=Devices(transport="mmio"))
    legacy = replace(mmio, devices=replace(mmio.devices, flavour="legacy"))
    kvm = replace(mmio, accelerator="kvm")
    assert len({forks.identity(one) for one in (mmio, legacy, kvm)}) == 3
