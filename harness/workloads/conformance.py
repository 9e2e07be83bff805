"""Compares OSv with Linux by the same programs: OSv's own tests as executables, and the tests of `linux`.

Where a program fails on both, it is the program. Where it fails on OSv alone, it is OSv.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from harness.core.cell import Cell
from harness.core.errors import BuildError, CellError
from harness.core.link_mode import LinkMode, launch_of
from harness.core.machine import Image
from harness.kernels.linux.kernel import TESTS
from harness.kernels.linux.roots.base import root_names
from harness.kernels.rootfs.elf_dependencies import elf_dependencies
from harness.kernels.source_lines import PROGRAMS, files_of
from harness.runner.base import Program
from harness.runner.session import Session
from harness.runner.verdict import Outcome

HOST = Path("/")
"""OSv's tests are linked with the host's libraries, so that they run on Linux with these."""
LOADED_LATER = ("libgcc_s.so.1",)
"""What glibc loads when a thread is cancelled."""
READ_LATER = ("usr/lib/locale/C.utf8/**/*", "usr/share/zoneinfo/[A-Z]*", "usr/share/zoneinfo/[A-Z]*/**/*")
"""What glibc reads when a program asks for a locale or a time zone."""
STRESS_ON_OSV = "{program} --temp-path /tmp"
"""OSv's root can't be written to, which stress-ng takes for its temporary files."""
SAYS_NOTHING = (Outcome.HARNESS_ERROR, Outcome.BOOT_FAILED, Outcome.FLAKY)


class Conformance(StrEnum):
    """What two verdicts of one program say."""

    BOTH = "passes on both"
    OSV = "OSv's"
    PROGRAM = "the program's"
    LINUX = "passes on OSv alone"
    UNKNOWN = "not compared"


Pair = tuple[tuple[Cell, Program], tuple[Cell, Program]]
"""A program as Linux runs it, and as OSv does."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All programs that both kernels run, the image of each cell, and why programs were left out, by name."""

    pairs: tuple[Pair, ...]
    images: Mapping[Cell, Image]
    left_out: Mapping[str, str]


def conformance(linux: Outcome, osv: Outcome) -> Conformance:
    """What the outcomes of one program say. What a program skips on OSv alone is what OSv lacks."""
    if linux in (*SAYS_NOTHING, Outcome.SKIPPED) or osv in SAYS_NOTHING:
        return Conformance.UNKNOWN
    on_linux, on_osv = (one is Outcome.PASSED for one in (linux, osv))
    if on_linux:
        return Conformance.BOTH if on_osv else Conformance.OSV
    return Conformance.LINUX if on_osv else Conformance.PROGRAM


def comparison(session: Session, cell: Cell) -> Comparison:
    """What is compared on a cell of OSv with a launch mode, and on its counterpart of Linux; builds the images.

    Raises `CellError` for another cell, and what building raises.
    """
    mode = launch_of(cell)
    if cell.kernel != "osv" or mode is None or mode is LinkMode.LINUX_LD or cell.fs not in root_names():
        modes = ", ".join(f"+{one}" for one in LinkMode if one is not LinkMode.LINUX_LD)
        raise CellError(
            f"{cell} has no programs that Linux runs, too.",
            f"Name a cell of OSv with {' or '.join(root_names())}, and one of {modes} at its end.",
        )
    others = tuple(one for one in cell.options if one != mode)
    for_stress = session.cell(str(replace(cell, options=(*others, LinkMode.LINUX_LD))))
    linux = session.cell(f"linux:{cell.arch}-{cell.hypervisor}-{cell.fs}-all")
    for one in (cell, for_stress, linux):
        session.check_runs(one)
    own, files, left_out = _own_tests(session, cell)
    images = {
        cell: session.image(cell),
        for_stress: session.image_with(for_stress, TESTS),
        linux: session.image_with(linux, replace(TESTS, made=files)),
    }
    (stress,) = TESTS.programs
    pairs: list[Pair] = [((linux, one), (cell, one)) for one in own]
    for program in session.programs(linux):
        words = program.command.replace(Path(stress).name, STRESS_ON_OSV.format(program=stress), 1)
        pairs.append(((linux, program), (for_stress, replace(program, command=words))))
    return Comparison(tuple(pairs), images, left_out)


def _own_tests(session: Session, cell: Cell) -> tuple[list[Program], dict[str, Path], dict[str, str]]:
    """OSv's tests that can run on Linux, the files for them by guest path, and why others were left out."""
    image = session.image(cell)
    if image.manifest is None:
        raise CellError(
            f"It is not known which files {cell} has.", "Name a checkout, not a kernel that was built."
        )
    known = files_of(image.manifest.read_text())
    programs: list[Program] = []
    files = {f"/{path.relative_to(HOST)}": path for path in _data_files()}
    left_out: dict[str, str] = {}
    for program in session.programs(cell):
        path = program.command.partition(" ")[0]
        file = image.manifest.parent / PROGRAMS / known.get(path, "")
        if program.name.endswith(f"-{cell.fs}"):
            left_out[program.name] = f"it is about OSv's own {cell.fs}"
            continue
        if not file.is_file():
            left_out[program.name] = "its file was not kept, for it has no debug information"
            continue
        try:
            files |= elf_dependencies(HOST, [path], LOADED_LATER, made={path: file})
        except BuildError as error:
            left_out[program.name] = str(error)
            continue
        programs.append(program)
    return programs, files, left_out


def _data_files() -> Iterator[Path]:
    """What there is on this host of `READ_LATER`."""
    return (path for pattern in READ_LATER for path in HOST.glob(pattern) if path.is_file())
