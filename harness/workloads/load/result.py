"""The result of a load: one shape for every generator, with how far it can be trusted."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.workloads.load.histogram import decoded, percentile


@dataclass(frozen=True, slots=True)
class Second:
    """The requests that ended in one second. Latencies are in microseconds; not a number if no answer was
    right."""

    requests: int
    failures: int
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Generator:
    """How the generator itself fared; a result that it limited says nothing about the server.

    `cpu_share` is of one cpu, for its busiest thread, which can use no more than one. `schedule_lag_p99` is in
    microseconds: how late it started requests that were due while a user was free. `why` says by what it was
    `limited`.
    """

    cpu_share: float = 0.0
    schedule_lag_p99: float = 0.0
    limited: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What a generator measured of a server.

    `mode` is "closed loop" or "constant rate". `started` is in seconds since 1970. `seconds` lasts to the last
    answer, and at least for the load's duration unless it was stopped. `requests` counts right answers; only those
    are in `histogram` (microseconds, an HDR histogram in its own base64 form) and in `bytes`, unless the tool's
    module says otherwise. `failures` counts the others by kind. `by_second` is empty for tools that do not report
    seconds. If `error` is set, the generator itself failed, and nothing else here counts.
    """

    tool: str
    scenario: str
    mode: str
    started: float = 0.0
    seconds: float = 0.0
    requests: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    by_second: tuple[Second, ...] = ()
    histogram: str = ""
    bytes: int = 0
    generator: Generator = Generator()
    error: str = ""

    @property
    def throughput(self) -> float:
        """Right answers per second."""
        return self.requests / self.seconds if self.seconds else 0.0

    def percentile(self, p: float) -> float:
        """The latency, in microseconds, that `p` percent of the right answers did not exceed, to three digits.

        Not a number if no answer was right.
        """
        return percentile(decoded(self.histogram), p) if self.histogram else math.nan

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON, with null for "not a number"."""
        row = asdict(self)
        for second in row["by_second"]:
            second.update({key: None for key, value in second.items() if value != value})
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Result":
        """Read what `to_json` wrote."""
        seconds: list[dict[str, Any]] = [
            {key: math.nan if value is None else value for key, value in second.items()}
            for second in row["by_second"]
        ]
        by_second = tuple(Second(**second) for second in seconds)
        return cls(**{**row, "by_second": by_second, "generator": Generator(**row["generator"])})
