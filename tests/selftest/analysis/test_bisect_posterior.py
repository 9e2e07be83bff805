"""The arithmetic of a bisection, beside the same by brute force."""

from itertools import combinations, pairwise
from math import erf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, multivariate_normal

from harness.analysis.bisect.bimodality import bimodal
from harness.analysis.bisect.information_gain import BinomialChannel, GaussianChannel, entropy
from harness.analysis.bisect.likelihood import Failures, Normal, Summary, summary
from harness.analysis.bisect.model import Measure, Observations
from harness.analysis.bisect.posterior import measured_points, posterior
from harness.analysis.bisect.probe_selection import best_cuts
from harness.analysis.bisect.segmentation import segment

NOISY = Measure("boot.wall", "s")
TEST = Measure.test("tst-mmap.so")


def observations(*values: list[float], spaced: int = 10) -> list[Observations]:
    """One build at every so many points."""
    return [Observations(at * spaced, at, one) for at, one in enumerate(values)]


def prior(count: int) -> np.ndarray:
    chances = np.ones(count + 1)
    chances[0] = 0
    return chances / count


def test_a_levels_evidence_is_that_of_the_normal_distribution() -> None:
    """Beside the joint density of all boots with a level, offsets and noise of known variances; the level's is so
    wide that only its density's constant is left."""
    dice = np.random.default_rng(1)
    builds = [list(100 + dice.normal(size=count)) for count in (3, 5, 2)]
    family = Normal([summary(one) for one in builds], (100.0, 101.0), 0.3)
    wide = 1e5
    found, expected = [], []
    for kept in ((0,), (0, 1), (1, 2), (0, 1, 2)):
        values = np.concatenate([builds[at] for at in kept])
        same = np.concatenate([[at] * len(builds[at]) for at in kept])
        for grid in (0, 17, 33):
            sums = family.sums([summary(builds[at]) for at in kept]).sum(axis=0)[None]
            covariance = (
                family.sigma[grid] ** 2 * np.eye(len(values))
                + family.tau[grid] ** 2 * (same[:, None] == same)
                + wide
            )
            found.append(family.evidence(sums)[0, grid])
            joint = multivariate_normal(np.full(len(values), family.origin), covariance).logpdf(values)
            # what the family leaves out: constants of the builds alone
            left_out = sum((len(builds[at]) * np.log(2 * np.pi) + np.log(len(builds[at]))) / 2 for at in kept)
            expected.append(joint + np.log(2 * np.pi * wide) / 2 + left_out)
    assert np.array(found) == pytest.approx(np.array(expected), abs=1e-3)


def test_the_posterior_is_the_share_of_each_culprit() -> None:
    """One by one, every commit as the culprit, by the family's evidence of both sides."""
    found = measured_points(TEST, observations([0.0] * 6, [0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [1.0] * 6))
    family, said = Failures(), posterior(found, prior(30), True)
    assert said is not None
    weights = np.zeros(31)
    for culprit in range(1, 31):
        after = found.points >= culprit
        old, new = found.sums[~after].sum(axis=0), found.sums[after].sum(axis=0)
        (a, va), (b, vb) = family.level(old), family.level(new)
        upwards = 0.5 * (1 + np.vectorize(erf)((b - a) / np.sqrt(2 * (va + vb))))
        weights[culprit] = (np.exp(family.evidence(old) + family.evidence(new)) * upwards).item()
    assert said.mass == pytest.approx(weights / weights.sum(), rel=1e-9)


@given(st.lists(st.lists(st.floats(90, 110), min_size=1, max_size=12), min_size=2, max_size=7), st.booleans())
@settings(deadline=None, max_examples=80)
def test_probabilities_are_probabilities(values: list[list[float]], upwards: bool) -> None:
    found = measured_points(NOISY, observations(*values))
    count = 10 * (len(values) - 1)
    said = posterior(found, prior(count), upwards)
    assert said is not None
    assert said.mass.sum() == pytest.approx(1)
    assert np.isfinite(said.change()).all()
    assert said.mass[0] == 0
    assert sum(segment(found, prior(count)).shapes.values()) == pytest.approx(1)
    index = np.arange(count + 1, dtype=float)
    bits = GaussianChannel(found.levels, said).bits(index, index * 0, index * 0, np.array([1.0, 20.0]))  # type: ignore[arg-type]
    assert np.isfinite(bits).all()
    assert (bits <= entropy(np.array(0.5)) * np.log2(2 * len(values)) + 1e-6).all()


def test_a_measurement_of_a_test_tells_its_mutual_information() -> None:
    found = measured_points(TEST, observations([0.0] * 9 + [1.0], [1.0] * 9 + [0.0]))
    said = posterior(found, prior(10), True)
    assert said is not None
    old, new = (float(level) for level in said.levels())
    for count in (1, 4, 9):
        chances = np.array([binom.pmf(np.arange(count + 1), count, rate) for rate in (old, new)])
        weights = np.array([0.7, 0.3])
        either = weights @ chances
        expected = (weights[:, None] * chances * np.log2(chances / either)).sum()
        place = np.array([3.0])
        told = BinomialChannel(said).bits(place, place * 0, place * 0, np.array([float(count)]))
        assert told[0, 0] == pytest.approx(expected)


def test_a_noisy_measurement_tells_its_mutual_information() -> None:
    """Beside the mean over 200,000 simulated results."""
    dice = np.random.default_rng(2)
    found = measured_points(
        NOISY, observations(list(100 + dice.normal(size=40)), list(102 + dice.normal(size=40)))
    )
    said = posterior(found, prior(10), True)
    assert said is not None
    family = found.levels
    assert isinstance(family, Normal)
    place, boots = np.array([4.0]), 3.0
    told = GaussianChannel(family, said).bits(place, place * 0, place * 0, np.array([boots]))[0, 0]
    grid = said.noise
    level = [float((grid * side[0][0]).sum()) for side in (said.old, said.new)]
    spread = [float((grid * (side[1][0] + (side[0][0] - mean) ** 2)).sum())
              for side, mean in zip((said.old, said.new), level, strict=True)]  # fmt: skip
    variance = [one + float(grid @ (family.tau**2 + family.sigma**2 / boots)) for one in spread]
    is_new = dice.random(200_000) < 0.4
    results = np.where(is_new, level[1], level[0]) + dice.normal(size=200_000) * np.sqrt(
        np.where(is_new, variance[1], variance[0])
    )
    density = [np.exp(-((results - m) ** 2) / (2 * v)) / np.sqrt(v) for m, v in zip(level, variance, strict=True)]
    expected = np.log2(np.where(is_new, density[1], density[0]) / (0.6 * density[0] + 0.4 * density[1])).mean()
    assert told == pytest.approx(expected, abs=0.01)


def test_more_boots_tell_nothing_of_a_layouts_offset() -> None:
    """Levels 2 apart, offsets of 0.5: a new layout tells, a hundred boots more of a build with 400 do not."""
    dice = np.random.default_rng(3)
    levels = [100, 100, 100, 100, 102, 102, 102, 102]
    builds = [list(level + 0.5 * dice.normal() + 0.1 * dice.normal(size=40)) for level in levels]
    found = measured_points(NOISY, observations(*builds))
    said = posterior(found, prior(70), True)
    assert said is not None
    assert isinstance(found.levels, Normal)
    at, more = np.array([35.0, 35.0]), np.array([100.0])
    told = GaussianChannel(found.levels, said).bits(at, np.array([0.0, 400.0]), np.array([0.0, 101.0]), more)
    assert told[0, 0] > 0.5
    assert told[1, 0] < 0.01


@given(st.lists(st.floats(0, 1), min_size=6, max_size=12), st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_a_batch_cuts_the_probability_almost_as_evenly_as_can_be(mass: list[float], count: int) -> None:
    """Beside all sets of as many points."""
    weights = np.array([0.0, *mass])
    if weights.sum() < 0.1:
        return
    weights /= weights.sum()

    def told(points: tuple[int, ...]) -> float:
        edges = [0, *(at + 1 for at in sorted(points)), len(weights)]
        parts = np.array([weights[low:high].sum() for low, high in pairwise(edges)])
        return float(-(parts[parts > 0] * np.log2(parts[parts > 0])).sum())

    chosen = best_cuts(weights, np.ones(len(weights)), count)
    best = max(told(points) for points in combinations(range(len(weights)), count))
    assert len(set(chosen)) == len(chosen) <= count
    assert told(tuple(chosen)) >= 0.9 * best - 1e-9


def test_outliers_are_drawn_in() -> None:
    dice = np.random.default_rng(4)
    values = list(100 + dice.normal(size=50))
    assert abs(summary([*values, 1e6]).mean - summary(values).mean) < 0.5
    assert summary([1.0, 1.0, 1.0]) == Summary(3, 1.0, 0.0)


def test_modes_are_seen_and_skewed_noise_is_not_two_modes() -> None:
    dice = np.random.default_rng(5)
    shapes = {
        "normal": dice.normal(size=(6, 40)),
        "skewed": dice.lognormal(0, 0.4, size=(6, 40)),
        "heavy": dice.standard_t(3, size=(6, 40)),
        "modes": dice.normal(size=(6, 40)) + 6 * (dice.random((6, 40)) < 0.3),
    }
    assert {name for name, values in shapes.items() if bimodal(values.tolist())} == {"modes"}
