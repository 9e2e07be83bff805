"""Whether this process runs in a lab: a VM of the harness's own, whose emulation brings a KVM that runs guests."""

import os

VARIABLE = "OSV_HARNESS_LAB"
"""Set in a lab, to its arch."""

IN_A_LAB = " in a lab"
"""What is added to the name of an accelerator there, so that no series of numbers mixes it with a real host's."""

GIVEN = ("debian-packages", "osv-build", "osv-compiler-x86_64", "osv-compiler-aarch64")
"""What a lab need not have, by the names in `matrix.toml`: all is built and fetched outside of it."""


def in_lab() -> bool:
    """Whether this is a lab."""
    return bool(os.environ.get(VARIABLE))


def recorded(accelerator: str) -> str:
    """An accelerator as results and histories name it: `kvm`, `tcg`, or `kvm in a lab`."""
    return accelerator + IN_A_LAB if in_lab() else accelerator
