"""A disk that boots by itself: it has the machine's command line, and a PC's firmware starts it."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bootable_machine import maker

from harness.core.errors import HypervisorError
from harness.core.machine import Machine
from harness.runner.session import Session
from harness.vm.disks.bootable import COMMAND_LINE_AT, LONGEST_COMMAND_LINE, write_bootable


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[str], Machine]:
    """Makes a machine of a hypervisor, with a disk that a firmware would boot and a second one."""
    return maker(tmp_path)


def test_a_boot_disk_has_the_machines_command_line_and_the_original_is_left(
    machine: Callable[[str], Machine], tmp_path: Path
) -> None:
    wanted = machine("vmware")
    before = wanted.image.disks[0].path.read_bytes()
    write_bootable(wanted, tmp_path / "boot")
    data = (tmp_path / "boot").read_bytes()
    assert data[COMMAND_LINE_AT:].partition(b"\0")[0] == wanted.cmdline.encode()
    assert len(data) % (1 << 20) == 0
    assert wanted.image.disks[0].path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [("no boot sector", "no boot sector"), ("no disk", "boots from a disk"), ("long", "and 32255 fit")],
)
def test_what_can_not_be_booted_is_refused_with_the_reason(
    machine: Callable[[str], Machine], tmp_path: Path, change: str, words: str
) -> None:
    wanted = machine("vmware")
    if change == "no boot sector":
        wanted = replace(wanted, image=replace(wanted.image, disks=wanted.disks))
    elif change == "no disk":
        wanted = replace(wanted, image=replace(wanted.image, disks=()))
    else:
        wanted = replace(wanted, cmdline="x" * (LONGEST_COMMAND_LINE + 1))
    with pytest.raises(HypervisorError, match=words):
        write_bootable(wanted, tmp_path / "boot")


def test_a_pcs_firmware_boots_the_disk_with_the_command_line(session: Session, tmp_path: Path) -> None:
    """As VirtualBox would: from an AHCI disk, with no kernel given, here under QEMU's BIOS."""
    if session.osv_root is None:
        pytest.skip("OSV_ROOT names no OSv checkout")
    image = session.image(session.cell("osv:x86_64-qemu-rofs"))
    write_bootable(Machine(image, f"{image.cmdline} --verbose /tests/tst-hello.so"), tmp_path / "boot")
    command = ["qemu-system-x86_64", "-M", "q35", "-cpu", "max", "-m", "512", "-nodefaults", "-display", "none"]
    command += ["-no-reboot", "-serial", "stdio", "-device", "ich9-ahci,id=ahci"]
    command += ["-drive", f"if=none,id=boot,format=raw,snapshot=on,file={tmp_path / 'boot'}"]
    command += ["-device", "ide-hd,drive=boot,bus=ahci.0"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
    assert b"Cmdline: /tests/tst-hello.so" in done.stdout, done.stdout[-2000:]
    assert b"Powering off." in done.stdout
