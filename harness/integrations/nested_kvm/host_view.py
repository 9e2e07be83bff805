"""What a lab sees of this host: what a run needs, read-only, and nothing else.

Folders are mounted by 9p at their own paths; a few files are copied. A home or `/tmp` is never shown as a whole,
nor anything that the project's version control keeps. The system's folders are this host's, or those of an
unpacked system for the lab's arch.
"""

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.core import project
from harness.core.errors import HarnessError, HostError
from harness.host.requirements import REQUIREMENTS
from harness.integrations.nested_kvm.code import PACKAGE
from harness.kernels.rootfs.contents import SETTINGS
from harness.kernels.rootfs.filesystems import File, Folder, Link, Node

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
ETC = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "os-release", "debian_version", "protocols",
    "services", "mke2fs.conf", "localtime", "magic", "ssl/openssl.cnf", "login.defs", "ganesha", "ethertypes",
    "rpc",
)  # fmt: skip
"""What programs read there: no keys, no passwords, nothing about this host's network."""

KEPT_AT_TOP = (".toml", ".py", ".ini", ".cfg", ".md", "ready")
"""How the names of the project's own files end."""

WIDE = frozenset(
    map(Path, ("/", "/home", "/root", "/tmp", "/var", "/var/tmp", "/etc", "/run", "/opt", "/srv", "/mnt", "/dev"))
)
PROJECT = "/lab/project"
"""The path in the lab of the files of the user's own project."""

LARGEST_COPY = 256 << 20  # bytes of a program outside of the shown folders
EMULATORS = ("qemu-system-x86_64", "qemu-system-aarch64", "qemu-img", "qemu-nbd", "osv-harness", "pytest")


@dataclass(frozen=True, slots=True)
class View:
    """`folders` are mounted read-only, by their paths in the lab. Writes into `writable` ones stay in the lab.
    `copied` are files.

    `cwd` is where the command runs. `covered` is whether a mounted folder contains it, so that a writable one must
    be mounted over it.
    """

    folders: Mapping[Path, Path]
    writable: tuple[Path, ...]
    copied: dict[str, Node] = field(default_factory=dict)
    cwd: Path = Path("/tmp")
    covered: bool = False


def view(
    words: Sequence[str], cwd: Path, cache: Path, checkout: Path | None, code: Path, system: Path | None = None
) -> View:
    """What the command `words`, run in `cwd`, sees. `code` is a copy of this package.

    `system` is the root of a system that replaces this host's. Raises `HarnessError` if the lab would see a home.
    """
    if cwd == Path("/"):
        raise HostError("A lab's command can't run in /.", "Go to a folder of its own, or the project's.")
    copied: dict[str, Node] = {}
    places = dict(_system(system or Path("/"), copied))
    folders = [*_project(code, copied), *([checkout] if checkout else []), *_named(words, cwd)]
    if system is None:
        folders += [*places, *_python()]
    else:  # a word may be the path of a program in the lab
        folders = [folder for folder in folders if not _within(folder, map(Path, SYSTEM))]
    shown = {folder: folder for folder in _outermost(folders)} | places
    copied |= {f"{PROJECT}/{file.relative_to(project.folder())}": File(file) for file in project.own_files()}
    for name, program in _programs() if system is None else ():
        if not _within(program, shown):
            copied[name] = File(program, 0o755)
    covered = _within(cwd, shown)
    return View(shown, (cache,), copied, cwd, covered)


def _system(top: Path, copied: dict[str, Node]) -> Iterator[tuple[Path, Path]]:
    """The system's folders of programs and libraries, with their paths in the lab; its settings are copied."""
    for name in SYSTEM:
        path = top / name.lstrip("/")
        if path.is_symlink():
            copied[name] = Link(str(path.readlink()))
        elif path.is_dir():
            yield Path(name), path
    for name in ETC:
        _copy(top / "etc" / name, f"/etc/{name}", copied)
    copied |= {name: File(text.encode()) for name, text in SETTINGS.items()}


def _copy(path: Path, place: str, copied: dict[str, Node]) -> None:
    if path.is_symlink():
        copied[place] = Link(str(path.readlink()))
    elif path.is_dir():
        copied[place] = Folder()
        for one in path.iterdir():
            _copy(one, f"{place}/{one.name}", copied)
    elif path.is_file() and os.access(path, os.R_OK):
        copied[place] = File(path, path.stat().st_mode & 0o755)


def _python() -> Iterator[Path]:
    """The interpreter with its library, and the virtualenv."""
    yield from {Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix)}
    yield Path(sys.executable).resolve().parent.parent


def _project(code: Path, copied: dict[str, Node]) -> Iterator[Path]:
    """The project's folders, except hidden ones and those that runs made; the package itself is copied."""
    top = PACKAGE.parent
    if top.name in ("site-packages", "dist-packages"):
        return
    for path in sorted(top.iterdir()):
        if path.name.startswith((".", "__")) or path.name == "runs" or path.is_symlink():
            continue
        if path == PACKAGE:
            files = (file for file in code.rglob("*") if file.is_file())
            copied |= {f"{PACKAGE}/{file.relative_to(code)}": File(file) for file in files}
        elif path.is_dir():
            yield path
        elif path.name.endswith(KEPT_AT_TOP):
            copied[str(path)] = File(path, path.stat().st_mode & 0o755)


def _named(words: Sequence[str], cwd: Path) -> Iterator[Path]:
    """The folders outside of the system that the command names, and the folders of files that it names."""
    for word in words:
        for text in (word, word.partition("=")[2], word.partition("::")[0]):
            path = Path(os.path.normpath(cwd / text)) if text and len(text) < 4096 and "\0" not in text else cwd
            if path == cwd or not os.path.lexists(path):
                continue
            folder = path if path.is_dir() else path.parent
            if not _is_wide(folder):
                yield folder
            elif path.is_file():
                raise HarnessError(
                    f"To have {path}, the lab would be shown all of {folder}.",
                    "Put it, and what belongs to it, into a folder of its own.",
                )


def _is_wide(folder: Path) -> bool:
    """Whether the folder holds more than may be shown: a home, or what everybody uses."""
    return folder in WIDE or folder == Path.home() or folder.is_relative_to("/proc")


def _programs() -> Iterator[tuple[str, Path]]:
    """The programs that the harness may run, as found in PATH, and the files that their names lead to."""
    names = {program for need in REQUIREMENTS.values() for program, *_ in need.programs}
    for name in sorted(names.union(EMULATORS)):
        found = shutil.which(name)
        if found and (program := Path(found).resolve()).is_file() and program.stat().st_size <= LARGEST_COPY:
            yield str(Path(found).absolute()), program


def _outermost(folders: Iterable[Path]) -> tuple[Path, ...]:
    """The folders that exist, except those within another."""
    there = sorted({folder.absolute() for folder in folders if folder.is_dir()})
    return tuple(one for one in there if not any(one != other and one.is_relative_to(other) for other in there))


def _within(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)
