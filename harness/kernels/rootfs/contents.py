"""Describes what an image holds besides the kernel, in terms of Debian's packages, and finds the files for it."""

import hashlib
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.kernels.rootfs.elf_dependencies import elf_dependencies, files_under
from harness.kernels.rootfs.filesystems import File, Folder, Link, Node

SETTINGS = {
    "/etc/passwd": "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
    "/etc/group": "root:x:0:\ntty:x:5:\nwww-data:x:33:\nnogroup:x:65534:\n",
    "/etc/hosts": "127.0.0.1 localhost guest\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
"""Files by path in which glibc looks up users, groups and hosts."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Programs, their data and our own files, for any kernel.

    `programs` are guest paths of ELF files in `packages` or in `made`; their libraries are added. `modules` are
    libraries that they load with dlopen: guest paths, possibly patterns, or names. `copied` are guest paths of
    files or folders of the packages that are copied without the libraries that they need. `texts` maps guest paths
    to text, `links` to targets, and `made` to files of the host, which the cache keeps. `folders` are empty.
    """

    packages: tuple[str, ...]
    programs: tuple[str, ...]
    modules: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, Path] = field(default_factory=dict)
    folders: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, object]:
        """What decides the bytes of an image, for a cache key: a host's file counts by its SHA-256, not its
        path."""
        made = {path: hashlib.sha256(file.read_bytes()).hexdigest() for path, file in self.made.items()}
        return {**asdict(self), "made": made}


def compose(contents: Contents, tree: Path, provided: Container[str] = ()) -> dict[str, Node]:
    """Map guest paths to files, for packages unpacked in `tree`. Libraries that the kernel provides (`provided`)
    are left out. Raises `BuildError` for a file that the packages lack."""
    files: dict[str, Node] = {path: Folder() for path in contents.folders}
    for path in contents.copied:
        files |= files_under(tree, path)
    found = elf_dependencies(tree, contents.programs, contents.modules, provided, contents.made)
    files |= {path: File(source, 0o755) for path, source in found.items()}
    files |= {path: File(source, 0o755) for path, source in contents.made.items()}
    files |= {path: Link(target) for path, target in contents.links.items()}
    return files | {path: File(text.encode()) for path, text in contents.texts.items()}
