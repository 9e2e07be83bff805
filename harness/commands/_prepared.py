"""Builds what a command will ask for, on this host, before the command runs in a lab: nothing is built there."""

import argparse
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness import apps, cli
from harness.apps.run import image_of
from harness.cell import Cell
from harness.commands import COMMANDS
from harness.commands._kernel_files import files_of, lab_of
from harness.errors import HarnessError
from harness.lab import Lab

APPS = Path("tests/apps")


def prepared(command: Sequence[str], checkout: Path | None) -> frozenset[Path]:
    """The entries of the cache that were found sound while the images of the command's cells were built.

    Raises what building raises. Of a command that names no cells nothing is built: what it asks for must be in the
    cache already.
    """
    if not command:
        return frozenset()
    words = command[1:] if command[0] == "osv-harness" else command
    if Path(command[0]).name == "pytest":
        lab, cells, names = _of_pytest(command[1:], checkout)
    elif words and words[0] in COMMANDS:
        lab, cells, names = _of_command(words, checkout)
    else:
        return frozenset()
    for cell in cells:
        for name in names:
            image_of(lab, cell, apps.app(name, cell))
        if not names:
            lab.image(cell)
    return lab.cache.sound


def _of_command(words: Sequence[str], checkout: Path | None) -> tuple[Lab, list[Cell], list[str]]:
    """Whose images they are, of which cells, with which apps in them (none: the in-guest tests)."""
    asked = cli.parsed(words)
    asked.osv_root = asked.osv_root or checkout
    lab = lab_of(asked) if hasattr(asked, "kernel_file") else Lab(asked.osv_root)
    if words[0] not in ("test", "boot", "app", "perf"):
        return lab, [], []
    named = getattr(asked, "cell", None) or ["qemu-rofs"]
    cells = [lab.cell(text) for text in ([named] if isinstance(named, str) else named)]
    variants = getattr(asked, "variant", None) or []
    cells = lab.varied(cells, [variants] if isinstance(variants, str) else variants)
    cells = lab.launched(cells, getattr(asked, "launch", None) or [])
    names = list(getattr(asked, "name", [])) if words[0] == "app" else ["hello"] if words[0] == "perf" else []
    return lab, cells if words[0] != "app" or names else [], names


def _of_pytest(words: Sequence[str], checkout: Path | None) -> tuple[Lab, list[Cell], list[str]]:
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
    lab = Lab(asked.osv_root or checkout, files=files)
    cells = [lab.cell(text) for text in asked.cell]
    if asked.cell_set:
        cells += lab.matrix.set(asked.cell_set, lab.default_kernel)
    cells = lab.launched(lab.varied(cells, asked.variant), asked.launch)
    of_apps = any(Path(word.partition("::")[0]).absolute().is_relative_to(APPS.absolute()) for word in rest)
    names: list[str] = []
    if of_apps:
        with suppress(HarnessError):
            names = sorted(set.intersection(*(set(apps.names_for(cell)) for cell in cells)))
    return lab, cells, names
