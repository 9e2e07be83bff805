"""Finds the addresses of a kernel's checkpoints: from its symbols, or from the running kernel."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

from harness.core.errors import HarnessError
from harness.core.machine import Image
from harness.kernels.symbols import Symbols
from harness.metrics.instruction_count import Checkpoint
from harness.runner.base import Program
from harness.runner.osv.exit_checkpoints import JOIN, MAIN_THREAD
from harness.runner.session import Session
from harness.runner.verdict import Outcome

PHYS32_ENTRY = "18"  # pyelftools has no name for this type, only its number
LISTING_SECONDS = 60.0


def addresses(session: Session, image: Image, wanted: Iterable[Checkpoint]) -> dict[str, list[int]]:
    """The addresses of the checkpoints that the image's kernel has, by their names.

    A checkpoint is passed at one of its addresses: a function may be called in several places, in any order.
    Raises `HarnessError` if the kernel's functions can't be located.
    """
    names = [checkpoint.until for checkpoint in wanted]
    return _of_linux(session, image, names) if image.cell.kernel == "linux" else _of_osv(session, image, names)


def unrandomised(image: Image) -> Image:
    """The image whose kernel does the same in each boot. Debian's is never relocated."""
    more = "norandmaps" if image.cell.kernel == "linux" else "--norandom"
    return replace(image, cmdline=f"{image.cmdline} {more}".strip())


def _of_osv(session: Session, image: Image, names: Iterable[str]) -> dict[str, list[int]]:
    if image.symbols is None:
        raise HarnessError(
            f"The kernel of {image.cell} has no symbols.", "Name a checkout, whose build keeps them."
        )
    symbols = Symbols(image.symbols, session.cache)
    found = {name: [function.address] for name in names if (function := symbols.find(name))}
    if returns := symbols.returns_of_calls(MAIN_THREAD, JOIN):
        found["@returned"] = returns
    if entry := _entry(image.symbols):
        found["@entry"] = [entry]
    return found


def _entry(elf: Path) -> int | None:
    """The physical address at which a firmware starts the kernel by the PVH protocol.

    Source: Xen's public/elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY.
    """
    with elf.open("rb") as file:
        for section in ELFFile(file).iter_sections("SHT_NOTE"):
            for note in section.iter_notes() if isinstance(section, NoteSection) else ():
                if note["n_name"] == "Xen" and str(note["n_type"]) == PHYS32_ENTRY:
                    return int.from_bytes(note["n_descdata"], "little")
    return None


def _of_linux(session: Session, image: Image, names: Iterable[str]) -> dict[str, list[int]]:
    """From /proc/kallsyms of a guest that is booted for it, once per kernel."""
    wanted = sorted(names)
    pattern = "|".join(wanted)
    program = Program("kallsyms", f"grep -E ' ({pattern})$' /proc/kallsyms", LISTING_SECONDS)
    run = session.run_on(image, program)
    if run.verdict.outcome is not Outcome.PASSED:
        raise HarnessError(f"The kernel of {image.cell} did not list its functions: {run.verdict.reason}.")
    rows = re.findall(rb"^([0-9a-f]{16}) [tT] (\w+)\r?$", run.transcript.raw, re.MULTILINE)
    return {name.decode(): [int(address, 16)] for address, name in rows if name.decode() in wanted}
