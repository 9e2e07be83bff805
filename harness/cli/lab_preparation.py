"""Finds what a command that runs in a lab will need: the arch, and the images, which are built outside of the
lab."""

import argparse
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.cli import command_line as cli
from harness.cli.command_names import COMMANDS
from harness.cli.kernel_files import KernelFiles, session_of
from harness.cli.options import Common
from harness.core.arch import host_arch
from harness.core.cell import Cell
from harness.core.errors import CellError, HarnessError
from harness.kernels.prebuilt.kernel import files_of
from harness.runner.session import Session
from harness.workloads.apps import app as apps
from harness.workloads.apps.run import image_of

APPS = Path("tests/apps")


@dataclass(frozen=True, slots=True)
class LabCommand:
    """The cells that a command names, and the apps in their images (none: the in-guest tests)."""

    session: Session
    cells: tuple[Cell, ...] = ()
    apps: tuple[str, ...] = ()

    def arch(self, requested: str) -> str:
        """The arch of the lab: the requested one, else that of the cells, else this host's.

        Raises `CellError` if they differ.
        """
        arches = sorted({cell.arch for cell in self.cells})
        if len(arches) > 1:
            both = " and ".join(arches)
            raise CellError(f"A lab has one arch, and the cells are of {both}.", "Run it for each.")
        if requested and arches and requested != arches[0]:
            raise CellError(f"The cell {self.cells[0]} is none for a lab of {requested}.", "Leave --arch out.")
        return requested or next(iter(arches), host_arch())

    def prepare(self) -> frozenset[Path]:
        """Build the images; returns the entries of the cache that were verified meanwhile. Raises what building
        raises.

        Nothing is built for a command that names no cells: what it needs must be in the cache already.
        """
        for cell in self.cells:
            for name in self.apps:
                image_of(self.session, cell, apps.app(name, cell))
            if not self.apps:
                self.session.image(cell)
        return self.session.cache.verified


def parse_lab_command(command: Sequence[str], checkout: Path | None, arch: str | None) -> LabCommand:
    """Parse the command. `arch` is the arch of cells that name none. Raises `HarnessError`."""
    words = command[1:] if command[:1] == ["osv-harness"] else command
    if command and Path(command[0]).name == "pytest":
        return _parse_pytest_command(command[1:], checkout, arch)
    if words and words[0] in COMMANDS:
        return _parse_harness_command(words, checkout, arch)
    return LabCommand(Session(checkout))


def _parse_harness_command(words: Sequence[str], checkout: Path | None, arch: str | None) -> LabCommand:
    arguments = cli.parse(words).arguments
    arguments.osv_root = arguments.osv_root or checkout
    session = (
        session_of(arguments, arch)
        if isinstance(arguments, KernelFiles)
        else Session(arguments.osv_root, arch=arch)
    )
    if words[0] not in ("test", "tests", "boot", "app", "perf"):
        return LabCommand(session)
    cells = [session.cell(text) for text in _values(arguments, "cell") or ["qemu-rofs"]]
    cells = session.matrix.vary(cells, _values(arguments, "variant"), _values(arguments, "launch"))
    names = _values(arguments, "name") if hasattr(arguments, "load") else ["hello"] if words[0] == "perf" else []
    return LabCommand(session, tuple(cells) if words[0] != "app" or names else (), tuple(names))


def _values(arguments: Common, field: str) -> list[str]:
    """The values of an argument, be it single or repeatable; empty if the command has none of that name."""
    found: str | tuple[str, ...] | None = getattr(arguments, field, None)
    return [found] if isinstance(found, str) else list(found or ())


def _parse_pytest_command(words: Sequence[str], checkout: Path | None, arch: str | None) -> LabCommand:
    """The same for a pytest with our plugin."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("--cell", "--variant", "--launch"):
        parser.add_argument(name, action="append", default=[])
    parser.add_argument("--set", dest="cell_set")
    parser.add_argument("--cmdline")
    for name in ("--osv-root", "--kernel-file", "--image-file", "--manifest"):
        parser.add_argument(name, type=Path)
    arguments, rest = parser.parse_known_args(list(words))
    files = files_of(arguments.kernel_file, arguments.image_file, arguments.cmdline, arguments.manifest)
    session = Session(arguments.osv_root or checkout, files=files, arch=arch)
    cells = [session.cell(text) for text in arguments.cell]
    if arguments.cell_set:
        cells += session.matrix.set(arguments.cell_set, session.default_kernel, arch)
    cells = session.matrix.vary(cells, arguments.variant, arguments.launch)
    of_apps = any(Path(word.partition("::")[0]).absolute().is_relative_to(APPS.absolute()) for word in rest)
    names: list[str] = []
    if of_apps:
        with suppress(HarnessError):
            names = sorted(set.intersection(*(set(apps.names_for(cell)) for cell in cells)))
    return LabCommand(session, tuple(cells), tuple(names))
