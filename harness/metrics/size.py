"""The size of a kernel and its image, and what it consists of."""

import re
import zlib
from collections import Counter
from pathlib import Path

from elftools.common.exceptions import DWARFError, ELFError
from elftools.dwarf.dwarfinfo import DWARFInfo
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness.metrics.records import Metric, Sample
from harness.metrics.sampler import Sampler
from harness.workloads.apps.app import App

ALLOCATED, EXECUTABLE = 0x2, 0x4  # Source: System V ABI, SHF_ALLOC, SHF_EXECINSTR
DEFINED_BINDINGS = ("STB_GLOBAL", "STB_WEAK", "STB_GNU_UNIQUE")


def sizes(sampler: Sampler, _: App | None = None) -> list[Sample]:
    """Bytes of the booted kernel, compressed (as by `gzip -9`), with its disks, by section, and by part of the
    sources; and the number of symbols that it exports."""
    image = sampler.image
    kernel = image.kernel.stat().st_size
    files = [image.kernel, image.initrd, *(disk.path for disk in image.disks)]
    rows = {
        "size.kernel": kernel,
        "size.compressed": len(zlib.compress(image.kernel.read_bytes(), 9)),
        "size.image": sum(path.stat().st_size for path in files if path),
    }
    elf = image.symbols or image.kernel
    rows |= {f"size.section.{name}": size for name, size in sections(elf).items()}
    rows |= {f"size.part.{name}": size for name, size in parts(elf).items()}
    samples = [sampler.take(Metric(name, "B", exact=True), size) for name, size in rows.items()]
    exported = exported_symbols(elf)
    return (
        [*samples, sampler.take(Metric("size.symbols", "symbols", exact=True), exported)] if exported else samples
    )


def sections(elf: Path) -> dict[str, int]:
    """Bytes of each section that is loaded, by name without the dot; empty if it is no ELF file."""
    try:
        with elf.open("rb") as file:
            found = ELFFile(file).iter_sections()
            return {
                _word(section.name.lstrip(".")): section["sh_size"]
                for section in found
                if section["sh_flags"] & ALLOCATED and section["sh_size"]
            }
    except ELFError:
        return {}


def exported_symbols(elf: Path) -> int:
    """The number of symbols that the dynamic symbol table defines; 0 if there is none."""
    try:
        with elf.open("rb") as file:
            table = ELFFile(file).get_section_by_name(".dynsym")
            if not isinstance(table, SymbolTableSection):
                return 0
            return sum(
                symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["bind"] in DEFINED_BINDINGS
                for symbol in table.iter_symbols()
            )
    except ELFError:
        return 0


def parts(elf: Path) -> dict[str, int]:
    """Bytes of code by the folder of its source (`core`, `bsd/sys`, `external/x64`), from the debug information.

    `libraries` is code without debug information, linked from the archives of the compiler and the distribution.
    Source: DWARF 5, 6.1.2 (.debug_aranges), 3.1.1 (DW_AT_name of a compilation unit).
    """
    try:
        with elf.open("rb") as file:
            parsed = ELFFile(file)
            every = parsed.iter_sections()
            code = sum(section["sh_size"] for section in every if section["sh_flags"] & EXECUTABLE)
            known = parsed.has_dwarf_info()
            found = _by_folder(parsed.get_dwarf_info(relocate_dwarf_sections=False)) if known else Counter()
    except (ELFError, DWARFError):
        return {}
    return {**found, "libraries": code - sum(found.values())} if found else {}


def _by_folder(debug: DWARFInfo) -> Counter[str]:
    folders: Counter[str] = Counter()
    names: dict[int, str] = {}
    ranges = debug.get_aranges()
    for row in ranges.entries if ranges else ():
        unit = row.info_offset
        if unit not in names:
            attributes = debug.get_CU_at(unit).get_top_DIE().attributes
            names[unit] = _folder(attributes["DW_AT_name"].value.decode("utf-8", "replace"))
        folders[names[unit]] += row.length
    return folders


def _folder(source: str) -> str:
    """The first two folders of a source in the tree, or the only one."""
    inside = [word for word in source.split("/")[:-1] if word not in ("..", ".", "")]
    return _word("/".join(inside[:2])) or "top"


def _word(name: str) -> str:
    """A name as one component of a metric's name."""
    return re.sub(r"[^A-Za-z0-9_+/-]", "_", name)
