"""Where everything was measured: each environment once, with what was measured there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.history.records import Judged
from harness.measure import Environment, Sample
from harness.report.page.told import Told


@dataclass(frozen=True, slots=True)
class Place:
    """An environment whatever its load; `loads` is the range of that; `latest` in seconds since 1970."""

    environment: Environment
    samples: int
    verdicts: int
    loads: tuple[float, float]
    latest: float


def places_of(told: Told) -> Sequence[Place]:
    """All environments, the one last used first."""
    found: dict[Environment, Place] = {}
    rows: list[Sample | Judged] = [*told.samples, *told.judged]
    for row in rows:
        load = row.environment.load
        key = replace(row.environment, load=0.0)
        old = found.get(key) or Place(key, 0, 0, (load, load), 0.0)
        found[key] = Place(
            key,
            old.samples + isinstance(row, Sample),
            old.verdicts + isinstance(row, Judged),
            (min(old.loads[0], load), max(old.loads[1], load)),
            max(old.latest, row.taken),
        )
    return sorted(found.values(), key=lambda place: -place.latest)
