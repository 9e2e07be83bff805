"""Chooses what to build or boot next: what is expected to reveal most about the culprit for its cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from harness.analysis.bisect.information_gain import Channel, entropy
from harness.analysis.bisect.likelihood import Array
from harness.analysis.bisect.model import Build, Builder
from harness.analysis.bisect.state import State

BOOT_COUNTS = np.array([1, 2, 3, 5, 8, 13, 20, 30, 45, 67, 100, 150, 200], dtype=float)
"""The numbers of boots that are considered at a time."""
NEGLIGIBLE = 0.01
"""The search ends if the best option reveals less than this share of what is unknown, or of a bit."""
COARSE_COUNTS = BOOT_COUNTS[[2, 6, 10]]
"""The numbers of boots for the first, rough ranking of all options; so many of the best are ranked again by all
numbers."""
FINALISTS = 5
WORTH = 0.1
"""See `_worthwhile_boots`."""
LEAST_MORE = 0.3
"""More boots of a build are at least this share of those that it has had."""
CHANCE_BETWEEN, GIVEN_UP = 0.2, 24
"""The probability that a commit between broken ones builds, divided by their number; and the number of broken ones
in a row after which no further commit between them is tried."""
LEAST_MASS = 1e-3
"""The probability from which the stretch between two builds gets an option of its own."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The best thing to do: boots up to a total of one build, or of several new ones."""

    builds: tuple[Build, ...]
    boots: tuple[tuple[Build, int], ...]


@dataclass(frozen=True, slots=True)
class _Option:
    """What could be measured: the build; its point, its informative boots and their mean; the cost without boots
    in seconds; and the number of all its boots."""

    key: Build
    measured: tuple[int, int, float]
    seconds: float
    boots: int = 0


def choose_probe(state: State, builder: Builder, mass: Array, channel: Channel) -> Probe | None:
    """The option with the most expected bits per second; None if none would reveal enough.

    `mass` (points) is the probability of each point to be the culprit.
    """
    options = [
        *_reboot_options(state),
        *_layout_options(state, builder, mass),
        *_new_build_options(state, builder, mass),
    ]
    some = _expected_bits(state, channel, options, COARSE_COUNTS)
    if some.max() <= max(NEGLIGIBLE * min(1.0, bits_missing(mass)), 1e-9):
        return None
    rate = (some / _seconds(state, options, COARSE_COUNTS)).max(axis=1)
    options = [options[at] for at in np.argsort(-rate, kind="stable")[:FINALISTS]]
    bits = _expected_bits(state, channel, options, BOOT_COUNTS)
    seconds = _seconds(state, options, BOOT_COUNTS)
    best = int((bits / seconds).max(axis=1).argmax())
    option, more = options[best], _worthwhile_boots(bits[best], seconds[best])
    if option.key in state.builds:
        return Probe((), ((option.key, option.boots + more),))
    keys = [option.key]
    if state.effort.jobs > 1 and option.key.layout == 0:
        keys = [Build(index) for index in best_cuts(mass, build_chances(state), state.effort.jobs)]
    return Probe(tuple(keys), tuple((key, more) for key in keys))


def enough_boots(state: State, mass: Array, channel: Channel) -> int:
    """The boots that a new build in the middle of the unknown range deserves; one if nothing is unknown."""
    middle = np.array([entropy(np.clip(np.cumsum(mass), 0.0, 1.0)).argmax()], dtype=float)
    ladder = BOOT_COUNTS[state.effort.most_boots >= BOOT_COUNTS]
    bits = channel.bits(middle, np.zeros(1), np.zeros(1), ladder)[0]
    if bits.max() <= NEGLIGIBLE:
        return 1
    return _worthwhile_boots(bits, state.build_seconds() + ladder * state.boot_seconds())


def _worthwhile_boots(bits: Array, seconds: Array) -> int:
    """The number of boots, of `BOOT_COUNTS`, beyond which more are not worth their time.

    It is not where bits per second peak: what one build leaves in doubt costs others later. So boots go on as long
    as they reveal, per second, a share of `WORTH` of what the build does.
    """
    rate = float((bits / seconds).max())
    best = int((bits / seconds).argmax())
    for at in range(best + 1, len(bits)):
        if bits[at] - bits[best] < WORTH * rate * (seconds[at] - seconds[best]):
            break
        best = at
    return int(BOOT_COUNTS[best])


def _expected_bits(state: State, channel: Channel, options: Sequence[_Option], ladder: Array) -> Array:
    """Expected bits (options, ladder); 0 where an option exceeds a limit."""
    index, before, mean = (
        np.array(column, dtype=float) for column in zip(*(one.measured for one in options), strict=True)
    )
    bits = channel.bits(index, before, mean, ladder)
    bits[np.array([[one.boots] for one in options]) + ladder > state.effort.most_boots] = 0.0
    # a few more boots of a build that had many reveal too little for a step of their own
    bits[before[:, None] * LEAST_MORE > ladder] = 0.0
    return bits


def _seconds(state: State, options: Sequence[_Option], ladder: Array) -> Array:
    return np.array([one.seconds for one in options])[:, None] + ladder * state.boot_seconds()


def bits_missing(mass: Array) -> float:
    """The entropy in bits of where the culprit is."""
    some = mass[mass > 0]
    return float(-(some * np.log2(some)).sum())


def best_cuts(mass: Array, chance: Array, count: int) -> list[int]:
    """At most `count` points that together reveal most of where the mass lies, if each told old from new with
    certainty.

    What they reveal is the entropy of the mass in the parts into which they cut it. Each part that a point cuts
    adds its own, so points are added greedily, and then each is placed again given the others. `chance` (points)
    is the probability that each can be built; 0 excludes it.
    """
    after = np.clip(np.cumsum(mass), 0.0, 1.0)
    chosen: list[int] = []
    for _ in range(min(count, int((chance > 0).sum()))):
        if (point := _best_cut(after, chance, chosen)) is None:
            break
        chosen.append(point)
    if len(chosen) > 1:
        for _ in range(2):
            for point in list(chosen):
                others = [one for one in chosen if one != point]
                again = _best_cut(after, chance, others)
                chosen = [*others, point if again is None else again]
    return sorted(chosen)


def _best_cut(after: Array, chance: Array, chosen: Sequence[int]) -> int | None:
    edges = np.array(sorted(chosen), dtype=int)
    part = np.searchsorted(edges, np.arange(len(after)), side="left")
    low = np.append(0.0, after[edges])[part]
    whole = np.append(after[edges], 1.0)[part] - low
    share = np.divide(after - low, whole, out=np.zeros_like(after), where=whole > 1e-12)
    bits = whole * entropy(np.clip(share, 0.0, 1.0)) * chance
    bits[edges] = 0.0
    best = int(bits.argmax())
    return best if bits[best] > 1e-9 else None


def build_chances(state: State) -> Array:
    """For each point, the probability that its commit builds; 0 if it is built, known as broken, or equal to
    another.

    Commits that don't build come in stretches: next to one, a stretch as long again is likely broken too. What
    lies between two is likelier to be broken the more of them there are.
    """
    count = state.range.last + 1
    places = np.arange(count)
    good, stretches = _stretches(state)
    chance = np.ones(count)
    for stretch in stretches:
        first, last = stretch[0], stretch[-1]
        left = int(good[good < first].max(initial=-1))
        right = int(good[good > last].min(initial=count))
        for place in stretch:
            near = np.exp(-np.abs(places - place) / (1.0 + last - first))
            chance = np.where((places > left) & (places < right), np.minimum(chance, 1 - 0.9 * near), chance)
        between = (places > first) & (places < last)
        chance[between] = np.minimum(chance[between], CHANCE_BETWEEN / len(stretch))
        chance[stretch] = 0.0
    chance[good] = 0.0
    chance[_presumed_broken(state)] = 0.0
    if state.range.binaries:
        named: dict[str, int] = {}
        for place, name in enumerate(state.range.binaries):
            if named.setdefault(name, place) != place:
                chance[place] = 0.0
    return chance


def _stretches(state: State) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """The points that were measured, and the broken ones in groups, as the measured ones separate them."""
    good = np.array(
        sorted({key.index for key in state.builds if key.layout == 0 and state.usable(key)}), dtype=int
    )
    bad = np.array(sorted({key.index for key in state.broken if key.layout == 0}), dtype=int)
    groups = np.split(bad, np.flatnonzero(np.diff(np.searchsorted(good, bad))) + 1)
    return good, [group for group in groups if len(group)]


def _presumed_broken(state: State) -> NDArray[np.bool_]:
    """For each point, whether it lies among so many broken ones that it is presumed broken too."""
    inside = np.zeros(state.range.last + 1, dtype=bool)
    for stretch in _stretches(state)[1]:
        if len(stretch) >= GIVEN_UP:
            inside[stretch[0] : stretch[-1] + 1] = True
    return inside


def separable(state: State) -> NDArray[np.bool_]:
    """For each point, whether measuring it can tell the culprits up to it from those after it."""
    inside = np.ones(state.range.last + 1, dtype=bool)
    broken = [key.index for key in state.broken if key.layout == 0]
    inside[broken] = False
    inside &= ~_presumed_broken(state)
    if state.range.binaries:
        inside &= ~np.isin(np.array(state.range.binaries), [state.range.binaries[index] for index in broken])
    return inside


def _reboot_options(state: State) -> list[_Option]:
    """More boots of existing builds."""
    keys = {state.same_as(key) for key in state.builds if state.usable(key)}
    return [
        _Option(key, (key.index, state.informative_boots(key), state.mean(key)), 0.0, state.count(key))
        for key in sorted(keys)
    ]


def _layout_options(state: State, builder: Builder, mass: Array) -> list[_Option]:
    """Another layout of a commit that is built: it has another offset."""
    tried: dict[int, int] = {}
    for key in (*state.builds, *state.broken):
        tried[key.index] = max(key.layout, tried.get(key.index, 0))
    options = []
    for index in sorted({key.index for key in state.builds if state.usable(key)}):
        key = Build(index, tried[index] + 1)
        if key.layout < builder.layouts:
            seconds = 0.0 if key in builder.cached else state.layout_seconds()
            options.append(_Option(key, (index, 0, 0.0), seconds))
    return options


def _new_build_options(state: State, builder: Builder, mass: Array) -> list[_Option]:
    """Commits that are not built: the best of all, and the best of each stretch between two builds; and the same
    among the cached ones."""
    chance = build_chances(state)
    cached = np.zeros(len(chance), dtype=bool)
    cached[[key.index for key in builder.cached if key.layout == 0]] = True
    edges = [0, *sorted({key.index for key in state.builds}), len(chance)]
    options = []
    for kept, seconds in ((cached, 0.0), (~cached, state.build_seconds())):
        usable = np.where(kept, chance, 0.0)
        points = [best for best in [_best_cut(np.cumsum(mass), usable, [])] if best is not None]
        for low, high in pairwise(edges):
            if (part := mass[low : high + 1]).sum() > LEAST_MASS:
                best = _best_cut(np.cumsum(part) / part.sum(), usable[low : high + 1], [])
                points.extend([] if best is None else [low + best])
        # a failed build reveals nothing: divide the cost by the probability of success
        options += [_Option(Build(at), (at, 0, 0.0), seconds / float(chance[at])) for at in dict.fromkeys(points)]
    return options
