"""OSv's in-guest tests in a launch mode: which module of its tree has them, and how that is made.

Upstream has its tests as shared objects (modules/tests); those that need nothing inside the kernel also as dynamic
executables for Linux's ld.so (modules/tests-with-linux-ld), which are the `pie` ones too. For other modes that
module is copied inside the build tree, and the words of its Makefile that say how the tests are linked are
replaced; the sources are the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.cell import Cell
from harness.core.link_mode import LD_SO, LinkMode, check_launch, launch_of

EXECUTABLES = "tests-with-linux-ld"
SAMPLE = "tst-hello"


@dataclass(frozen=True, slots=True)
class Copy:
    """A module made from that of the executables: `words` (sed commands) change its Makefile."""

    module: str
    words: tuple[str, ...]


# A static program can't load others, and has its libraries inside: no libgcc_s, no libtls, Boost's archives.
# tst-dlfcn is all about dlopen, tst-tls needs libtls. tst-non-fpic and tst-non-pie lie at fixed addresses.
_INSIDE = (
    r"s/^LIBS = .*/LIBS =/",
    r"s/-DBOOST_TEST_DYN_LINK//",
    r"s/libtls.so libtls_gold.so tst-tls tst-tls-gold//",
    r"s/tst-promise tst-dlfcn/tst-promise/",
)

COPIES: Mapping[LinkMode, Copy] = {
    LinkMode.NON_PIE: Copy("tests-non-pie", (r"s/-fpie/-fno-pie -no-pie/g",)),
    LinkMode.STATIC: Copy("tests-static", (*_INSIDE, r"/^LIBS =/a LDFLAGS += -static -no-pie")),
    LinkMode.STATIC_PIE: Copy(
        "tests-static-pie", (*_INSIDE, r"s/ tst-non-\(fpic\|pie\)//g", r"/^LIBS =/a LDFLAGS += -static-pie")
    ),
}
MODULES = ("tests", EXECUTABLES, *(copy.module for copy in COPIES.values()))
"""The modules with tests; each writes its own manifest."""


def module_of(cell: Cell) -> str:
    """The module with the cell's tests."""
    mode = launch_of(cell)
    if mode is None:
        return "tests"
    return COPIES[mode].module if mode in COPIES else EXECUTABLES


def steps_of(module: str) -> list[list[str]]:
    """The commands in the tree that make the module; none for upstream's own."""
    copy = next((one for one in COPIES.values() if one.module == module), None)
    if copy is None:
        return []
    edits = [word for command in copy.words for word in ("-e", command)]
    folder = f"modules/{module}"
    return [
        ["rm", "-rf", folder],
        ["cp", "-r", f"modules/{EXECUTABLES}", folder],
        ["sed", "-i", *edits, f"{folder}/Makefile"],
        ["sed", "-i", f"s/{EXECUTABLES}/{module}/g", f"{folder}/Makefile", f"{folder}/create_static.sh"],
    ]


def manifest_of(cell: Cell) -> str:
    """What the tests' image would lack: Debian's lddtree does not list ld.so among the libraries."""
    if launch_of(cell) is not LinkMode.LINUX_LD:
        return ""
    return f"{LD_SO[cell.arch]}: {Path(LD_SO[cell.arch]).resolve()}\n"


def variables_of(module: str, mode: LinkMode | None) -> list[str]:
    """The build's own variables: with `dl`, scripts/manifest_from_host.sh adds glibc and ld.so."""
    return ["dl=linux"] if mode is LinkMode.LINUX_LD and module == EXECUTABLES else []


def check_made(outputs: Path, cell: Cell, module: str) -> None:
    """Raise `LaunchError` if the build made tests of another launch mode than the cell's."""
    if launch_of(cell) and module == module_of(cell):
        check_launch(cell, f"{module}/{SAMPLE}", outputs / module / SAMPLE)
