"""Where everything was measured: each environment once, with what was measured there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.metrics.history.records import Judged
from harness.metrics.records import Environment, Sample
from harness.report.model.data import ReportData

MOST_HOSTS = 40
"""Rows of a report: of more hosts, those of one kind are one row."""


@dataclass(frozen=True, slots=True)
class Place:
    """An environment whatever its load; `loads` is the range of that; `latest` in seconds since 1970."""

    environment: Environment
    samples: int
    verdicts: int
    loads: tuple[float, float]
    latest: float


def places_of(report_data: ReportData) -> Sequence[Place]:
    """All environments, the one last used first."""
    found: dict[Environment, Place] = {}
    for is_sample, rows in ((True, report_data.samples), (False, report_data.judged)):
        for environment, (count, latest) in _used(rows).items():
            load = environment.load
            key = replace(environment, load=0.0)
            old = found.get(key) or Place(key, 0, 0, (load, load), 0.0)
            found[key] = Place(
                key,
                old.samples + count * is_sample,
                old.verdicts + count * (not is_sample),
                (min(old.loads[0], load), max(old.loads[1], load)),
                max(old.latest, latest),
            )
    places = sorted(found.values(), key=lambda place: (-place.latest, repr(place.environment)))
    return places if len(places) <= MOST_HOSTS else _folded(places)


def _used(rows: Sequence[Sample] | Sequence[Judged]) -> dict[Environment, tuple[int, float]]:
    """How many records each environment has, and when the last was taken."""
    found: dict[int, list[Any]] = {}
    last, known = None, list[Any]()
    for row in rows:
        # By identity, for to compare them by all their words takes much longer; those that are equal meet below.
        where, taken = row.environment, row.taken
        if where is not last:
            last, known = where, found.setdefault(id(where), [where, 0, taken])
        known[1] += 1
        if taken > known[2]:
            known[2] = taken
    alike: dict[Environment, tuple[int, float]] = {}
    for environment, count, latest in found.values():
        before = alike.get(environment, (0, 0.0))
        alike[environment] = before[0] + count, max(before[1], latest)
    return alike


def _folded(places: Sequence[Place]) -> list[Place]:
    """Hosts of one kind as one: where every night has another, their names say nothing."""
    kinds: dict[Environment, list[Place]] = {}
    for place in places:
        kinds.setdefault(replace(place.environment, host=""), []).append(place)
    return [_as_one(alike) for alike in kinds.values()][:MOST_HOSTS]


def _as_one(alike: Sequence[Place]) -> Place:
    first = alike[0]
    hosts = {place.environment.host for place in alike}
    name = first.environment.host if len(hosts) == 1 else f"{len(hosts)} hosts, the last {first.environment.host}"
    return Place(
        replace(first.environment, host=name), sum(place.samples for place in alike),
        sum(place.verdicts for place in alike),
        (min(place.loads[0] for place in alike), max(place.loads[1] for place in alike)), first.latest,
    )  # fmt: skip
