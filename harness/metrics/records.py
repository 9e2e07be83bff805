"""Measured numbers: what was measured, of which kernel, where, and which numbers may be compared.

Documents hold what is too large for a number.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, Self
from uuid import uuid4

from harness.core.errors import HarnessError

NAME = re.compile(r"[A-Za-z0-9_+/-]+(\.[A-Za-z0-9_+/-]+)*")
"""Dotted names of metrics. No text of a guest in them can be markup or a terminal escape."""


CONSOLE = "console"
"""The kind of the documents that hold the end of a console: `{"lines": [...]}`."""


class Better(StrEnum):
    """The direction in which a metric improves."""

    LOWER = "lower"
    HIGHER = "higher"

    @property
    def opposite(self) -> "Better":
        """The other direction."""
        return Better.HIGHER if self is Better.LOWER else Better.LOWER


@dataclass(frozen=True, slots=True)
class Metric:
    """The meaning of a number: dotted name (`boot.instructions`), unit, direction.

    `exact` means that the same kernel gives the same number every time, on every host with the same emulator.
    """

    name: str
    unit: str
    better: Better = Better.LOWER
    exact: bool = False

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise HarnessError(f"{self.name!r} is no metric's name.", "Use letters, digits, _ + - / and dots.")

    @property
    def is_part(self) -> bool:
        """Whether it is a part of a total that is measured too: a phase of a boot, a section of a kernel."""
        return self.name.count(".") > 1 and self.name.startswith(("boot.", "size."))


@dataclass(frozen=True, slots=True)
class Version:
    """A kernel: its commit (for `linux`, its package's version), the hex SHA-256 of what was measured, and its
    place in history as far as known: `described` for people, `committed` in seconds since 1970, else 0.

    `builder` is what built it, as `harness.core.facts` formats it: compiler, linker, boost, options; empty if
    unknown.
    """

    commit: str
    digest: str
    described: str = ""
    committed: float = 0.0
    builder: str = ""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit of a checkout and its parents, first parent first: this orders versions."""

    commit: str
    parents: str
    """Hex, separated by blanks; empty for a root."""

    @property
    def id(self) -> str:
        """The commit's name, which identifies its content."""
        return self.commit

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**row)


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a number was measured. `firmware` is what boots the kernel there, with its digest, or empty; `load` is
    the host's one-minute load average when the measurement began."""

    host: str
    cpu: str
    cpus: int
    governor: str
    accelerator: str
    emulator: str
    host_kernel: str
    load: float = 0.0
    firmware: str = ""

    def fingerprint(self, metric: Metric, *others: str) -> str:
        """16 hex digits; numbers of the metric may be compared if they are equal.

        An exact number depends on the emulator and the firmware alone; others on everything but the load, which is
        noise. `others` are further dependencies.
        """
        parts: tuple[object, ...] = (self.accelerator, self.emulator, self.firmware)
        if not metric.exact:
            parts = (*parts, self.host, self.cpu, self.cpus, self.governor, self.host_kernel)
        return _digest((*parts, *others))


@lru_cache(4096)
def _digest(parts: tuple[object, ...]) -> str:
    """16 hex digits of the SHA-256, cached: a million samples share these few."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured number.

    `subject` is the program that it is about, or empty. `run` is the run that took it; `taken` is in seconds since
    1970. `spread` is the range of a repeated measurement, in the metric's unit, if the number stands for several.
    `procedure` is how it was measured, as `harness.core.facts` formats it: the guest's memory and cpus, the
    program's build, the load's duration, users and generator.
    """

    metric: Metric
    value: float
    cell: str
    subject: str
    version: Version
    environment: Environment
    run: str
    taken: float
    spread: float = 0.0
    id: str = field(default_factory=lambda: uuid4().hex)
    procedure: str = ""

    @property
    def series(self) -> tuple[str, str, str, str]:
        """Metric, cell, subject, fingerprint: samples with the same four may be compared. The fingerprint covers
        the environment, the builder and the procedure."""
        fingerprint = self.environment.fingerprint(self.metric, self.version.builder, self.procedure)
        return self.metric.name, self.cell, self.subject, fingerprint

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        metric = Metric(**{**row["metric"], "better": Better(row["metric"]["better"])})
        version, environment = Version(**row["version"]), Environment(**row["environment"])
        return cls(**{**row, "metric": metric, "version": version, "environment": environment})


@dataclass(frozen=True, slots=True)
class Document:
    """JSON that belongs to a run. `kind` is `load` (a `harness.workloads.load.run.Result`), `bisect`,
    `comparison`, …; `subject` is the app or metric that it is about."""

    kind: str
    cell: str
    subject: str
    body: Mapping[str, Any]
    version: Version
    run: str
    taken: float
    id: str = field(default_factory=lambda: uuid4().hex)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**{**row, "version": Version(**row["version"])})
