"""A git repository that stands in for an OSv checkout: landmarks, a build script of a few lines, changes to it."""

import platform
import subprocess
from pathlib import Path

from harness.core.cell import Cell
from harness.kernels.osv.build_config import EMPTY, BuildConfig, BuildOptions, ImageModules
from harness.kernels.osv.build_tree import Tree
from harness.kernels.osv.checkout import State

ROFS = Cell("osv", platform.machine(), "qemu", "rofs", "all")

BUILD = """#!/bin/bash
set -e
for word; do case $word in *=*) export "${word%%=*}=${word#*=}" ;; esac; done
echo "  CXX core.cc"
! grep -n BROKEN core.cc || { echo "core.cc:1:1: error: expected a kernel"; exit 1; }
out=build/$mode.$arch
mkdir -p $out
ln -nsf $mode.$arch build/last
echo "$* $(scripts/osv-version.sh) $(cat core.cc lib/musl.c)" > $out/loader.elf
cp $out/loader.elf $out/loader-stripped.elf
cp $out/loader.elf $out/loader.img
echo -n "--rootfs=$fs " > $out/cmdline
touch $out/libenviron.so
echo "disk of $fs" > $out/usr.img
cp $out/usr.img $out/disk.img
cp $out/append.manifest $out/usr.manifest 2>/dev/null || echo "[manifest]" > $out/usr.manifest
echo "/tests/tst-hello.so: ./tests/tst-hello.so" > modules/tests/usr.manifest
"""


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody, in `folder`."""
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"]
    done = subprocess.run([*command, "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, files: dict[str, str]) -> Path:
    """A git repository with these files, tagged v1.0."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")
    git(folder, "tag", "v1.0")
    return folder


def looks_like_osv(folder: Path) -> Path:
    """A git repository below the folder that looks like OSv, with `lib` as its submodule musl."""
    musl = commit(folder / "musl", {"musl.c": "musl\n"})
    osv = folder / "osv"
    commit(
        osv,
        {
            "loader.cc": "",
            "core.cc": "core\n",
            "conf/base.mk": "conf_hide_symbols=0\nconf_lazy_stack=0\nconf_lazy_stack_invariant=0\n",
            "scripts/build": BUILD,
            "scripts/module.py": "",
            "Makefile": "build/%:\n\t@true\n",
            "conf/Makefile": "config:\n",
            "scripts/osv-version.sh": "#!/bin/sh\nexit 1\n",
            "scripts/generate_version_script.sh": "MACHINE=$(uname -m)\n",
            "modules/java-tests/Makefile": "all:\n",
            "modules/java-tests/module.py": "require maven\n",
            "modules/tests/Makefile": "",
            ".gitignore": "build/\n*.o\n",
        },
    )
    git(osv, "submodule", "--quiet", "add", str(musl), "lib")
    (osv / "musl").symlink_to("lib")
    git(osv, "add", "-A")
    git(osv, "commit", "-q", "-m", "submodule")
    return osv


def config_of(cell: Cell, contents: ImageModules = EMPTY) -> BuildConfig:
    """How the cell is built from some checkout on some host."""
    return BuildConfig(cell, contents, BuildOptions(), State("v1.0", "c0ffee", "d1ce", ()), {})


def empty_tree(folder: Path) -> Tree:
    """A build tree below the folder, with nothing in it."""
    (folder / "tree").mkdir()
    return Tree(folder / "tree")


def snapshot(folder: Path) -> dict[str, tuple[float, int]]:
    """Time and size of everything below a folder."""
    return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size) for p in folder.rglob("*")}


def edit(checkout: Path) -> str:
    (checkout / "core.cc").write_text("other\n")
    return "core.cc"


def add(checkout: Path) -> str:
    (checkout / "new.cc").write_text("new\n")
    return "new.cc"


def delete(checkout: Path) -> str:
    (checkout / "core.cc").unlink()
    return "core.cc"


def edit_submodule(checkout: Path) -> str:
    (checkout / "lib/musl.c").write_text("other\n")
    return "lib/musl.c"


def add_to_submodule(checkout: Path) -> str:
    (checkout / "lib/new.c").write_text("new\n")
    return "lib/new.c"
