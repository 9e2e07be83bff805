"""The requests and responses of the JSON interface, as OpenAPI describes them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 1
"""Raised when a field changes its meaning or is removed; fields may be added."""

Subject = Annotated[
    str, Field(max_length=500, description="`test/KERNEL/NAME`, `step/KERNEL/COMMIT` or `cell/CELL`")
]
Moment = Annotated[float, Field(description="seconds since 1970")]
RecordId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


Kind = Literal["new", "flaky", "still", "fixed"]


class ResponseModel(BaseModel):
    """The base of all responses."""

    model_config = ConfigDict(frozen=True)


class RequestModel(BaseModel):
    """The base of all request bodies; unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(ResponseModel):
    """Why a request failed, and what to do (RFC 9457)."""

    title: str
    status: int
    detail: str = ""


class VersionFact(ResponseModel):
    """A version of a kernel."""

    commit: str
    described: str


class Range(ResponseModel):
    """The last good version and the first bad one."""

    good: VersionFact
    bad: VersionFact


class CellFact(ResponseModel):
    """A cell of a failure: when it failed last, and in which run, which leads to its evidence."""

    cell: str
    run: str
    taken: Moment


class Failure(ResponseModel):
    """A test on the cells of one kernel where it behaves alike; `nights` is for how many nights by now."""

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


class MovedMetric(ResponseModel):
    """A metric that changed; `change` is relative, on these `cells` of the `of` that measure it. The commit surely
    lies in `since`."""

    metric: str
    about: str
    change: float
    worse: bool
    cells: list[str]
    of: int
    since: Range


class Step(ResponseModel):
    """The metrics that changed at one commit; `new` is whether the last night measured it first."""

    subject: Subject
    kernel: str
    before: VersionFact
    after: VersionFact
    worse: bool
    new: bool
    moved: list[MovedMetric]


class Missing(ResponseModel):
    """A cell without a result for this many nights."""

    subject: Subject
    cell: str
    nights: int


class Night(ResponseModel):
    """The last night."""

    date: str
    began: Moment
    ended: Moment
    cells: int
    verdicts: int
    expected: int


class Facts(ResponseModel):
    """The facts of the morning. `state` is the state of the history when they were made."""

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


class Verdict(ResponseModel):
    """One verdict; `number` is its position in the order in which the history got them."""

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


class Verdicts(ResponseModel):
    """Verdicts, the latest first; give `next` as `before` to get older ones."""

    verdicts: list[Verdict]
    next: int | None


class Number(ResponseModel):
    """One sample of a metric."""

    id: str
    value: float
    unit: str
    cell: str
    about: str
    version: VersionFact
    run: str
    taken: Moment


class CellTally(ResponseModel):
    """What a run has recorded of a cell so far."""

    cell: str
    verdicts: int
    unexpected: int
    samples: int


class LiveRun(ResponseModel):
    """A run of the last day; `silent` is the seconds since its last record."""

    run: str
    began: Moment
    last: Moment
    silent: float
    verdicts: int
    unexpected: int
    samples: int
    cells: list[CellTally]


class Live(ResponseModel):
    """The runs of the last day. `usual` is the number of verdicts of the night before; `after` is where events go
    on."""

    now: Moment
    running: bool
    runs: list[LiveRun]
    usual: int
    after: int


class EvidenceFile(ResponseModel):
    """A file of evidence; `path` is relative to this server's address."""

    name: str
    size: int
    path: str


class Evidence(ResponseModel):
    """The evidence of one test of one run on one cell."""

    run: str
    cell: str
    test: str
    files: list[EvidenceFile]


class Decision(ResponseModel):
    """A person's decision, or its result."""

    id: str
    action: str
    subject: Subject
    identity: str
    author: str
    note: str
    assignee: str
    taken: Moment


class Job(ResponseModel):
    """A rerun or a bisection that was given to a farm. `said` is the end of its output."""

    id: str
    action: str
    subject: Subject
    cell: str
    author: str
    taken: Moment
    state: Literal["waiting", "running", "ended"]
    status: int | None
    said: str


class SubjectStatus(ResponseModel):
    """The status of one subject. An acknowledgement holds for one failure, until that is gone or has changed."""

    subject: Subject
    acknowledged: Decision | None
    assignee: str
    log: list[Decision]
    jobs: list[Job]


class Triage(ResponseModel):
    """Every subject that somebody has decided about."""

    standings: list[SubjectStatus]


class Session(ResponseModel):
    """The user, as named by the proxy, and the token that every changing request needs."""

    user: str
    token: str
    farm: bool
    page: str


class DecisionRequest(RequestModel):
    """A decision. `identity` is the failure that the person saw. With an `id` it may be sent again."""

    action: Literal["acknowledge", "reopen", "assign"]
    subject: Subject
    identity: str = Field("", max_length=2000)
    assignee: str = Field("", max_length=100)
    note: str = Field("", max_length=4000)
    id: RecordId | None = None


class JobRequest(RequestModel):
    """A job for the farm: rerun a test on a cell, or bisect a failure or a step."""

    action: Literal["rerun", "bisect"]
    subject: Subject
    cell: str = Field(max_length=300)
    metric: str = Field("", max_length=300)
    id: RecordId | None = None
