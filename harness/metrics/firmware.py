"""The firmware that boots a kernel in QEMU: exact instruction counts include it."""

import hashlib
import re
import subprocess
from functools import cache
from pathlib import Path

FILES = ("bios-256k.bin", "bios-microvm.bin", "linuxboot_dma.bin", "pvh.bin", "kvmvapic.bin")
"""SeaBIOS for q35 and pc, microvm's firmware, and the loaders of a kernel that is given to QEMU. An aarch64 board
that is given a kernel has no firmware. Source: QEMU 7.2, hw/i386/x86.c, hw/i386/microvm.c."""

VERSION = re.compile(rb"\0(\d+\.\d+\.\d+-[\w.+-]*)\0")


@cache
def firmware(qemu: Path, arch: str) -> str:
    """The version of SeaBIOS and 12 hex digits of the SHA-256 of all files: `SeaBIOS 1.16.2-debian-1.16.2-1,
    6d2fca1c8`. Empty if there is none."""
    if arch != "x86_64":
        return ""
    try:
        done = subprocess.run([qemu, "-L", "help"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    folders = [Path(line) for line in done.stdout.splitlines()]
    found = [path for name in FILES if (path := _first(folders, name))]
    if not found:
        return ""
    digest = hashlib.sha256()
    for path in found:
        digest.update(path.read_bytes())
    version = VERSION.search(found[0].read_bytes())
    return f"SeaBIOS {version[1].decode() if version else '?'}, {digest.hexdigest()[:12]}"


def _first(folders: list[Path], name: str) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
