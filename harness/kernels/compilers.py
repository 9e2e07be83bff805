"""Finds which compilers made a program: they write their names into the ELF file."""

import re
from functools import lru_cache
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

MOST = 3


def compilers(elf: Path | None) -> str:
    """The text of the section .comment, for example `gcc (Debian 12.2.0-14+deb12u1) 12.2.0`. All compilers if
    there were several; empty if unknown."""
    if elf is None:
        return ""
    status = elf.stat()
    return _compilers(elf, status.st_mtime_ns, status.st_size)


@lru_cache(64)
def _compilers(elf: Path, changed: int, size: int) -> str:
    del changed, size
    try:
        with elf.open("rb") as file:
            section = ELFFile(file).get_section_by_name(".comment")
            output = section.data() if section else b""
    except (ELFError, OSError):
        return ""
    words = (name.decode("ascii", "replace").strip() for name in output.split(b"\0"))
    names = sorted({re.sub(r"^GCC: ", "gcc ", word) for word in words} - {""})
    return " and ".join(names[:MOST]) + (" and others" if len(names) > MOST else "")
