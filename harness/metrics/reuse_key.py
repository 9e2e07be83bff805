"""The reuse key of a verdict: what decided it. Two runs with one key are runs of the same thing.

It covers what the program met of its image, the program, its machine, the emulator, and the code of the harness
that ran and judged it. The version that OSv prints and the host's speed are no part of it. Neither are the limits,
which are longer where a test was seen to take long: a verdict that a limit decided is not reused.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import harness
from harness.core.machine import Image
from harness.core.variants import machine_profile_of
from harness.host.cache import digest_of
from harness.kernels.image_content import ImageContent, content_of
from harness.metrics.environment import environment
from harness.metrics.records import Environment
from harness.runner.base import Program
from harness.runner.session import Session

KEY_DIGITS = 32
JUDGING = ("core", "host", "kernels", "vm", "runner")
"""The packages that run and judge a program. Expectations are no part: each run asks them anew."""

NOT_CODE = ("__pycache__", "data")
LIMITS = frozenset({"limit", "boot_limit"})
EMULATORS = frozenset({"qemu", "qemu_microvm"})
"""The hypervisors whose version is known here. Verdicts of others are not reused."""

EMULATED = "tcg"
"""The accelerator to which this host's cpu and kernel do not matter."""


class ReuseKeys:
    """Makes the keys of programs; what an image holds is looked at once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._contents: dict[str, ImageContent] = {}
        self._environments: dict[str, Environment] = {}

    def key(self, image: Image, program: Program) -> str:
        """The key of a verdict on the program in a guest of the image; empty if it is not known what decides it.
        Boots nothing. Raises `HarnessError` if the image can't be read."""
        cell = image.cell
        if cell.hypervisor not in EMULATORS:
            return ""
        if image.digest not in self._contents:
            self._contents[image.digest] = content_of(image, self._session.cache)
        if cell.arch not in self._environments:
            self._environments[cell.arch] = environment(self._session.host, cell.arch)
        content, where = self._contents[image.digest], self._environments[cell.arch]
        parts: Mapping[str, Any] = {
            "content": content.met_by(program.command, program.disk),
            "cell": str(cell),
            "command line": image.cmdline,
            "program": {name: value for name, value in asdict(program).items() if name not in LIMITS},
            "forked": self._session.fork and cell.kernel == "osv",
            "machine": asdict(machine_profile_of(cell, program.variant)),
            "emulator": [where.accelerator, where.emulator, where.firmware],
            "host": [] if where.accelerator == EMULATED else [where.cpu, where.host_kernel],
            "judging": judging_digest(),
        }
        return digest_of(parts)[:KEY_DIGITS]


@cache
def judging_digest() -> str:
    """The digest of the harness's code that runs and judges programs."""
    top = Path(harness.__file__).parent
    digest = hashlib.sha256()
    for package in JUDGING:
        for path in sorted((top / package).rglob("*")):
            if path.is_file() and not set(NOT_CODE) & set(path.relative_to(top).parts):
                digest.update(f"{path.relative_to(top)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
