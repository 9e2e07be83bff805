"""QEMU's `microvm` machine: virtio over MMIO, no PCI, no firmware tables. On aarch64 it is `virt` without PCI."""

from harness.vm.qemu.driver import Qemu


def driver() -> Qemu:
    """The driver for the axis value `qemu_microvm`."""
    return Qemu("qemu_microvm", {"x86_64": "microvm"})
