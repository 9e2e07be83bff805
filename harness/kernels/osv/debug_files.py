"""Keeps what helps to examine a crashed guest: the unstripped programs, and OSv's scripts for gdb of the commit
that was built."""

import os
import shutil
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness.kernels.source_lines import PROGRAMS, files_of

SCRIPTS = ("loader.py", "manifest_common.py", "osv")
"""Files of OSv's `scripts`: gdb reads OSv's threads with them."""


def keep(sources: Path, out: Path) -> None:
    """Copy the unstripped programs that the manifest in `out` names by a path in the build, and the scripts."""
    last = sources / "build/last"
    for host in sorted(set(files_of((out / "usr.manifest").read_text()).values())):
        name = os.path.normpath(host)
        if not name.startswith(("/", "..")) and _has_lines(file := last / name):
            target = out / PROGRAMS / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    for name in SCRIPTS:
        source, target = sources / "scripts" / name, out / "scripts" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.is_file():
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)


def _has_lines(file: Path) -> bool:
    """Whether it is an ELF file with debug information."""
    try:
        with file.open("rb") as stream:
            return ELFFile(stream).get_section_by_name(".debug_line") is not None
    except (ELFError, OSError):
        return False
