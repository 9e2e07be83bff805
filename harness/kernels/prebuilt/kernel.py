"""Boots kernels that are already built, a release's files or another machine's, as they are."""

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from harness.core import facts
from harness.core.cell import Cell
from harness.core.errors import BuildError, CellError, HarnessError
from harness.core.machine import Disk, Image
from harness.core.text import printable
from harness.host.cache import Cache, digest_of
from harness.kernels.base import Origin
from harness.kernels.compilers import compilers
from harness.kernels.linux import kernel as linux
from harness.kernels.osv.checkout import LINEAGE
from harness.kernels.prebuilt.boot_file import BootFile, boot_file, check_readable
from harness.kernels.rootfs.contents import Contents

CMDLINE, MANIFESTS, SYMBOLS, INITRD, ORIGIN = (
    "cmdline", ("usr.manifest", "manifest"), "loader.elf", "initrd", "origin.json",
)  # fmt: skip
"""Names of files beside the kernel; the first four are those of OSv's build and our own cache."""

ALREADY_BUILT = "already built"
"""The fact `files` of such an image: others made what is beside it, so nothing of that is run here."""

BUILDERS = ("osv-build", "osv-compiler-x86_64", "osv-compiler-aarch64")
"""What a host does not need for a kernel that others have built, by its names in `matrix.toml`."""

LONGEST_TEXT, LONGEST_LINE = 100, 4096
COMMIT, PARENTS = re.compile(r"[0-9a-f]{40}"), re.compile(r"([0-9a-f]{40}( |$))*")
WANTED = {"ramfs": "", "virtiofs": "a folder"}
"""What holds the root of a filesystem that is not on a disk."""

QCOW2 = b"QFI\xfb"  # Source: QEMU, docs/interop/qcow2.txt
ON_SYMBOLS = "symbols: verdicts rest on the kernel itself, watched at the places that its symbols name"
ON_INIT = "verdicts rest on its init, which tells statuses over a line of its own"
ON_CONSOLE = "no symbols: verdicts rest on what the console prints, which a program can print too"


@dataclass(frozen=True, slots=True)
class Files:
    """The files that a user names. `cmdline` and `manifest` are looked for beside the kernel if not named."""

    kernel: Path
    disk: Path | None = None
    cmdline: str | None = None
    manifest: Path | None = None


class Prebuilt:
    """Makes images of files that others have built; changes and copies nothing of them."""

    def __init__(self, name: str, files: Files) -> None:
        self.name = name
        self._files = files

    def build(self, cell: Cell, cache: Cache) -> Image:
        """The files as the cell's image. Raises `HarnessError` if a file is missing or unreadable, `CellError` if
        the cell's arch or filesystem is not that of the files."""
        kernel = boot_file(self._files.kernel)
        kernel.check_boots(cell)
        root = self._root(cell)
        disk, share = (None, root) if cell.fs == "virtiofs" else (root, None)
        options, own = self._command_line(cell)
        symbols, about = self._symbols(kernel)
        initrd = self._beside(INITRD) if self.name == "linux" else None
        digests = [_digest(path) for path in (kernel.path, disk, initrd) if path]
        origin = self._origin(digests[0])
        image = Image(
            cell,
            kernel=kernel.path,
            cmdline=options,
            digest=digest_of({"files": digests, "command line": options}),
            disks=(Disk(disk, _format(disk)),) if disk else (),
            initrd=initrd,
            reads_acpi=self.name == "linux",
            symbols=symbols,
            manifest=self._manifest(),
            share=share,
            facts={
                "commit": origin.described,
                "origin commit": origin.commit,
                "origin committed": str(origin.committed),
                "origin builder": origin.builder or facts.format_facts({"compiler": compilers(symbols)}),
                "files": ALREADY_BUILT,
                "verdicts": about,
            },
        )
        return replace(image, facts={**image.facts, "own command": own}) if own else image

    def build_with(self, cell: Cell, cache: Cache, contents: Contents) -> Image:
        """Raises `BuildError`: a built image is not changed."""
        raise self._refusal()

    def prepare(self, cell: Cell, cache: Cache) -> None:
        """Raises `BuildError`: apps are other programs."""
        raise self._refusal()

    def origin(self, image: Image) -> Origin:
        """The content of `origin.json` beside the kernel, or else the digest."""
        told = image.facts
        committed = float(told["origin committed"])
        lineage = self._origin("").lineage
        return Origin(told["origin commit"], told["commit"], committed, told["origin builder"], lineage)

    def describe(self) -> str:
        """Which files they are, and what verdicts rest on."""
        kernel = boot_file(self._files.kernel)
        about = self._symbols(kernel)[1]
        return f"{self.name}: {kernel.path}, already built: {kernel.kind} for {kernel.arch}; {about}"

    def _refusal(self) -> BuildError:
        return BuildError(
            f"{self._files.kernel} is already built, and can't be given other programs than those of its image.",
            "Name a checkout (OSV_ROOT), or measure one of its own tests: perf --only misc-ctxsw.so",
        )

    def _beside(self, *names: str) -> Path | None:
        """The first of the names that exists beside the kernel or the disk."""
        given = (self._files.kernel, self._files.disk)
        places = [path.parent / name for path in given if path for name in names]
        return next((path for path in places if path.is_file()), None)

    def _symbols(self, kernel: BootFile) -> tuple[Path | None, str]:
        """An ELF file with the kernel's symbols, and the note on what verdicts rest on.

        A `loader.elf` beside a stripped kernel is used only if it holds the same code: with another build's
        addresses the wrong functions would be watched.
        """
        if self.name == "linux":
            return None, ON_INIT
        if kernel.has_symbols:
            return kernel.path, ON_SYMBOLS
        beside = kernel.path.with_name(SYMBOLS)
        if beside == kernel.path or not beside.is_file():
            return None, ON_CONSOLE
        if not _same_code(beside, kernel.path):
            return None, f"{ON_CONSOLE}; the {SYMBOLS} beside it is of another build"
        return beside, ON_SYMBOLS

    def _root(self, cell: Cell) -> Path | None:
        """The disk, or the folder shared with a virtio-fs guest; None if the root is in the kernel."""
        root, wanted = self._files.disk, WANTED.get(cell.fs, "a disk")
        if root is None and wanted:
            raise CellError(
                f"{cell} has its root on {wanted}, and none is named.",
                "Give --image-file, or name a cell whose root is in the kernel: qemu-ramfs.",
            )
        if root and not wanted:
            raise CellError(
                f"{cell} has no disk, and {root} is one.", "Name the cell of its filesystem: qemu-rofs."
            )
        if root and not (cell.fs == "virtiofs" and root.is_dir()):
            check_readable(root)
        return root

    def _command_line(self, cell: Cell) -> tuple[str, str]:
        """The kernel's options, and the command that follows them, if any."""
        found = self._beside(CMDLINE)
        given = self._files.cmdline
        if given is None and found:
            given = printable(found.read_bytes()[:LONGEST_LINE].strip())
        if self.name == "linux":
            return (linux.command_line(cell) if given is None else given), ""
        if given is None:
            return f"--rootfs={cell.fs}", ""
        words = given.split()
        count = next((at for at, word in enumerate(words) if not word.startswith("--")), len(words))
        for word in words[:count]:
            name, _, root = word.partition("=")
            if name == "--rootfs" and root != cell.fs:
                raise CellError(
                    f"The command line boots from {root}, and {cell} from {cell.fs}.",
                    f"Name the cell of that filesystem, or another command line: --cmdline=--rootfs={cell.fs}",
                )
        return " ".join(words[:count]), " ".join(words[count:])

    def _manifest(self) -> Path | None:
        if self._files.manifest:
            check_readable(self._files.manifest)
            return self._files.manifest
        return self._beside(*MANIFESTS)

    def _origin(self, digest: str) -> Origin:
        path = self._beside(ORIGIN)
        if path is None:
            return Origin(digest, f"{self._files.kernel.name} {digest[:12]}")
        try:
            told = json.loads(path.read_text())
            commit, described = (printable(str(told[name]))[:LONGEST_TEXT] for name in ("commit", "described"))
            builder = printable(str(told.get("builder", "")))[: facts.LONGEST]
            return Origin(commit, described, float(told.get("committed", 0.0)), builder, _lineage(told))
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise HarnessError(
                f"{path} can't be read as the origin of a kernel: {error}.",
                'Correct it, as {"commit": "…", "described": "v1.2"}, or remove it.',
            ) from error


def _lineage(told: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The commits and their parents that the file names. Raises `ValueError` if they are no commits."""
    rows = tuple((str(commit), str(parents)) for commit, parents in told.get("lineage", ()))
    if not all(COMMIT.fullmatch(commit) and PARENTS.fullmatch(parents) for commit, parents in rows):
        raise ValueError("its lineage is not of commits")
    return rows[:LINEAGE]


def tests_or_why_not(image: Image) -> None:
    """Raise `HarnessError` if nothing lists the image's tests and its kernel has no others."""
    if image.cell.kernel == "osv" and image.manifest is None:
        raise HarnessError(
            f"Nothing says which tests are in the image of {image.kernel}: there is no {MANIFESTS[0]} beside it.",
            "Put the build's usr.manifest there, or name it with --manifest FILE.",
        )


def _same_code(elf: Path, kernel: Path) -> bool:
    """Whether the kernel file holds the ELF file's code, byte for byte."""
    stamps = [(path.stat().st_mtime_ns, path.stat().st_size) for path in (elf, kernel)]
    return _has_code_of(elf, kernel, tuple(stamps))


@functools.cache
def _has_code_of(elf: Path, kernel: Path, stamps: tuple[tuple[int, int], ...]) -> bool:
    try:
        with elf.open("rb") as file:
            section = ELFFile(file).get_section_by_name(".text")
            code = section.data() if section else b""
    except ELFError:
        return False
    return bool(code) and code in kernel.read_bytes()


def options_of(files: Files) -> list[str]:
    """The files as words of a command."""
    named = {
        "kernel-file": files.kernel,
        "image-file": files.disk,
        "manifest": files.manifest,
    }
    words = [word for name, path in named.items() if path for word in (f"--{name}", str(path.absolute()))]
    return words if files.cmdline is None else [*words, f"--cmdline={files.cmdline}"]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _format(disk: Path) -> str:
    with disk.open("rb") as file:
        return "qcow2" if file.read(len(QCOW2)) == QCOW2 else "raw"


def files_of(
    kernel: Path | None, disk: Path | None, cmdline: str | None, manifest: Path | None
) -> Files | None:
    """The files that were named, if any. Raises `HarnessError` for a disk or other file without a kernel."""
    if kernel is None:
        if disk or cmdline is not None or manifest:
            raise HarnessError(
                "--image-file, --cmdline and --manifest belong to a kernel that is already built.",
                "Give --kernel-file.",
            )
        return None
    return Files(kernel.absolute(), disk and disk.absolute(), cmdline, manifest and manifest.absolute())
