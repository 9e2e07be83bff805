"""What a command that is to run in a lab will ask for: of which arch, and its images, which are built outside."""

import argparse
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.cli import command_line as cli
from harness.cli.command_names import COMMANDS
from harness.cli.kernel_files import KernelFiles, lab_of
from harness.cli.options import Common
from harness.core.arch import host_arch
from harness.core.cell import Cell
from harness.core.errors import CellError, HarnessError
from harness.kernels.prebuilt.kernel import files_of
from harness.runner.session import Lab
from harness.workloads.apps import app as apps
from harness.workloads.apps.run import image_of

APPS = Path("tests/apps")


@dataclass(frozen=True, slots=True)
class Asked:
    """The cells that a command names, with which apps in their images (none: the in-guest tests)."""

    lab: Lab
    cells: tuple[Cell, ...] = ()
    apps: tuple[str, ...] = ()

    def arch(self, wanted: str) -> str:
        """The arch of the lab in which it runs: the one that is wanted, else that of its cells, else this host's.

        Raises `CellError` where they differ.
        """
        arches = sorted({cell.arch for cell in self.cells})
        if len(arches) > 1:
            both = " and ".join(arches)
            raise CellError(f"A lab has one arch, and the cells are of {both}.", "Run it for each.")
        if wanted and arches and wanted != arches[0]:
            raise CellError(f"The cell {self.cells[0]} is none for a lab of {wanted}.", "Leave --arch out.")
        return wanted or next(iter(arches), host_arch())

    def prepare(self) -> frozenset[Path]:
        """Build the images; the entries of the cache that were found sound meanwhile. Raises what building raises.

        Of a command that names no cells nothing is built: what it asks for must be in the cache already.
        """
        for cell in self.cells:
            for name in self.apps:
                image_of(self.lab, cell, apps.app(name, cell))
            if not self.apps:
                self.lab.image(cell)
        return self.lab.cache.sound


def asked_by(command: Sequence[str], checkout: Path | None, arch: str | None) -> Asked:
    """What the command names; `arch` is meant where a cell's name says none. Raises `HarnessError`."""
    words = command[1:] if command[:1] == ["osv-harness"] else command
    if command and Path(command[0]).name == "pytest":
        return _of_pytest(command[1:], checkout, arch)
    if words and words[0] in COMMANDS:
        return _of_command(words, checkout, arch)
    return Asked(Lab(checkout))


def _of_command(words: Sequence[str], checkout: Path | None, arch: str | None) -> Asked:
    asked = cli.parsed(words).arguments
    asked.osv_root = asked.osv_root or checkout
    lab = lab_of(asked, arch) if isinstance(asked, KernelFiles) else Lab(asked.osv_root, arch=arch)
    if words[0] not in ("test", "tests", "boot", "app", "perf"):
        return Asked(lab)
    cells = [lab.cell(text) for text in _listed(asked, "cell") or ["qemu-rofs"]]
    cells = lab.matrix.vary(cells, _listed(asked, "variant"), _listed(asked, "launch"))
    names = _listed(asked, "name") if hasattr(asked, "load") else ["hello"] if words[0] == "perf" else []
    return Asked(lab, tuple(cells) if words[0] != "app" or names else (), tuple(names))


def _listed(asked: Common, field: str) -> list[str]:
    """What a line has of that kind, be it one or several; nothing where its command has no such field."""
    found: str | tuple[str, ...] | None = getattr(asked, field, None)
    return [found] if isinstance(found, str) else list(found or ())


def _of_pytest(words: Sequence[str], checkout: Path | None, arch: str | None) -> Asked:
    """The same of a pytest that has our plugin."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("--cell", "--variant", "--launch"):
        parser.add_argument(name, action="append", default=[])
    parser.add_argument("--set", dest="cell_set")
    parser.add_argument("--cmdline")
    for name in ("--osv-root", "--kernel-file", "--image-file", "--manifest"):
        parser.add_argument(name, type=Path)
    asked, rest = parser.parse_known_args(list(words))
    files = files_of(asked.kernel_file, asked.image_file, asked.cmdline, asked.manifest)
    lab = Lab(asked.osv_root or checkout, files=files, arch=arch)
    cells = [lab.cell(text) for text in asked.cell]
    if asked.cell_set:
        cells += lab.matrix.set(asked.cell_set, lab.default_kernel, arch)
    cells = lab.matrix.vary(cells, asked.variant, asked.launch)
    of_apps = any(Path(word.partition("::")[0]).absolute().is_relative_to(APPS.absolute()) for word in rest)
    names: list[str] = []
    if of_apps:
        with suppress(HarnessError):
            names = sorted(set.intersection(*(set(apps.names_for(cell)) for cell in cells)))
    return Asked(lab, tuple(cells), tuple(names))
