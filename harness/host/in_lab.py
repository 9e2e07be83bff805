"""Whether this process runs in a lab, and the facts of the host that it was given.

A lab is a VM of the harness's own whose emulation includes a KVM that runs guests;
`harness.integrations.nested_kvm` creates it.
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

HOST_FACTS_FILE = Path("/lab/handed.json")
IN_A_LAB = " in a lab"
"""The suffix of an accelerator's name in a lab, so that no series of numbers mixes it with a real host's."""

LAB_SLOWDOWN = 30
"""The factor of time limits of this machine's processes in a lab: Python starts 20 times slower under TCG, and the
time for which the host kept the VM waiting can't be seen from within. At load 14 on 2 cores a factor of 12 was too
little."""

NOT_NEEDED_IN_LAB = (
    "builder-aarch64", "builder-x86_64", "containers", "debian-packages", "osv-build", "osv-compiler-aarch64",
    "osv-compiler-x86_64", "ubuntu-keyring",
)  # fmt: skip
"""What a lab need not have, by the names in `matrix.toml`: everything is built and fetched outside of it."""


def in_lab() -> bool:
    """Whether this is a lab."""
    return bool(os.environ.get(VARIABLE))


def loses_registers() -> bool:
    """Whether this is a lab whose emulated KVM sometimes gives a guest wrong registers: docs/results/lab.md."""
    return os.environ.get(VARIABLE) == "x86_64"


def recorded(accelerator: str) -> str:
    """An accelerator's name in results and histories: `kvm`, `tcg`, or `kvm in a lab`."""
    return accelerator + IN_A_LAB if in_lab() else accelerator


def lab_timeout(seconds: float) -> float:
    """A time limit in seconds for a process of the host, increased in a lab, where every instruction may be
    emulated."""
    return seconds * LAB_SLOWDOWN if in_lab() else seconds


def checkout_outside(root: Path) -> Mapping[str, Any] | None:
    """What the host found of an OSv checkout, if that was passed in: git takes a minute here, or is missing.

    `state` is its content, `committed` is in seconds since 1970.
    """
    known: Mapping[str, Any] | None = _host_facts()["checkouts"].get(str(root))
    return known


def builder_outside(arch: str) -> Mapping[str, Any] | None:
    """What the host's toolchain puts into kernels of the arch, if that was passed in: all are built there."""
    known: Mapping[str, Any] | None = _host_facts()["builders"].get(arch)
    return known


def python_outside() -> Path:
    """The Python that runs the harness on the host: a lab may have another."""
    return Path(_host_facts()["python"])


def verified_entries() -> frozenset[Path]:
    """The entries of the cache that were verified before the lab started: they can't change in it."""
    return frozenset(Path(path) for path in _host_facts()["sound"])


@cache
def _host_facts() -> Mapping[str, Any]:
    if not (in_lab() and HOST_FACTS_FILE.exists()):
        return {"checkouts": {}, "builders": {}, "sound": [], "python": sys.executable}
    facts: Mapping[str, Any] = json.loads(HOST_FACTS_FILE.read_text())
    return facts
