"""A machine of any hypervisor, with a disk that a firmware would boot and a second one."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from harness.core.cell import Cell
from harness.core.machine import Disk, Image, Machine


def maker(folder: Path) -> Callable[[str], Machine]:
    """Makes a machine of the hypervisor that it is asked for; its disks are in the folder."""
    raw, disk, second = folder / "raw", folder / "usr.img", folder / "second"
    raw.write_bytes(bytes(510) + b"\x55\xaa" + b"an older command line".ljust(1 << 16, b"\0"))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(disk)], check=True)
    second.write_bytes(b"second".ljust(4096))

    def make(name: str) -> Machine:
        image = Image(
            Cell("osv", "x86_64", name, "rofs", "all"), folder / "loader-stripped.elf", "--rootfs=rofs",
            "digest", (Disk(disk, "qcow2"),),
        )  # fmt: skip
        return Machine(image, '--rootfs=rofs --env="A=b c" /hello', 2, 256, disks=(Disk(second),))

    return make
