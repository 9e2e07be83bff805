"""Finds the kernel modules that a guest needs to reach its root, in the order in which they can be loaded.

Packages bring no `modules.dep` (a script makes it on the installed system), so the dependencies are read from the
modules themselves.
"""

from collections.abc import Iterable
from pathlib import Path

from elftools.elf.elffile import ELFFile

from harness.core.errors import BuildError
from harness.kernels.rootfs.filesystems import File


def boot_modules(modules: Path, wanted: Iterable[str]) -> dict[str, File]:
    """`/boot-modules/<name>.ko` for every wanted module and its dependencies, and a list `/boot-modules/<name>`
    for each.

    `modules` is `/lib/modules/<release>` of an unpacked package. A list names, one per line, the modules to load
    in order, the module itself last; it is empty for what is built into the kernel. All names are the kernel's,
    with _. Raises `BuildError` for an unknown name.
    """
    found = {_plain(path.stem): path for path in (modules / "kernel").rglob("*.ko")}
    builtin = {_plain(Path(line).stem) for line in (modules / "modules.builtin").read_text().splitlines()}
    files: dict[str, File] = {}
    for name in wanted:
        order = _order(name, found, builtin)
        files[f"/boot-modules/{_plain(name)}"] = File("".join(f"{one}\n" for one in order).encode())
        for one in order:
            files[f"/boot-modules/{one}.ko"] = File(found[one])
    return files


def depends(module: Path) -> list[str]:
    """The names of the modules that a module says it needs."""
    with module.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".modinfo")
        information = section.data() if section else b""
    rows = dict(row.split(b"=", 1) for row in information.split(b"\0") if b"=" in row)
    return [name for name in rows.get(b"depends", b"").decode().split(",") if name]


def _order(name: str, found: dict[str, Path], builtin: set[str]) -> list[str]:
    """The plain names of what the module needs and then its own, each once."""
    name = _plain(name)
    if name in builtin:
        return []
    if name not in found:
        raise BuildError(f"The kernel has no module {name}.", "Choose another kernel package.")
    below = [one for needed in depends(found[name]) for one in _order(needed, found, builtin)]
    return list(dict.fromkeys([*below, name]))


def _plain(name: str) -> str:
    """The kernel's own name of a module, with _: files use - or _."""
    return name.replace("-", "_")
