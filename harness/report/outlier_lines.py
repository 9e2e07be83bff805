"""Lines about what is not a step, or not yet: nights that are outliers, and drift without a step."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import floor, log10

from harness.analysis.regression.drift_since import Since
from harness.analysis.regression.finding import OutlierNight
from harness.metrics.records import Metric
from harness.report.model.formatting import shown, version_name
from harness.report.morning.text import change_words, number

FLOOR = 0.005
"""A share: a smaller difference is not listed among a report's findings, just as a smaller step is not."""
MOST = 5
"""The most lines of one kind in a report; a last line says how many more there are."""


def outlier_line(aside: OutlierNight | Since) -> str:
    """`night of 2026-11-20: 1.4 times, alone: boot.wall on osv:…, 0.7 s beside 0.5 s, v0.57.0-3`."""
    values = (aside.level, aside.value) if isinstance(aside, OutlierNight) else (aside.old_level, aside.new_level)
    usual, other = (shown(value, aside.metric.unit) for value in values)
    if isinstance(aside, Since):
        way = "worse" if aside.worse else "better"
        return f"{aside.words}: {aside.metric.name} on {aside.cell}, {usual} to {other}, {way}"
    version = version_name(aside.version)
    return f"{aside.words}: {aside.metric.name} on {aside.cell}, {other} beside {usual}, {version}"


def outlier_lines(nights: Iterable[OutlierNight], crept: Iterable[Since]) -> list[str]:
    """The lines of a report: the newest nights, then the largest drifts. Several numbers of one night, or of one
    drifting metric, are one line; parts of a whole are left out."""
    by_night: dict[tuple[str, str], list[OutlierNight]] = defaultdict(list)
    for night in sorted(filter(_is_told, nights), key=lambda one: -one.taken):
        if not _is_suspected(night):
            by_night[night.day, night.standing].append(night)
    by_metric: dict[tuple[str, str, str], list[Since]] = defaultdict(list)
    for one in sorted(filter(_is_told, crept), key=lambda one: -abs(one.drift)):
        by_metric[one.cell.partition(":")[0], one.metric.name, version_name(one.since)].append(one)
    return [
        *_limited([_of_night(alike) for alike in by_night.values()], "nights that stick out, of earlier"),
        *_limited([_of_metric(alike) for alike in by_metric.values()], "metrics crept by less"),
    ]


def suspected_lines(nights: Iterable[OutlierNight]) -> list[str]:
    """The lines about the newest nights of which later ones decide whether they began a step, the next to be
    decided first: `seems +0.9%, decided in 2 nights: boot.wall on 3 cells, since v0.57.0-3`."""
    by_step: dict[tuple[int, str, bool], list[OutlierNight]] = defaultdict(list)
    for night in filter(_is_told, nights):
        if _is_suspected(night):
            by_step[night.wait, version_name(night.version), night.change > 0].append(night)
    rows = sorted(by_step.items(), key=lambda row: (row[0][0], row[0][1]))
    return _limited([_of_suspicion(wait, alike) for (wait, _, _), alike in rows], "steps are suspected")


def _is_suspected(night: OutlierNight) -> bool:
    return bool(night.wait) and night.confirmed is None


def _of_suspicion(wait: int, alike: Sequence[OutlierNight]) -> str:
    changes = sorted(night.change for night in alike)
    much = change_words(changes[len(changes) // 2], changes[0], changes[-1])
    when = f"decided in {number(wait, 'night')}"
    return f"seems {much}, {when}: {_which(alike)}, since {version_name(alike[0].version)}"


def _is_told(one: OutlierNight | Since) -> bool:
    # What lies in steps is told as steps: without them, next to nothing may have crept.
    size = one.drift if isinstance(one, Since) else one.change
    return abs(size) >= FLOOR and not one.metric.is_part


def _limited(lines: Sequence[str], what: str) -> list[str]:
    more = len(lines) - MOST
    return [*lines[:MOST], *([f"{more} more {what}"] if more > 0 else [])]


def _of_night(alike: Sequence[OutlierNight]) -> str:
    """One number as `findings` shows it; of several numbers how far they stick out, and which they are."""
    if len(alike) == 1:
        return outlier_line(alike[0])
    times = sorted(one.value / one.level for one in alike if one.level)
    ends = dict.fromkeys(map(_times, (times[0], times[-1]) if times else ()))
    much = f": {' to '.join(ends)} times" if ends else ""
    return f"{alike[0].day}{much}, {alike[0].standing}: {_which(alike)}, {version_name(alike[0].version)}"


def _of_metric(alike: Sequence[Since]) -> str:
    more = len({one.cell for one in alike}) - 1
    return outlier_line(alike[0]) + (f"; and on {more} more cell{'s' * (more > 1)}" if more else "")


def _which(alike: Sequence[OutlierNight]) -> str:
    metrics: list[Metric] = list({one.metric.name: one.metric for one in alike}.values())
    cells = list(dict.fromkeys(one.cell for one in alike))
    more = f" and {len(metrics) - 1} more" if len(metrics) > 1 else ""
    return f"{metrics[0].name}{more} on {cells[0] if len(cells) == 1 else f'{len(cells)} cells'}"


def _times(value: float) -> str:
    """A factor, with as many digits as distinguish it from 1."""
    return f"{round(value, max(0, -floor(log10(abs(value - 1) or 1)))):.12g}"
