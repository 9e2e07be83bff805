"""The functions and variables of a kernel ELF file: their addresses, which function holds an address, and which
calls which."""

import json
import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness.host.cache import Cache

TABLE = "symbols.json"
LONGEST_UNSIZED = 4096  # bytes of a function whose size its symbol does not tell


@dataclass(frozen=True, slots=True)
class Function:
    """A function's mangled name, address and size in bytes."""

    name: str
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable's mangled name, address and size in bytes; the address of a thread-local one is in its
    segment."""

    name: str
    address: int
    size: int


class Symbols:
    """The symbols of one ELF file, cached because reading tens of thousands takes a second."""

    def __init__(self, elf: Path, cache: Cache) -> None:
        self.elf = elf
        stat = elf.stat()
        parts = {"elf": str(elf.resolve()), "size": stat.st_size, "mtime": stat.st_mtime_ns, "form": 2}
        table = json.loads((cache.get("symbols", parts, lambda out: _write(elf, out / TABLE)) / TABLE).read_text())
        self._functions = [Function(*row) for row in table["functions"]]
        self._variables: dict[str, list[int]] = table["variables"]
        self._of_threads: dict[str, int] = table["of threads"]
        self._addresses = [function.address for function in self._functions]
        self._by_name = {function.name: function for function in self._functions}
        self._beginnings: dict[str, Function | None] = {}
        self._returns: dict[tuple[str, str], list[int]] = {}

    @property
    def functions(self) -> Sequence[Function]:
        """All functions, by address."""
        return self._functions

    def find(self, name: str) -> Function | None:
        """The function with that mangled name."""
        return self._by_name.get(name)

    def beginning_with(self, start: str) -> Function | None:
        """The only function whose mangled name begins so, if there is only one; the compiler's split-off parts
        (`.cold`, `.part`) do not count."""
        if start not in self._beginnings:
            found = {f.address: f for f in self._functions if f.name.startswith(start) and "." not in f.name}
            self._beginnings[start] = found.popitem()[1] if len(found) == 1 else None
        return self._beginnings[start]

    def data(self, name: str) -> Variable | None:
        """The variable with that mangled name, unless it is thread-local."""
        row = self._variables.get(name)
        return Variable(name, *row) if row else None

    def thread_offset(self, name: str) -> int | None:
        """The offset of a thread-local variable with that mangled name from the thread pointer."""
        return self._of_threads.get(name)

    def at(self, address: int) -> Function | None:
        """The function whose code holds the address."""
        index = bisect_right(self._addresses, address) - 1
        if index < 0:
            return None
        function = self._functions[index]
        return function if address < function.address + max(function.size, 1) else None

    def returns_of_calls(self, caller: str, callee: str) -> list[int]:
        """The return addresses of direct calls of `callee` in the code of `caller`, lowest first."""
        if (caller, callee) not in self._returns:
            self._returns[caller, callee] = self._find_returns(caller, callee)
        return self._returns[caller, callee]

    def _find_returns(self, caller: str, callee: str) -> list[int]:
        inside, target = self.find(caller), self.find(callee)
        if inside is None or target is None:
            return []
        if not inside.size:  # of assembly: it goes on to the next function
            after = self._addresses[bisect_right(self._addresses, inside.address) :]
            inside = replace(inside, size=min(after[0] - inside.address, LONGEST_UNSIZED) if after else 0)
        with self.elf.open("rb") as file:
            elf = ELFFile(file)
            code = _code(elf, inside)
            machine = elf.get_machine_arch()
        find = _x86_calls if machine == "x64" else _aarch64_calls
        return find(code, inside.address, target.address)


def _write(elf: Path, out: Path) -> None:
    with elf.open("rb") as file:
        parsed = ELFFile(file)
        table = parsed.get_section_by_name(".symtab")
        found = list(table.iter_symbols()) if isinstance(table, SymbolTableSection) else []
        base = _thread_base(parsed)
    kinds: dict[str, dict[tuple[int, str], int]] = {"STT_FUNC": {}, "STT_OBJECT": {}, "STT_TLS": {}}
    for symbol in found:
        if (kind := symbol["st_info"]["type"]) in kinds:
            kinds[kind][symbol["st_value"], symbol.name] = symbol["st_size"]
    functions = [[name, address, size] for (address, name), size in sorted(kinds["STT_FUNC"].items())]
    variables = {name: [address, size] for (address, name), size in kinds["STT_OBJECT"].items()}
    of_threads = {name: base + value for value, name in kinds["STT_TLS"]}
    out.write_text(json.dumps({"functions": functions, "variables": variables, "of threads": of_threads}))


def _thread_base(elf: ELFFile) -> int:
    """The offset of the kernel's thread-local storage from the thread pointer.

    Source: Drepper, "ELF Handling For Thread-Local Storage", 3: variant II on x86_64, below the pointer; variant I
    on AArch64, above it and a control block of two words.
    """
    for segment in elf.iter_segments("PT_TLS"):
        align = max(segment["p_align"], 1)
        before = 16 if elf.get_machine_arch() != "x64" else -segment["p_memsz"]
        return int(-(-before // align) * align if before > 0 else before // align * align)
    return 0


def _code(elf: ELFFile, function: Function) -> bytes:
    for segment in elf.iter_segments("PT_LOAD"):
        offset = function.address - segment["p_vaddr"]
        if 0 <= offset < segment["p_filesz"]:
            elf.stream.seek(segment["p_offset"] + offset)
            return bytes(elf.stream.read(function.size))
    return b""


def _x86_calls(code: bytes, address: int, target: int) -> list[int]:
    """Sites of `E8 rel32`. Source: Intel SDM, volume 2, CALL."""
    found = []
    for index in range(len(code) - 4):
        if code[index] == 0xE8:
            after = address + index + 5
            if after + struct.unpack_from("<i", code, index + 1)[0] == target:
                found.append(after)
    return found


def _aarch64_calls(code: bytes, address: int, target: int) -> list[int]:
    """Sites of `BL imm26`. Source: Arm ARM, C6.2, BL."""
    found = []
    for index in range(0, len(code) - 3, 4):
        word = struct.unpack_from("<I", code, index)[0]
        if word >> 26 == 0b100101:
            distance = (word & 0x3FFFFFF) << 2
            distance -= (distance & 1 << 27) << 1
            if address + index + distance == target:
                found.append(address + index + 4)
    return found
