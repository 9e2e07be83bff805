"""Finds the files that a program needs to start: itself, its interpreter, its libraries and theirs.

They are read from ELF headers, so that it works on an unpacked package tree of any architecture.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from posixpath import normpath

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment, DynamicTag
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from harness.core.errors import BuildError
from harness.kernels.rootfs.filesystems import File, Folder, Link, Node

TRIPLETS = {"EM_X86_64": "x86_64-linux-gnu", "EM_AARCH64": "aarch64-linux-gnu"}


@dataclass(frozen=True, slots=True)
class Elf:
    """What the dynamic linker reads of an ELF file. `search` holds its RUNPATH or RPATH folders, with `$ORIGIN`
    kept."""

    machine: str
    interpreter: str | None
    needed: tuple[str, ...]
    search: tuple[str, ...]


def elf_dependencies(
    tree: Path,
    programs: Iterable[str],
    extra: Iterable[str] = (),
    provided: Container[str] = (),
    made: Mapping[str, Path] | None = None,
) -> dict[str, Path]:
    """Map guest paths to host files, for `programs` and everything that they load. Raises `BuildError` for a file
    that the tree lacks.

    `tree` holds unpacked packages. `programs` are absolute guest paths. `extra` are modules that are loaded with
    dlopen and so are in no header: guest paths, possibly patterns, or library names; a needed library of such a
    name is taken to be that module. Libraries and interpreters whose name is in `provided` are left out, with what
    only they need. Files in `made` (guest path to host file) are taken from there.
    """
    root, ours = tree.resolve(), made or {}

    def found(path: str, wanted_by: str) -> Path:
        return ours[path] if path in ours else locate(tree, path, wanted_by)

    files: dict[str, Path] = {}
    waiting = [(program, "the list of programs") for program in programs]
    first = waiting[0][0] if waiting else ""
    machine = read_elf(found(first, "the list of programs")).machine if waiting else ""
    for module in extra:
        waiting += [(path, "the extra modules") for path in _modules(root, module, machine, first)]
    given = {PurePosixPath(path).name for path, _ in waiting}
    while waiting:
        path, wanted_by = waiting.pop()
        if path in files or PurePosixPath(path).name in provided:
            continue
        files[path] = found(path, wanted_by)
        elf = read_elf(files[path])
        if elf.interpreter:
            waiting.append((elf.interpreter, path))
        at = PurePosixPath(path) if path in ours else PurePosixPath("/") / files[path].relative_to(root)
        origin = str(at.parent)
        search = tuple(
            normpath(folder.replace("$ORIGIN", origin).replace("${ORIGIN}", origin)) for folder in elf.search
        )
        for name in elf.needed:
            if name not in provided and name not in given:
                waiting.append((_library(tree, name, elf.machine, search, path), path))
    return dict(sorted(files.items()))


def files_under(tree: Path, path: str) -> dict[str, Node]:
    """A file, or a folder with all that is in it, as in the packages. Raises `BuildError` if there is none."""
    top = tree.resolve() / path.lstrip("/")
    if not top.is_symlink() and not top.exists():
        raise BuildError(f"{path} is in none of the packages.", "Add the package that has it.")
    files: dict[str, Node] = {}
    for found in (top, *sorted(top.rglob("*"))):
        guest_path = f"/{found.relative_to(tree.resolve())}"
        if found.is_symlink():
            files[guest_path] = Link(str(found.readlink()))
        elif found.is_dir():
            files[guest_path] = Folder()
        else:
            files[guest_path] = File(found, found.stat().st_mode & 0o777)
    return files


def read_elf(path: Path) -> Elf:
    """Read what the dynamic linker needs of a file. Raises `BuildError` if it is no ELF file."""
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            segments = list(elf.iter_segments())
            interpreter = next((s.get_interp_name() for s in segments if isinstance(s, InterpSegment)), None)
            tags = [tag for s in segments if isinstance(s, DynamicSegment) for tag in s.iter_tags()]
            run, old = _texts(tags, "DT_RUNPATH", "runpath"), _texts(tags, "DT_RPATH", "rpath")
            search = tuple(folder for value in (run or old) for folder in value.split(":") if folder)
            return Elf(elf["e_machine"], interpreter, _texts(tags, "DT_NEEDED", "needed"), search)
    except ELFError as error:
        raise BuildError(f"{path} is no ELF file: {error}.", "Name programs, not scripts.") from error


def locate(tree: Path, path: str, wanted_by: str) -> Path:
    """The host file of a guest path; symbolic links are followed inside the tree. Raises `BuildError` with
    `wanted_by` if there is none."""
    root = tree.resolve()
    found = resolve(root, path)
    if not found.is_file():
        raise BuildError(
            f"{path}, wanted by {wanted_by}, is in none of the packages.", "Add the package that has it."
        )
    return found


def resolve(root: Path, path: str) -> Path:
    """The host path of a guest path; absolute links lead to `root`, not to the host's files."""
    at = root
    waiting = list(reversed(PurePosixPath(path).parts))
    links = 0
    while waiting:
        part = waiting.pop()
        if part == "/":
            at = root
        elif part == "..":
            at = at.parent if at != root else root
        elif (at / part).is_symlink() and links < 40:
            links += 1
            waiting.extend(reversed((at / part).readlink().parts))
        else:
            at = at / part
    return at


def _modules(root: Path, module: str, machine: str, wanted_by: str) -> list[str]:
    """The guest paths that match a module's name or pattern."""
    if "/" not in module:
        return [_library(root, module, machine, (), wanted_by)]
    if not set("*?[") & set(module):
        return [module]
    matching = [f"/{path.relative_to(root)}" for path in sorted(root.glob(module.lstrip("/")))]
    if not matching:
        raise BuildError(f"{module} matches nothing in the packages.", "Add the package that has it.")
    return matching


def _texts(tags: list[DynamicTag], kind: str, attribute: str) -> tuple[str, ...]:
    return tuple(getattr(tag, attribute) for tag in tags if tag.entry.d_tag == kind)


def _library(tree: Path, name: str, machine: str, search: tuple[str, ...], wanted_by: str) -> str:
    """The guest path of a library, searched for in ld.so's order."""
    if "/" in name:
        return name
    for folder in (*search, *_default_folders(machine)):
        path = f"{folder}/{name}"
        found = resolve(tree.resolve(), path)
        if found.is_file() and read_elf(found).machine == machine:
            return path
    raise BuildError(
        f"The library {name}, wanted by {wanted_by}, is in none of the packages.", "Add the package that has it."
    )


def _default_folders(machine: str) -> Iterator[str]:
    triplet = TRIPLETS.get(machine)
    if triplet:
        yield f"/lib/{triplet}"
        yield f"/usr/lib/{triplet}"
    yield from ("/lib", "/usr/lib", "/lib64", "/usr/lib64")
