"""Identifies a file that a hypervisor is to boot as a kernel: its kind and arch, and whether it has symbols."""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness.core.cell import Cell
from harness.core.errors import CellError, HarnessError

ELF_MAGIC = b"\x7fELF"
ELF_ARCHES = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64"}
ARM64_IMAGE = (0x38, b"ARM\x64")
"""The offset and magic number of a raw arm64 kernel. Source: Linux, Documentation/arch/arm64/booting.rst."""

BZIMAGE = (0x202, b"HdrS")
"""The offset and magic number of a bzImage. Source: Linux, Documentation/arch/x86/boot.rst."""

BOOT_SECTOR = (0x1FE, b"\x55\xaa")
"""How a sector ends that a PC's firmware loads: it is a disk, which no hypervisor can load as a kernel."""

HEAD = 1024  # bytes; all of these are in them


@dataclass(frozen=True, slots=True)
class BootFile:
    """`kind` is for people; `elf` is whether it is an ELF file, `has_symbols` whether it names its functions."""

    path: Path
    kind: str
    arch: str
    elf: bool = False
    has_symbols: bool = False

    def check_boots(self, cell: Cell) -> None:
        """Raise `CellError` if it is not for the cell's arch, or its hypervisors cannot load it."""
        if self.arch != cell.arch:
            raise CellError(
                f"{self.path} is for {self.arch}, and {cell} for {cell.arch}.",
                f"Name a cell of {self.arch}, or the other arch's file.",
            )
        if self.elf and cell.kernel == "osv" and self.arch == "aarch64":
            raise CellError(
                f"{self.path} is an ELF file, of which QEMU starts nothing on aarch64.",
                "Give loader.img of the same build; loader.elf beside it is found for its symbols.",
            )


def boot_file(path: Path) -> BootFile:
    """Identify the file. Raises `HarnessError` if it is missing, unreadable or not bootable."""
    check_readable(path)
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head.startswith(ELF_MAGIC):
        return _elf(path)
    if _has(head, ARM64_IMAGE):
        return BootFile(path, "raw kernel", "aarch64")
    if _has(head, BZIMAGE):
        return BootFile(path, "bzImage", "x86_64")
    if _has(head, BOOT_SECTOR):
        raise HarnessError(
            f"{path} is a disk that a PC's firmware boots, and kernels are loaded here without one.",
            "Give loader-stripped.elf or loader.elf of the same build, and the disk as --image-file.",
        )
    raise HarnessError(
        f"{path} is no kernel: it is neither an ELF file nor a raw arm64 kernel nor a bzImage.",
        "Give loader-stripped.elf or loader.elf on x86_64, loader.img on aarch64.",
    )


def check_readable(path: Path) -> None:
    """Raise `HarnessError` if it is empty or no file that this user can read."""
    if not path.exists():
        raise HarnessError(f"There is no file {path}.", "Check the name.")
    if not path.is_file():
        raise HarnessError(f"{path} is no file.", "Name the file itself.")
    if not os.access(path, os.R_OK):
        raise HarnessError(f"{path} can't be read by this user.", f"chmod a+r {path}")
    if path.stat().st_size == 0:
        raise HarnessError(f"{path} is empty.", "Copy it again.")


def _has(head: bytes, sign: tuple[int, bytes]) -> bool:
    at, magic = sign
    return head[at : at + len(magic)] == magic


def _elf(path: Path) -> BootFile:
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            machine = str(elf["e_machine"])
            segments = [(one["p_offset"], one["p_filesz"]) for one in elf.iter_segments("PT_LOAD")]
            table = elf.get_section_by_name(".symtab")
            named = isinstance(table, SymbolTableSection) and table.num_symbols() > 1
    except (ELFError, struct.error, ValueError, KeyError) as error:
        raise HarnessError(f"{path} is a damaged ELF file: {error}.", "Copy it again.") from error
    if machine not in ELF_ARCHES:
        raise HarnessError(f"{path} is for the machine {machine}.", "OSv is for x86_64 and aarch64.")
    if not segments or max(at + size for at, size in segments) > path.stat().st_size:
        raise HarnessError(f"{path} is cut short, or nothing that can be loaded.", "Copy it again.")
    kind = "ELF file with symbols" if named else "stripped ELF file"
    return BootFile(path, kind, ELF_ARCHES[machine], elf=True, has_symbols=named)
