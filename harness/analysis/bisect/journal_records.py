"""What a journal holds: one record for each thing that happened, to JSON and back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from harness.analysis.bisect.model import Build, Built, CommitRange, Effort, Kind, Measure, Plan
from harness.metrics.records import Better

VERSION = 1
LOAD_BEFORE = 3.0
"""Seconds of a load where the journal does not say: of all that were written before it did."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What is bisected, and how: always the first record. `layouts` of each commit can be built; `host` is the one
    of many whose boots alone may be compared, or nothing; `load` is the seconds of each load of an app's metric,
    else 0."""

    line: CommitRange
    measure: Measure
    effort: Effort
    layouts: int = 1
    version: int = VERSION
    host: str = ""
    load: float = 0.0

    @property
    def known_load(self) -> float:
        """The seconds of loads also of what was recorded before they were."""
        return self.load or (LOAD_BEFORE if self.measure.name.startswith("app.") else 0.0)


@dataclass(frozen=True, slots=True)
class Planned:
    """What is going to be done; a session that was killed does the rest of it first."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Began:
    """A build began."""

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
    """One boot, the value that it gave, and the whole seconds that it took; of a test that failed (1), by what."""

    key: Build
    value: float
    seconds: int = 0
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Drifted:
    """The host's speed changed by this much of the level: no boot before can be compared with one after."""

    change: float


@dataclass(frozen=True, slots=True)
class Concluded:
    """The answer before its checks, as JSON values: what they measure no longer changes it."""

    answer: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Checked:
    """A verification's result, by its name."""

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
    """Plain JSON values, of which `record` names the kind."""
    return {"record": type(record).__name__.lower(), **asdict(record)}


def from_json(row: Mapping[str, Any]) -> Record:
    """The record that `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
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
