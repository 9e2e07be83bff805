"""What an image holds besides the kernel, said in Debian's packages, and the files that this comes to."""

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
"""What glibc looks users, groups and hosts up in, by path."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Programs, their data and our own files, for any kernel.

    `programs` are guest paths of ELF files in `packages` or in `made`; they come with their libraries. `modules`
    are libraries that they load with dlopen: guest paths, which may be patterns, or names. `copied` are guest
    paths of files or folders of the packages that come as they are, without the libraries that they need. `texts`
    maps guest paths to what is written there, `links` to what they lead to, and `made` to files of the host, which
    the cache keeps. `folders` are empty.
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
        """What of it decides the bytes of an image, for a key: of a host's file its SHA-256, not where it lies."""
        made = {path: hashlib.sha256(file.read_bytes()).hexdigest() for path, file in self.made.items()}
        return {**asdict(self), "made": made}


def compose(contents: Contents, tree: Path, provided: Container[str] = ()) -> dict[str, Node]:
    """Guest path to file, for packages unpacked in `tree`. Libraries that are `provided` by the kernel stay out.

    Raises `BuildError` for a file that the packages lack.
    """
    files: dict[str, Node] = {path: Folder() for path in contents.folders}
    for path in contents.copied:
        files |= files_under(tree, path)
    found = elf_dependencies(tree, contents.programs, contents.modules, provided, contents.made)
    files |= {path: File(source, 0o755) for path, source in found.items()}
    files |= {path: File(source, 0o755) for path, source in contents.made.items()}
    files |= {path: Link(target) for path, target in contents.links.items()}
    return files | {path: File(text.encode()) for path, text in contents.texts.items()}
