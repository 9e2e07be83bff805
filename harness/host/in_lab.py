"""Whether this process runs in a lab, and what was handed into it.

A lab is a VM of the harness's own, whose emulation brings a KVM that runs guests:
`harness.integrations.nested_kvm` makes it.
"""

import json
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

VARIABLE = "OSV_HARNESS_LAB"
"""Set in a lab, to its arch."""

HANDED = Path("/lab/handed.json")
IN_A_LAB = " in a lab"
"""What is added to the name of an accelerator there, so that no series of numbers mixes it with a real host's."""

SLOWER = 30
"""How many times longer a process of this machine may take there: Python starts 20 times slower under TCG, and how
long the host kept the VM waiting is not seen from within. At load 14 on 2 cores 12 was too little."""

GIVEN = ("debian-packages", "osv-build", "osv-compiler-x86_64", "osv-compiler-aarch64")
"""What a lab need not have, by the names in `matrix.toml`: all is built and fetched outside of it."""


def in_lab() -> bool:
    """Whether this is a lab."""
    return bool(os.environ.get(VARIABLE))


def loses_registers() -> bool:
    """Whether this is a lab whose KVM now and then gives a guest wrong registers: docs/results/lab.md."""
    return os.environ.get(VARIABLE) == "x86_64"


def recorded(accelerator: str) -> str:
    """An accelerator as results and histories name it: `kvm`, `tcg`, or `kvm in a lab`."""
    return accelerator + IN_A_LAB if in_lab() else accelerator


def stretched(seconds: float) -> float:
    """A limit in seconds for a process of the host, as it is meant where every instruction may be emulated."""
    return seconds * SLOWER if in_lab() else seconds


def checkout_outside(root: Path) -> Mapping[str, Any] | None:
    """What was found of an OSv checkout outside, where that is handed in: git takes a minute here, or is missing.

    `state` is what it holds, `committed` when that was, in seconds since 1970.
    """
    known: Mapping[str, Any] | None = _handed()["checkouts"].get(str(root))
    return known


def builder_outside(arch: str) -> Mapping[str, Any] | None:
    """What the host outside puts into kernels of the arch, where that is handed in: all are built there."""
    known: Mapping[str, Any] | None = _handed()["builders"].get(arch)
    return known


def python_outside() -> Path:
    """The Python that runs the harness on the host: a lab may have another."""
    return Path(_handed()["python"])


def sound_entries() -> frozenset[Path]:
    """The entries of the cache that were read and found sound before the lab began: they can't change in it."""
    return frozenset(Path(path) for path in _handed()["sound"])


@cache
def _handed() -> Mapping[str, Any]:
    if not (in_lab() and HANDED.exists()):
        return {"checkouts": {}, "builders": {}, "sound": [], "python": sys.executable}
    handed: Mapping[str, Any] = json.loads(HANDED.read_text())
    return handed
