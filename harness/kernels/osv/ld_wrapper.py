"""Replaces the linker in OSv's build, to lay the kernel's code out differently; run by its path.

After each object comes a little code that nothing calls, of a size that the seed decides, so that all later code
has other addresses. Nothing else changes, not even the order of static constructors. If speed differs between such
kernels, the cause is the layout and no commit (Mytkowicz and others, "Producing Wrong Data Without Doing Anything
Obviously Wrong!", ASPLOS 2009).
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

KERNELS = ("loader.elf", "zfs_builder.elf")
"""The kernels that the Makefile links."""

STEP, STEPS = 16, 16
"""A pad has 0 to 15 steps of 16 bytes, the alignment of functions: some 30 pads add up to a page of 4 KiB."""


def relaid(words: Sequence[str], seed: int, pads: Path) -> list[str]:
    """The linker's arguments with a pad after each object; the pad of an object does not depend on its
    neighbours."""
    if not any(Path(word).name in KERNELS for word in _after(words, "-o")):
        return list(words)
    found = []
    for word in words:
        found.append(word)
        if word.endswith(".o"):
            count = hashlib.sha256(f"{seed} {word}".encode()).digest()[0] % STEPS
            found += [str(pads / f"{count}.o")] if count else []
    return found


def make_pads(assembler: str, folder: Path) -> None:
    """Make an object for each size of pad."""
    folder.mkdir(parents=True, exist_ok=True)
    for count in range(1, STEPS):
        source = f'.section .text,"ax"\n.skip {count * STEP}\n.section .note.GNU-stack,"",%progbits\n'
        command = [assembler, "-o", str(folder / f"{count}.o"), "-"]
        subprocess.run(command, input=source, text=True, check=True)


def _after(words: Sequence[str], option: str) -> list[str]:
    return [words[at + 1] for at, word in enumerate(words[:-1]) if word == option]


if __name__ == "__main__":
    number, where, linker, *arguments = sys.argv[1:]
    os.execv(linker, [linker, *relaid(arguments, int(number), Path(where))])
