"""Translates addresses in a guest to functions, files and lines: of its kernel and of the ELF files that it has
loaded.

The host's files tell them: the kernel's unstripped ELF, and for a program the file that its image's manifest
names. A host file is used only if its build ID is that of what the guest has loaded.
"""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

from harness.core.text import printable

PROGRAMS = "programs"
"""The folder beside an image's manifest with the unstripped files that it names by a relative path."""

BUILD_TREE = re.compile(r"^/.*/trees/[^/]+/src/")
LIBRARY = re.compile(r"/usr/([^/]+-linux-gnu/)?(include|lib)/")
"""Where a compiler's own headers and those of Debian's packages are."""
TOOL = "addr2line"
TOOL_SECONDS = 60
UNKNOWN = "??"


@dataclass(frozen=True, slots=True)
class LoadedObject:
    """An ELF file that the guest has loaded: its path there, its load address, the address after its last byte,
    and the build ID in its memory (empty if it could not be read)."""

    path: str
    base: int
    end: int
    build_id: str = ""


_ARGUMENTS = re.compile(r"<[^<>()]*>|\([^<>()]*\)")
_ENDS = re.compile(r"(?: const| volatile| \[clone [^]]*\])+$")
_SYMBOLS = re.compile(r"\boperator(?:\(\)|->\*?|<=>|[<>]{1,2}=?)")
_HIDDEN = str.maketrans("<>()", "\x01\x02\x03\x04")
_SHOWN = str.maketrans("\x01\x02\x03\x04", "<>()")


@dataclass(frozen=True, slots=True)
class Place:
    """An address in a guest: its function, its file and line (either may be `??`), and the loaded file that holds
    it with the offset there (empty for the kernel)."""

    address: int
    function: str
    source: str
    object: str = ""
    offset: int = 0

    def __str__(self) -> str:
        return self._named(self.function)

    @property
    def short(self) -> str:
        """The same, the function without its return type and the arguments of it and of its templates."""
        return self._named(bare_name(self.function))

    def _named(self, function: str) -> str:
        where = self.source if self.source[:1] != "?" else f"{self.object or 'kernel'}+{self.offset:#x}"
        return f"{function} ({where})" if function != UNKNOWN else where


def bare_name(function: str) -> str:
    """A demangled C++ function's name alone: `void a::b<int>::f<char>(char*) const` is `a::b::f`."""
    name = _SYMBOLS.sub(lambda found: found[0].translate(_HIDDEN), function.replace("(anonymous ", "{anonymous "))
    name = name.replace("{anonymous namespace)", "{anonymous}")
    while (inner := _ARGUMENTS.sub("", name)) != name:
        name = inner
    words = _ENDS.sub("", name).split()
    kept = words[-2:] if len(words) > 1 and words[-2].endswith("operator") else words[-1:]
    return " ".join(kept).translate(_SHOWN) or function


class SourceLines:
    """What is known of one image's code. `objects` are what its guest has loaded."""

    def __init__(self, symbols: Path | None, manifest: Path | None, objects: Sequence[LoadedObject] = ()) -> None:
        self._symbols = symbols
        self._manifest = manifest
        self._objects = objects

    def at(self, addresses: Iterable[int]) -> list[Place]:
        """The place of each address, in the given order."""
        wanted = list(addresses)
        inside = {address: self._object(address) for address in wanted}
        found: dict[int, Place] = {}
        for loaded in {entry.path: entry for entry in inside.values() if entry}.values():
            own = [address for address in wanted if inside[address] is loaded]
            file = self.host_file(loaded)
            base = 0 if file and _at_fixed_address(file) else loaded.base
            offsets = [address - base for address in own]
            rows = _ask(file, offsets) if file else [(UNKNOWN, UNKNOWN)] * len(own)
            for address, offset, (function, source) in zip(own, offsets, rows, strict=True):
                found[address] = Place(address, function, source, loaded.path, offset)
        kernels = [address for address in wanted if address not in found]
        rows = _ask(self._symbols, kernels) if self._symbols else [(UNKNOWN, UNKNOWN)] * len(kernels)
        for address, (function, source) in zip(kernels, rows, strict=True):
            found[address] = Place(address, function, source, "", address)
        return [found[address] for address in wanted]

    def read(self, address: int, length: int) -> bytes:
        """Up to `length` bytes at the address, as they are in the loaded file; empty for other addresses."""
        loaded = self._object(address)
        file = self.host_file(loaded) if loaded else None
        if loaded is None or file is None:
            return b""
        offset = address - (0 if _at_fixed_address(file) else loaded.base)
        with file.open("rb") as stream:
            for segment in ELFFile(stream).iter_segments("PT_LOAD"):
                inside = offset - segment["p_vaddr"]
                if 0 <= inside < segment["p_filesz"]:
                    stream.seek(segment["p_offset"] + inside)
                    return stream.read(min(length, segment["p_filesz"] - inside))
        return b""

    def host_file(self, one: LoadedObject) -> Path | None:
        """The host's file with the debug information of what the guest loaded; None if there is none."""
        for path in self._candidates(one.path):
            if path.is_file() and _same_build(path, one):
                return path
        return None

    def _object(self, address: int) -> LoadedObject | None:
        return next((one for one in self._objects if one.base <= address < one.end), None)

    def _candidates(self, guest_path: str) -> list[Path]:
        """Host files for a guest path: by the path, or by the name if the kernel gives another path."""
        if self._manifest is None:
            return []
        normal = os.path.normpath(guest_path)
        alike = (path for path in self._files if path.endswith(f"/{PurePosixPath(normal).name}"))
        kept = self._manifest.parent / PROGRAMS
        hosts = [self._files[name] for name in dict.fromkeys([normal, *alike]) if name in self._files]
        return [Path(host) if host.startswith("/") else kept / os.path.normpath(host) for host in hosts]

    @cached_property
    def _files(self) -> dict[str, str]:
        return files_of(self._manifest.read_text()) if self._manifest else {}


def files_of(manifest: str) -> dict[str, str]:
    """Map guest paths to host paths, for the lines of an OSv manifest that name one file each; the last line of a
    path counts."""
    found = {}
    for line in manifest.splitlines():
        guest, colon, host = line.partition(":")
        guest, host = guest.strip(), host.strip()
        if colon and guest.startswith("/") and not host.startswith("->") and "*" not in host and "&" not in host:
            found[guest] = host
    return found


def build_id_of(file: Path) -> str:
    """The build ID that the linker put into an ELF file, in hexadecimal; empty if there is none."""
    with file.open("rb") as stream:
        for section in ELFFile(stream).iter_sections():
            if isinstance(section, NoteSection):
                for note in section.iter_notes():
                    if note["n_type"] == "NT_GNU_BUILD_ID":
                        return str(note["n_desc"])
    return ""


def _same_build(file: Path, loaded: LoadedObject) -> bool:
    try:
        mark = build_id_of(file)
    except (ELFError, OSError, ValueError):
        return False
    return not loaded.build_id or mark == loaded.build_id


def _at_fixed_address(file: Path) -> bool:
    with file.open("rb") as stream:
        return bool(ELFFile(stream)["e_type"] == "ET_EXEC")


def _tool(file: Path) -> str | None:
    """The addr2line for the file's arch: Debian's reads only its own."""
    with file.open("rb") as stream:
        arch = {"x64": "x86_64", "AArch64": "aarch64"}.get(ELFFile(stream).get_machine_arch(), "")
    named = TOOL if arch == platform.machine() else f"{arch}-linux-gnu-{TOOL}"
    return shutil.which(named) or shutil.which(TOOL)


def _ask(file: Path, offsets: Sequence[int]) -> list[tuple[str, str]]:
    """Function and `file:line` of each offset. Of functions that were inlined there, it is the innermost that is
    no library's: what reads a null pointer is told by its caller, not by `std::unique_ptr`."""
    unknown = [(UNKNOWN, UNKNOWN)] * len(offsets)
    if not offsets or (program := _tool(file)) is None:
        return unknown
    command = [program, "-a", "-i", "-f", "-C", "-e", str(file), *(f"{max(offset, 0):x}" for offset in offsets)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TOOL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return unknown
    chains: list[list[str]] = []
    for row in done.stdout.splitlines():
        if row.startswith(b"0x"):
            chains.append([])
        elif chains:
            chains[-1].append(printable(row))
    if len(chains) != len(offsets) or any(len(chain) < 2 for chain in chains):
        return unknown
    return [_innermost(list(zip(chain[::2], chain[1::2], strict=False))) for chain in chains]


def _innermost(chain: Sequence[tuple[str, str]]) -> tuple[str, str]:
    own = (pair for pair in chain if not LIBRARY.match(pair[1]))
    function, source = next(own, chain[0])
    return function, _short(source)


def _short(source: str) -> str:
    """A file's name in its checkout, without the build tree's folder."""
    path, colon, line = source.partition(" (discriminator")[0].rpartition(":")
    known = bool(path) and path[0] != "?"
    return f"{BUILD_TREE.sub('', os.path.normpath(path))}{colon}{line}" if known else source
