"""Lists what a guest of OSv has loaded, from its memory: the kernel's own list of ELF objects.

`elf::program::s_objs` is kept for debuggers. In an object, its path, a std::string, precedes a copy of the file's
ELF header; the list of its program headers, its base and its end follow. The first bytes of the header show its
position in the object, whatever else precedes it. Source: OSv's include/osv/elf.hh (class object, class program).
"""

import struct
from typing import Protocol

from harness.core.text import printable
from harness.kernels.source_lines import LoadedObject
from harness.kernels.symbols import Symbols

LIST = "_ZN3elf7program6s_objsE"
MAGIC = b"\x7fELF\x02\x01"
OBJECT_BYTES = 512  # of an object that are searched
PATH_BEFORE = 32  # bytes, a std::string
HEADER, HEADERS_LIST = 64, 24  # bytes: Elf64_Ehdr, std::vector
MOST_OBJECTS, LONGEST_PATH = 256, 4096
HIGHEST = 1 << 47
NOTE, NOTES_BYTES, BUILD_ID = 4, 4096, 3  # PT_NOTE; NT_GNU_BUILD_ID


class GuestMemory(Protocol):
    """What reads a guest's memory: a debug stub, or a monitor."""

    def read(self, address: int, length: int) -> bytes:
        """`length` bytes at the virtual address; fewer if they can't be read."""
        ...


def loaded_objects(memory: GuestMemory, symbols: Symbols) -> tuple[LoadedObject, ...]:
    """The ELF files that the stopped guest has loaded, without the kernel itself; empty if its list can't be read.
    Raises `HypervisorError` if the guest is gone."""
    where = symbols.data(LIST)
    if where is None:
        return ()
    begin, end = struct.unpack("<QQ", memory.read(where.address, 16).ljust(16, b"\0"))
    count = min((end - begin) // 8, MOST_OBJECTS) if begin < end else 0
    pointers = memory.read(begin, 8 * count)
    found = []
    for (pointer,) in struct.iter_unpack("<Q", pointers[: len(pointers) // 8 * 8]):
        if loaded := _object(memory, pointer):
            found.append(loaded)
    return tuple(found)


def _object(memory: GuestMemory, address: int) -> LoadedObject | None:
    data = memory.read(address, OBJECT_BYTES)
    at = data.find(MAGIC)
    if at < PATH_BEFORE or len(data) < at + HEADER + HEADERS_LIST + 16:
        return None
    text, length = struct.unpack_from("<QQ", data, at - PATH_BEFORE)
    base, end = struct.unpack_from("<QQ", data, at + HEADER + HEADERS_LIST)
    if not (0 < length <= LONGEST_PATH and base < end < HIGHEST and base % 4096 == 0):
        return None
    path = printable(memory.read(text, length))
    return LoadedObject(path, base, end, _build_id(memory, data, at, base)) if path else None


def _build_id(memory: GuestMemory, data: bytes, at: int, base: int) -> str:
    """The build id, from the notes in the object's memory; empty if it is missing."""
    (size,) = struct.unpack_from("<H", data, at + 54)
    begin, end = struct.unpack_from("<QQ", data, at + HEADER)
    headers = memory.read(begin, min(max(end - begin, 0), 4096))
    for start in range(0, len(headers) - 55, max(size, 56)):
        kind, _, _, virtual, _, length = struct.unpack_from("<IIQQQQ", headers, start)
        readable = kind == NOTE and virtual < HIGHEST
        if readable and (mark := _mark(memory.read(base + virtual, min(length, NOTES_BYTES)))):
            return mark
    return ""


def _mark(notes: bytes) -> str:
    """Source: ELF, Note Section: three words, a name and a description, each padded to four bytes."""
    at = 0
    while at + 12 <= len(notes):
        name, length, kind = struct.unpack_from("<III", notes, at)
        start = at + 12 + (name + 3 & ~3)
        if kind == BUILD_ID and notes[at + 12 : at + 15] == b"GNU":
            return notes[start : start + length].hex()
        at = start + (length + 3 & ~3)
    return ""
