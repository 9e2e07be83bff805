"""Noisy numbers of machines that are another every night: as series of one level, in which changes are found."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from harness.analysis.regression.findings import findings
from harness.analysis.regression.grouping import grouped
from harness.analysis.regression.host_classes import FEWEST, class_factors, join_host_classes
from harness.metrics.records import Environment, Metric, Sample, Version

CELL = "osv:x86_64-qemu-rofs-all"
USED = Metric("memory.used", "B")
SIZE = Metric("size.kernel", "B", exact=True)
CPUS = ("AMD EPYC 7763", "AMD EPYC 9V74", "Intel Xeon 8370C")
LEVELS = (1.0, 1.3, 0.8)
NIGHTS, STEP = 60, 45


def nights(
    change: float, seed: int, cpu: Callable[[int, Random], int] = lambda night, dice: dice.randrange(3)
) -> list[Sample]:
    """Nights of a runner with another name each, and one of three processors: two samples of a noisy number, and
    an exact one."""
    dice, found = Random(seed), []
    for night in range(NIGHTS):
        which = cpu(night, dice)
        where = Environment(f"fv-az{night}", CPUS[which], 4, "none", "kvm", "QEMU 8.2.2", "6.8.0")
        version = Version(f"{night:040x}", f"{night}", f"v0.57.0-{night}", 1e9 + 86400 * night)
        level = 3e7 * LEVELS[which] * (1 + change * (night >= STEP))
        for number, (metric, value) in enumerate(
            [(SIZE, 9e6), *((USED, level * dice.gauss(1, 0.005)) for _ in range(2))]
        ):
            found.append(
                Sample(
                    metric, value, CELL, "", version, where, f"night-{night}", 1e9 + 86400 * night + number,
                    id=f"{night}-{number}",
                )
            )  # fmt: skip
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_step_is_found_though_no_machine_has_two_nights(seed: int) -> None:
    """Once, in its place, as large as it is; a quiet series has none."""
    (one,) = findings(nights(0.03, seed))
    assert one.after.described == f"v0.57.0-{STEP}" and one.change == pytest.approx(0.03, abs=0.005)
    assert min(abs(one.old_level / 3e7 / level - 1) for level in LEVELS) < 0.005, "a level that a class has"
    assert findings(nights(0.0, seed)) == []


def test_a_class_that_first_comes_with_a_step_hides_none_of_it() -> None:
    samples = nights(0.03, 5, lambda night, dice: dice.randrange(2) if night < STEP else dice.randrange(3))
    (one,) = findings(samples)
    assert one.after.described == f"v0.57.0-{STEP}" and one.change == pytest.approx(0.03, abs=0.005)


def test_another_fleet_from_a_night_on_is_no_change() -> None:
    """What the machines changed and what a commit did can't be told apart then, so nothing is said."""
    assert findings(nights(0.0, 1, lambda night, dice: int(night >= STEP))) == []


def test_a_class_of_a_few_nights_is_left_out() -> None:
    """Its one factor would take its noise away."""
    few = nights(0.0, 1, lambda night, dice: 2 if night % 10 == 0 else 0)
    noisy = [group for group in join_host_classes(grouped(few)) if group.metric == USED]
    apart = [group for group in noisy if group.samples[0].environment.cpu == CPUS[2]]
    (joined,) = [group for group in noisy if group not in apart]
    assert len(apart) == NIGHTS // 10 < FEWEST
    assert len(joined.samples) == 2 * (NIGHTS - len(apart))


def test_machines_that_stay_keep_series_of_their_own() -> None:
    samples = [replace(one, environment=replace(one.environment, host="runner")) for one in nights(0.03, 1)]
    groups = grouped(samples)
    assert join_host_classes(groups) == groups


def test_classes_are_brought_to_the_level_of_the_largest() -> None:
    dice = np.random.default_rng(1)
    classes = dice.integers(0, 3, 90)
    classes[:40] = 1
    values = np.array(LEVELS)[classes] * dice.normal(1, 0.002, 90)
    assert class_factors(values, classes) == pytest.approx([1.3, 1.0, 1.3 / 0.8], rel=0.003)
