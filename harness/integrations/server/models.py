"""The JSON interface: what is asked and answered, as OpenAPI tells it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 1
"""Raised when a field changes its meaning or goes; fields may be added."""

Subject = Annotated[
    str, Field(max_length=500, description="`test/KERNEL/NAME`, `step/KERNEL/COMMIT` or `cell/CELL`")
]
Moment = Annotated[float, Field(description="seconds since 1970")]
RecordId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


Kind = Literal["new", "flaky", "still", "fixed"]


class Answer(BaseModel):
    """Of any kind."""

    model_config = ConfigDict(frozen=True)


class Asked(BaseModel):
    """A body that is sent to us: nothing that it does not name."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(Answer):
    """Why something was not done, and what to do (RFC 9457)."""

    title: str
    status: int
    detail: str = ""


class VersionFact(Answer):
    """A version of a kernel."""

    commit: str
    described: str


class Range(Answer):
    """The last good version and the first bad one."""

    good: VersionFact
    bad: VersionFact


class CellFact(Answer):
    """A cell of a failure: when it failed last, and in which run, which leads to its evidence."""

    cell: str
    run: str
    taken: Moment


class Failure(Answer):
    """A test on the cells of one kernel where the same goes on; `nights` is for how many by now."""

    subject: Subject
    kind: Kind
    test: str
    kernel: str
    outcome: str
    reason: str
    identity: str
    cells: list[CellFact]
    nights: int
    began: Moment
    bad: int
    runs: int
    since: Range | None


class Moved(Answer):
    """A metric that moved; `change` is relative, on so many `cells` of those that measure it."""

    metric: str
    about: str
    change: float
    worse: bool
    cells: list[str]
    of: int


class Step(Answer):
    """What moved at one commit; `new` is whether the last night measured it first."""

    subject: Subject
    kernel: str
    before: VersionFact
    after: VersionFact
    worse: bool
    new: bool
    moved: list[Moved]


class Missing(Answer):
    """A cell without a result, for so many nights."""

    subject: Subject
    cell: str
    nights: int


class Night(Answer):
    """The last night."""

    date: str
    began: Moment
    ended: Moment
    cells: int
    verdicts: int
    expected: int


class Facts(Answer):
    """The facts of the morning. `state` is how far the history had come."""

    schema_version: int = SCHEMA
    state: str
    made: Moment
    headline: str
    sign: str
    night: Night | None
    version: VersionFact | None
    failures: list[Failure]
    steps: list[Step]
    missing: list[Missing]


class Verdict(Answer):
    """One verdict; `number` is its place in the order in which the history got them."""

    number: int
    id: str
    suite: str
    cell: str
    test: str
    outcome: str
    expected: bool
    reason: str
    seconds: float
    version: VersionFact
    host: str
    accelerator: str
    run: str
    taken: Moment


class Verdicts(Answer):
    """Verdicts, those that came last first; `next` is what to give as `before` for older ones."""

    verdicts: list[Verdict]
    next: int | None


class Number(Answer):
    """One sample of a metric."""

    id: str
    value: float
    unit: str
    cell: str
    about: str
    version: VersionFact
    run: str
    taken: Moment


class CellTally(Answer):
    """What a run has of a cell by now."""

    cell: str
    verdicts: int
    unexpected: int
    samples: int


class LiveRun(Answer):
    """A run of the last day; `silent` is for how many seconds it has said nothing."""

    run: str
    began: Moment
    last: Moment
    silent: float
    verdicts: int
    unexpected: int
    samples: int
    cells: list[CellTally]


class Live(Answer):
    """What runs. `usual` is how many verdicts the night before had; `after` is where events go on from."""

    now: Moment
    running: bool
    runs: list[LiveRun]
    usual: int
    after: int


class EvidenceFile(Answer):
    """A file of evidence; `path` leads to it from where this server is."""

    name: str
    size: int
    path: str


class Evidence(Answer):
    """The evidence of one test of one run on one cell."""

    run: str
    cell: str
    test: str
    files: list[EvidenceFile]


class Decision(Answer):
    """What a person decided, or what became of it."""

    id: str
    action: str
    subject: Subject
    identity: str
    author: str
    note: str
    assignee: str
    taken: Moment


class Job(Answer):
    """A rerun or a bisection that was handed to a farm. `said` is the end of its words."""

    id: str
    action: str
    subject: Subject
    cell: str
    author: str
    taken: Moment
    state: Literal["waiting", "running", "ended"]
    status: int | None
    said: str


class Standing(Answer):
    """Where one subject stands. An acknowledgement holds for one failure, until it is gone or is another one."""

    subject: Subject
    acknowledged: Decision | None
    assignee: str
    log: list[Decision]
    jobs: list[Job]


class Triage(Answer):
    """Every subject about which somebody has decided something."""

    standings: list[Standing]


class Session(Answer):
    """Who asks, as the proxy says, and the token that every request needs which changes something."""

    user: str
    token: str
    farm: bool
    page: str


class Decide(Asked):
    """A decision. `identity` is what the person saw fail; with an `id` of its own it may be sent again."""

    action: Literal["acknowledge", "reopen", "assign"]
    subject: Subject
    identity: str = Field("", max_length=2000)
    assignee: str = Field("", max_length=100)
    note: str = Field("", max_length=4000)
    id: RecordId | None = None


class Hand(Asked):
    """Work for the farm: a test that is run again on a cell, or a bisection of what began."""

    action: Literal["rerun", "bisect"]
    subject: Subject
    cell: str = Field(max_length=300)
    metric: str = Field("", max_length=300)
    id: RecordId | None = None
