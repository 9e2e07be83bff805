"""Lists the environments in which a history was recorded, each once, with what was measured there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Environment, Sample
from harness.report.model.data import ReportData

MOST_HOSTS = 40
"""Rows of the list. If there are more hosts, equal ones share a row."""


@dataclass(frozen=True, slots=True)
class Place:
    """An environment, whatever the load of its host.

    `loads` is the range of the load. `latest` is when it was last used, in seconds since 1970.
    """

    environment: Environment
    samples: int
    verdicts: int
    loads: tuple[float, float]
    latest: float


def places_of(report_data: ReportData) -> Sequence[Place]:
    """All environments, the one that was last used first."""
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


def _used(rows: Sequence[Sample] | Sequence[VerdictRecord]) -> dict[Environment, tuple[int, float]]:
    """The number of records of each environment, and when the last of them was taken."""
    found: dict[int, list[Any]] = {}
    for row in rows:
        # By identity, for to compare them by all their words takes much longer; those that are equal meet below.
        known = found.get(id(row.environment))
        if known is None:
            found[id(row.environment)] = [row.environment, 1, row.taken]
        else:
            known[1] += 1
            known[2] = max(known[2], row.taken)
    alike: dict[Environment, tuple[int, float]] = {}
    for environment, count, latest in found.values():
        before = alike.get(environment, (0, 0.0))
        alike[environment] = before[0] + count, max(before[1], latest)
    return alike


def _folded(places: Sequence[Place]) -> list[Place]:
    """Join hosts that differ in their name alone: where each night has a new host, names say nothing."""
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
