"""What OSv's build takes from this host: compilers, wrapper programs, arm64 libraries, Java."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.core.builders import builder_of
from harness.core.cell import Cell
from harness.core.errors import HostError
from harness.core.events import publish
from harness.core.link_mode import launch_of
from harness.host import debian_packages
from harness.host.cache import Cache
from harness.host.in_lab import builder_outside
from harness.kernels.osv import builder_root, ld_wrapper
from harness.kernels.osv.build_config import is_cross

CROSS = "aarch64-linux-gnu-"
BOOST_CROSS = "1.74"
BOOST_PARTS = ("chrono", "filesystem", "program-options", "system", "test", "timer")
BOOST = tuple(f"libboost-{part}{BOOST_CROSS}-dev" for part in BOOST_PARTS)
"""What OSv's scripts/download_aarch64_packages.py fetches for Ubuntu, by Debian bookworm's names."""

PACKAGE_OF = {
    "make": "make", "gcc": "gcc", "g++": "g++", "ld.bfd": "binutils", "qemu-img": "qemu-utils",
    f"{CROSS}gcc": "gcc-aarch64-linux-gnu", f"{CROSS}g++": "g++-aarch64-linux-gnu",
    f"{CROSS}ld.bfd": "binutils-aarch64-linux-gnu", "python3": "python3", "lddtree": "pax-utils",
    "qemu-system-x86_64": "qemu-system-x86", "qemu-system-aarch64": "qemu-system-arm",
    "mkfs.ext4": "e2fsprogs", "cmake": "cmake", "file": "file",
}  # fmt: skip
JAVA_TOOLS = ("mvn", "javac", "lddtree")


def toolchain(cell: Cell) -> dict[str, str]:
    """Maps each program that decides the bytes of a kernel to the first line of its `--version`. Raises
    `HostError` with everything that is missing."""
    prefix = CROSS if is_cross(cell) else ""
    deciding = [f"{prefix}gcc", f"{prefix}g++", f"{prefix}ld.bfd"]
    needed = ["make", "gcc", "g++", "python3", "qemu-img", *deciding]
    if "zfs" in cell.fs or "zfs_disk" in cell.options:
        needed.append(f"qemu-system-{cell.arch}")
    if "ext" in cell.fs:
        needed += ["mkfs.ext4", "cmake"]
    _require(needed)
    return {name: _version(name) for name in deciding}


def taken_from(cell: Cell, cache: Cache, compiles: bool = True) -> Mapping[str, Any]:
    """What of the cell's builder decides the bytes of an image of the tests, as `taken_from_host` tells it of this
    host, which is the builder of a cell that names none. Raises `HostError`."""
    builder = builder_of(cell)
    return builder_root.taken_from(builder, cell.arch, cache) if builder else taken_from_host(cell, compiles)


def taken_from_host(cell: Cell, compiles: bool = True) -> Mapping[str, Any]:
    """What of this host decides the bytes of an image of the tests, by its name in a cache key: `tools`,
    `ingredients`, `java`.

    `compiles` is whether the host's compilers do. In a lab it is what was found outside, where images are built.
    Raises what `toolchain` raises.
    """
    found = builder_outside(cell.arch)
    if found is None:
        tools = toolchain(cell) if compiles else {}
        found = {"tools": tools, "ingredients": ingredients(cell), "java": java_tools()}
    return found


def check_tests(cell: Cell) -> None:
    """Raise `HostError` if the image of the cell's tests cannot be put together: OSv's
    scripts/manifest_from_host.sh looks for the libraries of executables."""
    if not launch_of(cell):
        return
    if is_cross(cell):
        raise HostError(
            f"The tests of {cell} can't be cross-built: OSv's manifest_from_host.sh takes executables of this "
            "host's own arch alone.",
            f"Build them on a host of {cell.arch}; apps with a [source] are cross-compiled.",
        )
    if not builder_of(cell):
        _require(["lddtree", "file"])


def _require(needed: Iterable[str]) -> None:
    if missing := sorted({name for name in needed if shutil.which(name) is None}):
        raise HostError(
            f"OSv can't be built here: {', '.join(missing)} missing.",
            f"Install {' '.join(sorted({PACKAGE_OF[name] for name in missing}))}.",
        )


def ingredients(cell: Cell) -> dict[str, object]:
    """What else of this host gets into an image of the tests: its own Boost, libgcc and zoneinfo, or arm64's."""
    if is_cross(cell):
        return debian_packages.source_parts(BOOST, cell.arch)
    try:
        header = Path("/usr/include/boost/version.hpp").read_text()
        boost = " ".join(re.findall(r'BOOST_LIB_VERSION "(.*)"', header))
    except OSError:
        boost = ""
    release = Path("/etc/os-release")
    return {"boost": boost, "host": release.read_text() if release.exists() else ""}


def boost(cell: Cell, of: Mapping[str, object]) -> str:
    """Boost's version among the ingredients."""
    return BOOST_CROSS if is_cross(cell) else str(of.get("boost", ""))


def lay_out_packages(cell: Cell, sources: Path, cache: Cache) -> None:
    """Put arm64's Boost where OSv's makefiles look for it; Debian's cross compiler brings the rest. Only Boost: a
    whole package tree would put glibc's headers before OSv's own."""
    if not is_cross(cell):
        return
    root = debian_packages.fetch(BOOST, cell.arch, cache).root
    install = sources / "build/downloaded_packages/aarch64/boost/install"
    shutil.rmtree(install, ignore_errors=True)
    libraries = install / "usr/lib/aarch64-linux-gnu"
    libraries.mkdir(parents=True)
    for library in (root / "usr/lib/aarch64-linux-gnu").glob("libboost_*"):
        shutil.copy2(library, libraries / library.name, follow_symlinks=False)
    (install / "usr/include").mkdir()
    (install / "usr/include/boost").symlink_to(root / "usr/include/boost")


def wrappers(cell: Cell, accelerator: str) -> dict[str, str]:
    """Programs to put before the builder's own in the build's PATH, by name; see `Tree.wrap`."""
    if builder_of(cell):
        return {**dict.fromkeys(("gcc", "g++"), "-> /usr/bin/ccache"), "sudo": _SUDO}
    qemu = shutil.which(f"qemu-system-{cell.arch}")
    stand_in = Path(__file__).with_name("qemu_wrapper.py")
    words = shlex.join([sys.executable, str(stand_in), accelerator, qemu or ""])
    programs = {"qemu": f'#!/bin/sh\nexec {words} "$@"\n'} if qemu else {}
    if ccache := shutil.which("ccache"):
        compilers = dict.fromkeys(("gcc", "g++", f"{CROSS}gcc", f"{CROSS}g++"), f"-> {ccache}")
        programs |= {name: link for name, link in compilers.items() if shutil.which(name)}
    if is_cross(cell):  # the app's symbols are read with the host's objdump, which reads no arm64
        programs["objdump"] = f"-> {shutil.which(f'{CROSS}objdump')}"
    if shutil.which("sudo") is None and os.geteuid() == 0:
        programs["sudo"] = _SUDO
    return programs


def layout_wrapper(cell: Cell, layout: int, pads: Path) -> dict[str, str]:
    """The linker that applies the code layout `layout`; its pads are in a folder that is made here.

    Any assembler makes the same pads. A builder's root shows the tree alone, so the wrapper is put there.
    """
    prefix = CROSS if is_cross(cell) else ""
    ld_wrapper.make_pads(f"{prefix}as", pads)
    if builder_of(cell):
        copy = shutil.copy(ld_wrapper.__file__, pads)
        words = shlex.join(["python3", str(copy), str(layout), str(pads), "/usr/bin/ld.bfd"])
        return {"ld.bfd": f'#!/bin/sh\nexec {words} "$@"\n'}
    linker = shutil.which(f"{prefix}ld.bfd")
    words = shlex.join([sys.executable, ld_wrapper.__file__, str(layout), str(pads), str(linker)])
    return {f"{prefix}ld.bfd": f'#!/bin/sh\nexec {words} "$@"\n'}


def environment(cell: Cell, tree_bin: Path, trees: Path, cache: Cache) -> dict[str, str]:
    """The build's environment: this process's, without what OSv's makefiles would take for their settings; in a
    builder's root nothing of this process's but ccache's settings."""
    kept = {name: value for name, value in os.environ.items() if not _is_setting(name)}
    if builder_of(cell):
        # Several compilers share a cache, so it is their content that tells them apart, not when they changed.
        of_ccache = {name: value for name, value in kept.items() if name.startswith("CCACHE_")}
        kept = {"CCACHE_COMPILERCHECK": "content", **of_ccache, "PATH": builder_root.PATH, "HOME": "/tmp"}
    kept |= {
        "PATH": f"{tree_bin}:{kept.get('PATH', os.defpath)}",
        "LC_ALL": "C",
        "QEMU_PATH": str(tree_bin / "qemu"),
        # OpenZFS is patched with `git apply`, which does nothing below a repository that the cache may lie in.
        "GIT_CEILING_DIRECTORIES": str(tree_bin.parent),
        # The same source compiled in two trees is one cache entry: paths below `trees` are hashed as relative.
        "CCACHE_BASEDIR": str(trees),
        "CCACHE_NOHASHDIR": "1",
    }
    kept.setdefault("CCACHE_DIR", str(cache.root / "ccache"))
    return kept


def java_tools() -> str:
    """Why Java tests cannot even be tried here; empty if they can."""
    if missing := [name for name in JAVA_TOOLS if shutil.which(name) is None]:
        return f"{', '.join(missing)} missing"
    compiler = shutil.which("javac")
    return _broken_link(Path(compiler).resolve().parents[1] / "lib") if compiler else ""


def _broken_link(libraries: Path) -> str:
    """Which file of the JDK leads to nothing, if one does: OSv puts all of them into the image but `cacerts`, and
    `mkbootfs.py` fails. Debian's `lib/src.zip` does without the package of Java's sources."""
    for path in sorted(libraries.rglob("*")):
        if path.is_symlink() and not path.exists() and path != libraries / "security/cacerts":
            cure = ": install openjdk-17-source, or that of its version" if path.name == "src.zip" else ""
            return f"the JDK's {path} leads to nothing{cure}"
    return ""


def java_unusable(java_tests: Path, build_environment: Mapping[str, str], timeout: float = 120) -> str:
    """Why Java tests cannot be built; empty if they can. What was built is kept, so that the check costs nothing
    the second time.

    Maven is really run on the tests' own project in `java_tests`: it may be installed and yet reach no repository.
    """
    if missing := java_tools():
        return missing
    version = subprocess.run(["javac", "-version"], capture_output=True, text=True).stdout
    project = java_tests if "javac 1.8" in version else java_tests / "tests-for-java9_1x"
    publish("build.progress", "java-tests", "asking Maven whether it can build them")
    try:
        done = subprocess.run(
            ["mvn", "--batch-mode", "-Dstyle.color=never", "-q", "package", "-DskipTests=true"],
            cwd=project, env=dict(build_environment), capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"Maven did not end within {timeout:.0f} s"
    if done.returncode == 0:
        return ""
    errors = re.findall(r"\[ERROR\] (\S.*)", done.stdout)
    return f"Maven failed: {errors[0] if errors else done.returncode}"[:300]


def _version(program: str) -> str:
    return subprocess.run([program, "--version"], capture_output=True, text=True).stdout.partition("\n")[0]


def _is_setting(name: str) -> bool:
    return name.startswith(("conf_", "OSV_", "MAKE", "GIT_")) or name in {
        "ARCH", "arch", "mode", "fs", "fs_type", "image", "modules", "export", "CROSS_PREFIX", "MFLAGS", "V",
        "CC", "CXX", "LD", "STRIP", "CFLAGS", "CXXFLAGS", "LDFLAGS", "boost_base", "werror", "JAVA_VERSION",
    }  # fmt: skip


_SUDO = """#!/bin/sh
# Root needs no sudo, and containers seldom have it.
while [ "$1" = -p ]; do shift 2; done
exec "$@"
"""
