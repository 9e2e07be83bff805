"""Joins the noisy numbers of temporary machines into series that are long enough to judge.

A runner of a cloud has another name each night, and one of a few processors. Numbers of one class of machines may
be compared; those of another class lie at another level. Each class is brought to the level of the largest by one
factor, which its points and their neighbours in time decide: a class whose nights all lie after a step loses none
of it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.analysis.regression.grouping import (
    Group,
    by_version,
    hosts_of_the_moment,
    kernel_of,
    sort_by_time,
    value_of,
)
from harness.metrics.records import Sample

FEWEST = 8
"""Points of a class from which its level is known. A smaller class is not joined, for its factor would take its
noise away."""

SIDE = 3
"""Neighbours in time, to either side, that a point is compared with."""

ROUNDS = 3
"""How often the levels of all classes are worked out; they change by less than a tenth of the noise after that."""

Array = NDArray[np.float64]


def join_host_classes(groups: Sequence[Group]) -> list[Group]:
    """Join groups that differ only in their machines, of kernels that are measured on temporary machines. The
    values of a joined group are those of its largest class, and of others times a factor."""
    temporary = hosts_of_the_moment(group.samples for group in groups)
    found: list[Group] = []
    by_number: dict[tuple[str, ...], list[Group]] = defaultdict(list)
    for group in groups:
        one = group.samples[0]
        if one.metric.exact or not temporary[kernel_of(one.cell)]:
            found.append(group)
            continue
        where = one.environment
        name = one.metric.name, one.cell, one.subject, where.accelerator, where.emulator, where.firmware
        by_number[(*name, group.builder, one.procedure)].append(group)
    return found + [group for alike in by_number.values() for group in _join(alike)]


def _join(groups: Sequence[Group]) -> list[Group]:
    """One group of all classes that are large enough; the rest as they are."""
    classes: dict[object, list[Group]] = defaultdict(list)
    for group in groups:
        classes[replace(group.samples[0].environment, host="", load=0.0)].append(group)
    large = [alike for alike in classes.values() if sum(len(_points(group)) for group in alike) >= FEWEST]
    if not large:
        return list(groups)
    small = [group for alike in classes.values() if all(alike is not one for one in large) for group in alike]
    points = sorted(
        (point[0].taken, number, value_of(point))
        for number, alike in enumerate(large) for group in alike for point in _points(group)
    )  # fmt: skip
    values = np.array([value for _, _, value in points])
    factors = [1.0]
    if len(large) > 1:
        if not (np.isfinite(values) & (values > 0)).all():
            return list(groups)
        factors = list(class_factors(values, np.array([number for _, number, _ in points])))
    samples = [
        one if factor == 1 else replace(one, value=one.value * factor)
        for factor, alike in zip(factors, large, strict=True) for group in alike for one in group.samples
    ]  # fmt: skip
    sort_by_time(samples)
    return [*small, Group(samples, groups[0].builder, exact=False)]


def _points(group: Group) -> list[list[Sample]]:
    """The samples of each version."""
    return list(by_version(group.samples).values())


def class_factors(values: Array, classes: NDArray[np.int64]) -> Array:
    """What the positive `values` of each class, given in the order of measuring, are multiplied by; 1 for the
    largest class."""
    logs, count = np.log(values), int(classes.max()) + 1
    levels = np.array([np.median(logs[classes == number]) for number in range(count)])
    for _ in range(ROUNDS):
        around = _running_median(logs - levels[classes])
        levels = np.array([np.median((logs - around)[classes == number]) for number in range(count)])
    factors: Array = np.exp(levels[int(np.bincount(classes).argmax())] - levels)
    return factors


def _running_median(series: Array) -> Array:
    """The median of the neighbours of each point, itself left out."""
    size = len(series)
    at = np.arange(size)[:, None] + np.array([*range(-SIDE, 0), *range(1, SIDE + 1)])
    inside = np.where((at >= 0) & (at < size), series[np.clip(at, 0, size - 1)], np.nan)
    medians: Array = np.nanmedian(inside, axis=1)
    return medians
