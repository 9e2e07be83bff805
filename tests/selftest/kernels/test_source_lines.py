"""Addresses of a guest as functions, files and lines of its kernel and of what it has loaded."""

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.kernels.source_lines import PROGRAMS, LoadedObject, SourceLines, bare_name, build_id_of, files_of
from harness.report.backtrace import symbolised

BASE = 0x100000000000
SOURCE = "int inner(int x) { return x * 3; }\n\nint outer(int x)\n{\n    return inner(x) + 1;\n}\n"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A shared library with debug information, kept as that of an image is."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    (tmp_path / "tst.c").write_text(SOURCE)
    made = tmp_path / PROGRAMS / "tests" / "tst.so"
    made.parent.mkdir(parents=True)
    flags = ["-shared", "-fPIC", "-O0", "-g", "-Wl,--build-id"]
    subprocess.run([compiler, *flags, "-o", str(made), "tst.c"], cwd=tmp_path, check=True)
    (tmp_path / "usr.manifest").write_text(
        "[manifest]\n/tests/tst.so: ./tests/tst.so\n/libx.so: ->/tests/tst.so\n"
    )
    return made


def offset_of(program: Path, name: str) -> int:
    """Where in the file a function begins, from its symbols."""
    rows = subprocess.run(["nm", str(program)], capture_output=True, text=True, check=True).stdout.splitlines()
    return next(int(row.split()[0], 16) for row in rows if row.endswith(f" T {name}"))


def test_a_programs_address_is_its_line(program: Path, tmp_path: Path) -> None:
    loaded = LoadedObject("/tests/tst.so", BASE, BASE + 0x10000, build_id_of(program))
    lines = SourceLines(None, tmp_path / "usr.manifest", [loaded])
    inside = BASE + offset_of(program, "outer") + 12
    first, second, third = lines.at([inside, 0x40001000, BASE + 0xFFFF])
    assert (first.function, first.object) == ("outer", "/tests/tst.so")
    assert first.source == f"{tmp_path}/tst.c:5"
    assert str(first) == f"outer ({tmp_path}/tst.c:5)"
    assert str(second) == "kernel+0x40001000"
    assert str(third) == "/tests/tst.so+0xffff"


INLINED = """#define INLINE static inline __attribute__((always_inline))
#define HERE __asm__ volatile(".globl here; here: nop")
INLINE void own(void) { HERE; }
# 191 "/usr/include/c++/12/bits/unique_ptr.h"
INLINE void get(void) { HERE; }
INLINE void call_own(void) { own(); }
# 7 "tst.c"
INLINE void wake(void) { get(); }
"""


@pytest.mark.parametrize(
    ("outer", "told"),
    [
        ("void wakes(void) { wake(); }", "wake ({0}/tst.c:7)"),
        ("void calls(void) { call_own(); }", "own ({0}/tst.c:3)"),
        (
            '# 300 "/usr/include/x.h"\nvoid library(void) { get(); }',
            "get (/usr/include/c++/12/bits/unique_ptr.h:191)",
        ),
    ],
)
def test_a_place_in_a_library_is_its_callers(program: Path, tmp_path: Path, outer: str, told: str) -> None:
    """Of what was inlined, the innermost function that is no library's; a library's, where there is no other."""
    (tmp_path / "tst.c").write_text(INLINED + outer + "\n")
    flags = ["-shared", "-fPIC", "-O2", "-g", "-Wl,--build-id"]
    subprocess.run(["cc", *flags, "-o", str(program), "tst.c"], cwd=tmp_path, check=True)
    lines = SourceLines(None, tmp_path / "usr.manifest", [LoadedObject("/tests/tst.so", BASE, BASE + 0x10000)])
    (place,) = lines.at([BASE + offset_of(program, "here")])
    assert str(place) == told.format(tmp_path)


@pytest.mark.parametrize("path", ["/tests/tst.so", "/tests//../tests/tst.so", "tst.so"])
def test_the_kernel_may_name_it_otherwise(program: Path, tmp_path: Path, path: str) -> None:
    lines = SourceLines(None, tmp_path / "usr.manifest")
    assert lines.host_file(LoadedObject(path, BASE, BASE + 1)) == program


def test_a_file_of_another_build_is_not_asked(program: Path, tmp_path: Path) -> None:
    loaded = LoadedObject("/tests/tst.so", BASE, BASE + 0x10000, "00" * 20)
    lines = SourceLines(None, tmp_path / "usr.manifest", [loaded])
    offset = offset_of(program, "outer")
    assert str(lines.at([BASE + offset])[0]) == f"/tests/tst.so+{offset:#x}"


def test_what_is_no_elf_file_or_gone_is_not_asked(program: Path, tmp_path: Path) -> None:
    lines = SourceLines(None, tmp_path / "usr.manifest", [LoadedObject("/tests/tst.so", BASE, BASE + 0x1000)])
    program.write_bytes(b"\x7fELF and no more")
    assert str(lines.at([BASE + 4])[0]) == "/tests/tst.so+0x4"
    program.unlink()
    assert str(lines.at([BASE + 4])[0]) == "/tests/tst.so+0x4"


def test_a_printed_backtrace_gets_lines(program: Path, tmp_path: Path) -> None:
    """The last one that was printed; a return address is the call's before it."""
    after_call = BASE + offset_of(program, "outer") + 12
    console = f"[backtrace]\n0x1 <x>\n[backtrace]\r\n0x{after_call:016x} <???+9>\r\nnot 0x0000000000000001 <y>\n"
    lines = SourceLines(None, tmp_path / "usr.manifest", [LoadedObject("/tests/tst.so", BASE, BASE + 0x10000)])
    assert symbolised(console.encode(), lines) == [f"{after_call:#018x}  outer ({tmp_path}/tst.c:5)"]
    assert symbolised(b"no such thing", lines) == []
    registers = f"[registers]\r\nRIP: 0x{after_call - 1:016x} <???+9>\r\n"
    assert symbolised(registers.encode(), lines) == [
        f"{after_call - 1:#018x}  outer ({tmp_path}/tst.c:5), the instruction"
    ]


def test_files_of_a_manifest() -> None:
    text = "[manifest]\n/a.so: ./x/a.so\n/&/etc/hosts: ../../static/&\n/usr/share/**: /usr/share/**\n/b: ->/a.so\n"
    assert files_of(text + "/a.so: /other/a.so\n/c.so: /c.so\n") == {"/a.so": "/other/a.so", "/c.so": "/c.so"}


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("main", "main"),
        ("sched::thread::switch_to()", "sched::thread::switch_to"),
        ("void a::b<int (*)(c<d>)>::f<char>(char*, a::b<int>) const", "a::b::f"),
        ("(anonymous namespace)::f(int) [clone .isra.0]", "{anonymous}::f"),
        ("f<char>(char*)::{lambda(int)#1}::operator()(int) const", "f::{lambda#1}::operator()"),
        ("std::ostream& std::operator<< <char>(std::ostream&, char)", "std::operator<<"),
        ("bool a::operator< <int>(a::b<int> const&)", "a::operator<"),
        ("operator new(unsigned long)", "operator new"),
        ("", ""),
        ("<<", "<<"),
    ],
)
def test_a_functions_name_is_told_without_its_arguments(function: str, name: str) -> None:
    assert bare_name(function) == name
