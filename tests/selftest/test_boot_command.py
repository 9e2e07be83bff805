"""What `osv-harness boot` makes of a guest's end, above all where a reset is how a kernel powers off."""

import os
import re
from pathlib import Path

import pytest

from harness.commands.boot import _conclusion
from harness.console.monitor import Monitor
from harness.console.patterns import patterns_of
from harness.hypervisors import Cause, Ending
from harness.machine import PROFILES_WITHOUT_ACPI, Image, Machine
from harness.matrix import Matrix

RESET = Ending(Cause.RESET, "guest-reset")


def machine(name: str) -> Machine:
    """A machine of the cell; what it boots does not exist."""
    cell = Matrix.load().parse(name, "osv")
    return Machine(Image(cell, Path("kernel"), "", "digest", reads_acpi=cell.kernel == "linux"), "")


def console(kernel: str, text: bytes) -> Monitor:
    """A console that has shown the text."""
    monitor = Monitor(patterns_of(kernel))
    monitor.feed(text)
    monitor.finish()
    return monitor


@pytest.mark.parametrize(
    ("name", "by_reset"),
    [
        ("osv:x86_64-qemu-rofs-all", False),
        ("osv:x86_64-qemu-rofs-virtio-pci", False),
        ("osv:x86_64-qemu-ramfs-base", True),
        ("osv:x86_64-qemu-rofs-nvme", True),
        ("osv:x86_64-qemu_microvm-ramfs-all", True),
        ("linux:x86_64-qemu_microvm-ramfs-all", False),
        ("osv:x86_64-firecracker-rofs-all", True),
        ("osv:x86_64-cloud_hypervisor-rofs-all", False),
        ("osv:aarch64-qemu-ramfs-base", False),
        ("osv:aarch64-firecracker-rofs-all", False),
    ],
)
def test_how_a_kernel_powers_off_is_known_of_its_machine(name: str, by_reset: bool) -> None:
    assert machine(name).powers_off_by_reset is by_reset


def test_the_profiles_without_acpi_are_osvs() -> None:
    root = os.environ.get("OSV_ROOT")
    if not root:
        pytest.skip("OSV_ROOT names no checkout of OSv")
    folder = Path(root) / "conf/profiles/x64"
    profiles = {path.stem for path in folder.glob("*.mk")}
    assert {name for name in profiles if not _sets_acpi(folder, name)} == PROFILES_WITHOUT_ACPI


def _sets_acpi(folder: Path, name: str) -> bool:
    """Whether the profile, or one that it includes, sets conf_drivers_acpi, by itself or by what base.mk
    makes of its other drivers."""
    text = (folder / f"{name}.mk").read_text()
    if re.search(r"^conf_drivers_(acpi|pvpanic|hpet)\?=1", text, re.MULTILINE):
        return True
    return any(_sets_acpi(folder, other) for other in re.findall(r"^include .*/([\w-]+)\.mk", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("name", "ending", "text", "status", "told"),
    [
        ("osv:x86_64-qemu-rofs", Ending(Cause.POWERED_OFF, "guest-shutdown"), b"", 0, "guest-shutdown"),
        ("osv:x86_64-qemu-rofs", RESET, b"Powering off.\n", 1, "guest-reset"),
        ("osv:x86_64-qemu_microvm-ramfs", RESET, b"Powering off.\n", 0, "powers this machine off"),
        ("osv:x86_64-qemu_microvm-ramfs", RESET, b"OSv v0.57\n", 1, "triple fault"),
        ("osv:x86_64-qemu_microvm-ramfs", Ending(Cause.PANICKED, "guest-panic"), b"Powering off.\n", 1, "panic"),
        ("osv:x86_64-qemu_microvm-ramfs", None, b"", 1, "still ran"),
        ("linux:x86_64-qemu_microvm-ramfs", RESET, b"reboot: Power down\n", 1, "guest-reset"),
    ],
)
def test_a_reset_is_an_end_only_where_it_powers_off_and_the_kernel_said_so(
    name: str, ending: Ending | None, text: bytes, status: int, told: str
) -> None:
    of = machine(name)
    monitor = console(of.image.cell.kernel, text)
    got, words = _conclusion(of, ending, monitor)
    assert (got, told in words) == (status, True), words
