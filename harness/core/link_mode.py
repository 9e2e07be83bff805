"""Launch modes: how a program is linked, and what starts it. The data is `[launch]` of matrix.toml."""

from enum import StrEnum
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_DT_FLAGS_1
from elftools.elf.segments import InterpSegment

from harness.core.cell import Cell
from harness.core.errors import BuildError, LaunchError


class LinkMode(StrEnum):
    """A launch mode of a cell, by the name of its option."""

    LINUX_LD = "linux_ld"
    PIE = "pie"
    NON_PIE = "non_pie"
    STATIC = "static"
    STATIC_PIE = "static_pie"


class Linkage(StrEnum):
    """The kind of a program's ELF file."""

    SHARED = "a shared object"
    PIE = "a position-independent executable"
    NON_PIE = "a position-dependent executable"
    STATIC = "a static executable"
    STATIC_PIE = "a static executable that can lie anywhere"


LD_SO = {"x86_64": "/lib64/ld-linux-x86-64.so.2", "aarch64": "/lib/ld-linux-aarch64.so.1"}
"""Linux's own ld.so, by arch. Source: OSv's scripts/test.py; the psABIs."""

ACCEPTED_LINKAGE: dict[LinkMode, tuple[Linkage, ...]] = {
    LinkMode.LINUX_LD: (Linkage.PIE, Linkage.NON_PIE),
    LinkMode.PIE: (Linkage.PIE,),
    LinkMode.NON_PIE: (Linkage.NON_PIE,),
    LinkMode.STATIC: (Linkage.STATIC,),
    LinkMode.STATIC_PIE: (Linkage.STATIC_PIE,),
}


def launch_of(cell: Cell) -> LinkMode | None:
    """The launch mode that the cell names, if any."""
    return next((mode for mode in LinkMode if mode in cell.options), None)


def linkage(program: Path) -> Linkage:
    """The kind of an ELF file. Raises `BuildError` if the file is none.

    Source: the gABI, chapters 4 and 5; glibc's elf.h: DF_1_PIE tells a PIE without an interpreter from a library.
    """
    try:
        with program.open("rb") as file:
            elf = ELFFile(file)
            segments = list(elf.iter_segments())
            interpreted = any(isinstance(segment, InterpSegment) for segment in segments)
            dynamic = (tag for one in segments if isinstance(one, DynamicSegment) for tag in one.iter_tags())
            flags = sum(tag.entry.d_val for tag in dynamic if tag.entry.d_tag == "DT_FLAGS_1")
            if elf["e_type"] == "ET_EXEC":
                return Linkage.NON_PIE if interpreted else Linkage.STATIC
    except ELFError as error:
        raise BuildError(f"{program} is no ELF file: {error}.", "Name programs, not scripts.") from error
    if interpreted:
        return Linkage.PIE
    return Linkage.STATIC_PIE if flags & ENUM_DT_FLAGS_1["DF_1_PIE"] else Linkage.SHARED


def check_launch(cell: Cell, name: str, program: Path) -> None:
    """Raise `LaunchError` if the program is not linked as the cell's launch mode requires."""
    mode = launch_of(cell)
    found = linkage(program) if mode else None
    if mode and found not in ACCEPTED_LINKAGE[mode]:
        wanted = " or ".join(ACCEPTED_LINKAGE[mode])
        raise LaunchError(
            f"{name} can't be launched as {mode}: its program is {found}, and {mode} takes {wanted}.",
            "Programs that the harness compiles (apps with a [source]) can be had in every mode.",
        )
