"""The simulated series: four kinds of noise and two variants, quiet or with a step before the last five points.

Every kind has mean 0; sigma, the unit, is the standard deviation of one value (drifting: around its drift).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter  # type: ignore[import-untyped]

Array = NDArray[np.float64]
LENGTH, AFTER, STEP = 200, 5, 2.0
BEGINS = LENGTH - AFTER
SEED = 20261121
OFFSET = 100.0
"""What the noise is added to, so that sigma is one percent."""
NIGHTS, SHARE = (1.4, 2.0, 10.0, 0.5), 0.02
"""A bad night multiplies a point by one of these: each series has its own; so many of its points are bad."""
GREAT, OF_GREAT = 12.0, 1000
"""The step of a series that must be found: 12% at 1% noise; and what its bad nights are drawn for."""


def independent(dice: np.random.Generator, length: int) -> Array:
    """Independent normal values."""
    return dice.normal(size=length)


def autocorrelated(dice: np.random.Generator, length: int) -> Array:
    """Stationary AR(1) of 0.5."""
    shocks = dice.normal(size=length + 100) * np.sqrt(0.75)
    return np.asarray(lfilter([1], [1, -0.5], shocks)[100:])


def bimodal(dice: np.random.Generator, length: int) -> Array:
    """Independent; one value in five is of a second mode, four inner sigmas above the first."""
    values = np.where(dice.random(length) < 0.2, 4.0, 0.0) + dice.normal(size=length)
    return (values - 0.8) / np.sqrt(1 + 16 * 0.16)


def drifting(dice: np.random.Generator, length: int) -> Array:
    """Independent normal values on a random walk that is one sigma from its start after 200 points."""
    return dice.normal(size=length) + np.cumsum(dice.normal(size=length)) / np.sqrt(LENGTH)


def even_modes(dice: np.random.Generator, length: int) -> Array:
    """Independent; two modes as frequent as each other, four inner sigmas apart."""
    return (np.where(dice.random(length) < 0.5, -2.0, 2.0) + dice.normal(size=length)) / np.sqrt(5)


def swinging(dice: np.random.Generator, length: int) -> Array:
    """Independent normal values on one period of a sine in 200 points, of amplitude one sigma and any phase."""
    return dice.normal(size=length) + np.sin(2 * np.pi * (np.arange(length) / LENGTH + dice.random()))


KINDS: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "iid": independent,
    "AR(1) 0.5": autocorrelated,
    "bimodal": bimodal,
    "drifting": drifting,
}
VARIANTS: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "even modes": even_modes,
    "slow sine": swinging,
}
ALL = {**KINDS, **VARIANTS}


def dice_for(kind: str, number: int, shifted: bool, use: int = 0) -> np.random.Generator:
    """The same dice for the same series in every run, and others for its reruns (`use`)."""
    return np.random.default_rng([SEED, list(ALL).index(kind), number, shifted, use])


def one(kind: str, number: int, shifted: bool, nights: bool = False) -> Array:
    """One series, and the sign of its step by the same dice; with bad nights, if they are wanted."""
    dice = dice_for(kind, number, shifted)
    values = OFFSET + ALL[kind](dice, LENGTH) + levels(dice, shifted)
    return values * bad_nights(kind, number, shifted) if nights else values


def bad_nights(kind: str, number: int, shifted: bool, use: int = 0) -> Array:
    """What each point is multiplied by."""
    dice = np.random.default_rng([SEED, 11, list(ALL).index(kind), number, shifted, use])
    return np.where(dice.random(LENGTH) < SHARE, times_of(number), 1.0)


def times_of(number: int) -> float:
    """What the bad nights of this series multiply by."""
    return NIGHTS[number % len(NIGHTS)]


def great(kind: str, number: int, nights: bool) -> tuple[Array, int]:
    """A series with a step of 12% that has five points or more on each side, and its place."""
    dice = np.random.default_rng([SEED, 12, list(ALL).index(kind), number])
    place = int(dice.integers(AFTER, LENGTH - AFTER + 1))
    step = GREAT * dice.choice([-1.0, 1.0]) * (np.arange(LENGTH) >= place)
    values = OFFSET + ALL[kind](dice, LENGTH) + step
    return (values * bad_nights(kind, number, True, OF_GREAT) if nights else values), place


def levels(dice: np.random.Generator, shifted: bool) -> Array:
    """The true level at each point: 0, and after a step up or down by two sigmas."""
    step = STEP * dice.choice([-1.0, 1.0]) if shifted else 0.0
    return np.where(np.arange(LENGTH) >= BEGINS, step, 0.0)
