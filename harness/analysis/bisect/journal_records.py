"""The records of a journal, one class per kind of event, to JSON and back. Names of classes and fields are
stored."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from harness.analysis.bisect.model import Build, Built, CommitRange, Effort, Kind, Measure, Plan
from harness.metrics.records import Better

VERSION = 1
LOAD_BEFORE = 3.0
"""Seconds of a load, in journals written before it was recorded."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What is bisected, and how: always the first record.

    `layouts` of each commit can be built. `host` is the only farm host whose boots may be compared, or empty.
    `load` is the length of each load of an app's metric in seconds, else 0.
    """

    line: CommitRange
    measure: Measure
    effort: Effort
    layouts: int = 1
    version: int = VERSION
    host: str = ""
    load: float = 0.0

    @property
    def known_load(self) -> float:
        """The seconds of each load, also in journals from before it was recorded."""
        return self.load or (LOAD_BEFORE if self.measure.name.startswith("app.") else 0.0)


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan. A session that was killed carries out the rest of it first."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Began:
    """A build started."""

    key: Build


@dataclass(frozen=True, slots=True)
class Finished:
    """A build succeeded."""

    key: Build
    built: Built


@dataclass(frozen=True, slots=True)
class Failed:
    """A commit did not build, or its build did not boot."""

    key: Build
    why: str


@dataclass(frozen=True, slots=True)
class Booted:
    """One boot: its value, its duration in whole seconds, and for a failed test (1) the cause."""

    key: Build
    value: float
    seconds: int = 0
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Drifted:
    """The host's speed changed by this share of the level: boots before and after can't be compared."""

    change: float


@dataclass(frozen=True, slots=True)
class Concluded:
    """The answer before its checks, as JSON values: what the checks measure no longer changes it."""

    answer: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of a check."""

    name: str
    passed: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer, as JSON values."""

    answer: Mapping[str, Any]


Record: TypeAlias = (
    Opened | Planned | Began | Finished | Failed | Booted | Drifted | Concluded | Checked | Answered
)
_KINDS = {kind.__name__.lower(): kind for kind in Record.__args__}


def to_json(record: Record) -> dict[str, Any]:
    """Return plain JSON values; `record` names the kind."""
    return {"record": type(record).__name__.lower(), **asdict(record)}


def from_json(row: Mapping[str, Any]) -> Record:
    """Read what `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
    fields = dict(row)
    kind = _KINDS[fields.pop("record")]
    if "key" in fields:
        fields["key"] = Build(**fields["key"])
    if kind is Opened:
        line, measure = fields["line"], fields["measure"]
        fields["line"] = CommitRange(tuple(line["commits"]), tuple(line["binaries"]))
        fields["measure"] = Measure(
            **{**measure, "kind": Kind(measure["kind"]), "better": Better(measure["better"])}
        )
        fields["effort"] = Effort(**fields["effort"])
    elif kind is Planned:
        plan = fields["plan"]
        builds = tuple(Build(**key) for key in plan["builds"])
        fields["plan"] = Plan(
            plan["why"], builds, tuple((Build(**key), int(count)) for key, count in plan["boots"])
        )
    elif kind is Finished:
        fields["built"] = Built(**fields["built"])
    record: Record = kind(**fields)
    return record
