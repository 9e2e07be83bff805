"""Lists the environments in which a history was recorded, each once, with what was measured there."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.metrics.history.verdict_table import VerdictTable
from harness.metrics.records import Environment, Sample
from harness.report.model.data import ReportData

MOST_HOSTS = 40
"""Rows of the list. If there are more hosts, equal ones share a row."""

Used = tuple[Environment, int, float]
"""An environment, the number of its records, and when the last of them was taken."""


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
    used = (True, _by_samples(report_data.samples)), (False, _by_verdicts(report_data.verdicts))
    for is_sample, environments in used:
        for environment, count, latest in environments:
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


def _by_verdicts(table: VerdictTable) -> Iterator[Used]:
    """The environments of verdicts."""
    numbers = table.rows["environment"]
    counts, latest = np.bincount(numbers), np.zeros(len(table.environments))
    np.maximum.at(latest, numbers, table.rows["taken"])
    for environment, count, last in zip(table.environments, counts.tolist(), latest.tolist(), strict=False):
        if count:
            yield environment, count, last


def _by_samples(samples: Iterable[Sample]) -> Iterator[Used]:
    """The environments of samples; of equal ones each may stand for itself."""
    found: dict[int, list[Any]] = {}
    last, known = None, list[Any]()
    for row in samples:
        # By identity, for to compare them by all their words takes much longer.
        where, taken = row.environment, row.taken
        if where is not last:
            last, known = where, found.setdefault(id(where), [where, 0, taken])
        known[1] += 1
        if taken > known[2]:
            known[2] = taken
    yield from map(tuple, found.values())


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
