"""Writes a guest's files as an initramfs, a squashfs or an ext4, ext3 or ext2 image.

None needs root on the host, and in the guest root owns all files. The same files give the same bytes: there is one
fixed time, the order is by name, identifiers are constant.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from harness.core.errors import BuildError, HostError
from harness.host.process.die_with_parent import run_with_parent

# The day of bookworm's release: programs in the guest meet plausible file times.
TIME = 1686355200
UUID = "05e1f1e0-0000-4000-8000-000000000001"


@dataclass(frozen=True, slots=True)
class File:
    """A regular file; `content` is its bytes or a host file that has them."""

    content: bytes | Path
    mode: int = 0o644

    def read(self) -> bytes:
        """The bytes."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory; folders that are only parents need no entry."""

    mode: int = 0o755


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str


Node = File | Folder | Link
Files = Mapping[str, Node]  # absolute guest path to what is there


def complete(files: Files) -> dict[str, Node]:
    """The files with all their parent folders, in the order of their names, parents first."""
    found: dict[str, Node] = {}
    for path in files:
        for parent in PurePosixPath(path).parents:
            found.setdefault(str(parent), Folder())
    found.update(files)
    found["/"] = files.get("/", Folder())
    return dict(sorted(found.items(), key=lambda item: PurePosixPath(item[0]).parts))


def digest(files: Files) -> str:
    """The hex SHA-256 of names, modes, targets and contents."""
    total = hashlib.sha256()
    for path, node in complete(files).items():
        if isinstance(node, File):
            words = f"file {node.mode:o} {hashlib.sha256(node.read()).hexdigest()}"
        elif isinstance(node, Folder):
            words = f"folder {node.mode:o}"
        else:
            words = f"link {node.target}"
        total.update(f"{path}\0{words}\n".encode())
    return total.hexdigest()


def size(files: Files) -> int:
    """The total size of all contents in bytes."""
    total = 0
    for node in files.values():
        if isinstance(node, File):
            total += len(node.content) if isinstance(node.content, bytes) else node.content.stat().st_size
    return total


def write_initramfs(files: Files, out: Path) -> None:
    """Write a cpio archive in the kernel's `newc` format, uncompressed: under TCG unpacking costs a guest more
    than the hypervisor's copy of the larger file."""
    with out.open("wb") as archive:
        for number, (path, node) in enumerate(complete(files).items(), start=1):
            if path == "/":
                continue
            if isinstance(node, File):
                mode, content = stat.S_IFREG | node.mode, node.read()
            elif isinstance(node, Folder):
                mode, content = stat.S_IFDIR | node.mode, b""
            else:
                mode, content = stat.S_IFLNK | 0o777, node.target.encode()
            _cpio_member(archive, number, path.lstrip("/"), mode, content)
        _cpio_member(archive, 0, "TRAILER!!!", 0, b"")
        archive.write(b"\0" * (-archive.tell() % 512))


def write_squashfs(files: Files, out: Path) -> None:
    """Write a squashfs image, uncompressed for the same reason. Raises `HostError`, `BuildError`."""
    with tempfile.TemporaryDirectory(dir=out.parent) as work:
        staged = Path(work) / "root"
        _stage(files, staged)
        options = "-noappend -no-progress -no-xattrs -all-root -noI -noD -noF -noX -processors 1"
        times = ["-mkfs-time", str(TIME), "-all-time", str(TIME)]
        _run(["mksquashfs", str(staged), str(out), *options.split(), *times], "squashfs-tools")


def write_ext4(files: Files, out: Path, free: int, kind: str = "ext4") -> None:
    """Write a sparse ext4 image (or `ext3`, `ext2`) with about `free` bytes left for the guest. Raises
    `HostError`, `BuildError`."""
    with tempfile.TemporaryDirectory(dir=out.parent) as work:
        staged = Path(work) / "root"
        _stage(files, staged)
        blocks = (size(files) * 11 // 10 + free) // 4096 + 4096
        identity = f"hash_seed={UUID},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,nodiscard"
        command = ["mke2fs", "-q", "-t", kind, "-b", "4096", "-I", "256", "-m", "0", "-U", UUID, "-E", identity]
        _run([*command, "-d", str(staged), str(out), str(blocks)], "e2fsprogs")
        # The image has the builder's own user and the moment of staging; inside the guest all is root's.
        script = Path(work) / "owners"
        script.write_text("".join(_owned_by_root(path) for path in complete(files)))
        _run(["debugfs", "-w", "-f", str(script), str(out)], "e2fsprogs")


def _owned_by_root(path: str) -> str:
    fields = {"uid": "0", "gid": "0", "ctime": f"@{TIME}", "atime": f"@{TIME}", "crtime": f"@{TIME}"}
    return "".join(f'sif "{path}" {field} {value}\n' for field, value in fields.items())


def _cpio_member(archive: BinaryIO, number: int, name: str, mode: int, content: bytes) -> None:
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (number, mode, 0, 0, links, TIME, len(content), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    archive.write(header + b"\0" * (-len(header) % 4))
    archive.write(content + b"\0" * (-len(content) % 4))


def _stage(files: Files, root: Path) -> None:
    """Write the files into a host folder, with their modes and the fixed time."""
    nodes = complete(files)
    for path, node in nodes.items():
        at = root / path.lstrip("/")
        if isinstance(node, Folder):
            at.mkdir()
        elif isinstance(node, Link):
            at.symlink_to(node.target)
        else:
            if isinstance(node.content, bytes):
                at.write_bytes(node.content)
            else:
                shutil.copyfile(node.content, at)
            at.chmod(node.mode)
    # Children before parents: making a child changes its folder's time, and a folder may be read-only.
    for path, node in reversed(nodes.items()):
        at = root / path.lstrip("/")
        os.utime(at, (TIME, TIME), follow_symlinks=False)
        if isinstance(node, Folder):
            at.chmod(node.mode)


def _run(command: Sequence[str], package: str) -> None:
    environment = {**os.environ, "E2FSPROGS_FAKE_TIME": str(TIME), "LC_ALL": "C"}
    # mksquashfs refuses a second time setting.
    environment.pop("SOURCE_DATE_EPOCH", None)
    # A user's PATH lacks the folder of mke2fs on Debian.
    environment["PATH"] = f"{environment.get('PATH', '')}:/usr/sbin:/sbin"
    program = shutil.which(command[0], path=environment["PATH"])
    if program is None:
        raise HostError(f"{command[0]} is missing, which writes the image.", f"Install {package}.")
    done = run_with_parent([program, *command[1:]], environment)
    # debugfs ends well whatever became of its commands; it speaks only of those that failed.
    words = done.stderr.partition("\n")[2] if command[0] == "debugfs" else ""
    if done.returncode != 0 or words:
        output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise BuildError(f"{command[0]} ended with status {done.returncode}:\n{output}", "See its output above.")
