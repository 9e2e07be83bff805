"""A builder of one row: its root has a shell, a few of this host's programs, compilers that only tell a name."""

import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

from harness.core.builders import Builder, builders
from harness.host.cache import Cache
from harness.kernels.osv import builder_root

ROW = """
[builder.mine]
what = "my own compiler"
suite = "mine"
archives = ["mine mine"]
packages = ["base-files"]
"""

PROGRAMS = ("bash", "cat", "cp", "grep", "ln", "ls", "mkdir", "rm", "sh", "sleep", "touch")
COMPILERS = {"gcc": "gcc 99.1", "g++": "g++ 99.1", "ld.bfd": "ld.bfd 9.9"}


def small_root(root: Path, gcc: str = "gcc 99.1") -> None:
    """Copy the programs and their libraries there, beside the compilers."""
    tools = root / "usr/bin"
    tools.mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    for program in [*map(shutil.which, PROGRAMS), shutil.which("ldconfig", path="/usr/sbin:/sbin")]:
        assert program
        shutil.copy(program, tools)
        told = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
        for library in re.findall(r"(?:=> |^\s*)(/\S+)", told, re.MULTILINE):
            (place := root / library.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)
    for name, words in (COMPILERS | {"gcc": gcc}).items():
        (tools / name).write_text(f"#!/bin/sh\necho '{words}'\n")
        (tools / name).chmod(0o755)
    (root / "etc").mkdir()
    (root / "etc/os-release").write_text("NAME=mine\n")
    (header := root / "usr/include/boost/version.hpp").parent.mkdir(parents=True)
    header.write_text('#define BOOST_LIB_VERSION "9_99"\n')


def make(cache: Cache, arch: str, gcc: str = "gcc 99.1") -> Builder:
    """The builder `mine`, with its root in the cache as if it had been fetched."""
    builder = builders()["mine"]
    cache.get(builder_root.KIND, builder_root.parts(builder, arch), partial(_write, builder, gcc))
    return builder


def _write(builder: Builder, gcc: str, out: Path) -> None:
    small_root(out / builder_root.ROOT, gcc)
    builder_root.finish(builder, out, {"base-files": gcc})
