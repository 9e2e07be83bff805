"""Which of OSv's sources the build tree changes for a cell, and why."""

import re
from collections.abc import Mapping

from harness.core.cell import Cell
from harness.kernels.osv.build_config import configuration, is_cross
from harness.kernels.osv.build_tree import Adaptation, Edit

LIBNFS_BUILT, LIBNFS_NEEDED = "libnfs.so.4.0.0", "libnfs.so.11.0.0"


def adaptation(cell: Cell, version: str, java: bool) -> Adaptation:
    """What the build tree differs in from the checkout, and why.

    - `scripts/osv-version.sh` asks git, and the tree has none.
    - `modules/java-tests` becomes an empty module where Java can't be built.
    - `conf/base.mk` sets the options: the C headers are generated from it, and a variable that is only on the
      command line reaches the makefiles alone (`conf_lazy_stack=1` would then change nothing).
    - `scripts/generate_version_script.sh` takes the symbol lists of the arch it runs on, not those of
      the arch it builds for.
    - `scripts/generate_app_version_script.sh` sorts symbols before it strips their blanks, so that `comm` loses
      some (memcpy of libgcc) and the app's kernel does not start it.
    - `modules/libnfs` clones the newest libnfs, where nothing has the names any more that it copies (4.0.0 has);
      where make has several jobs it builds before it has cloned. `modules/nfs-tests` wants a server of its own.
    """
    files = {"scripts/osv-version.sh": f"#!/bin/sh\necho '{version}'\n"}
    edits: dict[str, Edit] = {}
    without: tuple[str, ...] = ()
    if not java:
        files["modules/java-tests/module.py"] = "# Left out by osv-harness: Java tests can't be built here.\n"
        without = ("modules/java-tests",)
    if variables := configuration(cell):
        edits["conf/base.mk"] = lambda text: _assign(text, variables)
    edits["modules/libnfs/Makefile"] = _old_libnfs
    edits["modules/libnfs/usr.manifest"] = lambda text: text.replace(LIBNFS_BUILT, LIBNFS_NEEDED)
    edits["modules/nfs-tests/Makefile"] = lambda text: text.replace("module: unfsd.bin ", "module: ")
    if is_cross(cell):
        edits["scripts/generate_version_script.sh"] = lambda text: text.replace("$(uname -m)", cell.arch, 1)
    if "app_symbols" in cell.options:
        edits["scripts/generate_app_version_script.sh"] = _strip_then_sort
    patched = ("modules/open_zfs",) if "openzfs" in cell.options else ()
    return Adaptation(edits, files, without, patched)


def _strip_then_sort(text: str) -> str:
    strip, sort = 'tr -d " "', "LC_COLLATE=C sort | uniq"
    return text.replace(f"{sort} | {strip}", f"{strip} | {sort}")


def _old_libnfs(text: str) -> str:
    text = text.replace("--depth 1", "--depth 1 --branch libnfs-4.0.0").replace(LIBNFS_BUILT, LIBNFS_NEEDED)
    return text.replace(f"/{LIBNFS_NEEDED}:", f"/{LIBNFS_NEEDED}: | upstream/libnfs/.git")


def _assign(text: str, variables: Mapping[str, str]) -> str:
    for name, value in variables.items():
        text = re.sub(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
    return text
