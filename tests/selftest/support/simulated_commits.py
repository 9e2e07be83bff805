"""Simulated commits for bisections: levels at points, noise, layouts, broken builds, hosts that become slower."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.analysis.bisect.answer import Answer
from harness.analysis.bisect.journal import MemoryJournal
from harness.analysis.bisect.model import FRESH, REVERTED, Broken, Build, Built, CommitRange, Effort, Kind, Measure
from harness.analysis.bisect.session import Bisection

EXACT = Measure("boot.instructions", "", Kind.EXACT, layout=0.0)
NOISY = Measure("boot.wall", "s", layout=0.0)
MOVED = Measure("boot.wall", "s")
TEST = Measure.test("tst-mmap.so")


@dataclass
class Commits:
    """A simulated builder: the level at each point, noise and layout offsets relative to it; what is broken; which
    commits share a binary; how often the host has become slower, by boots."""

    levels: Sequence[float]
    noise: float = 0.0
    offset: float = 0.0
    layouts: int = 1
    broken: Collection[int] = ()
    binaries: Sequence[int] = ()
    slower: Mapping[int, float] = field(default_factory=dict)
    only_laid_out: Mapping[int, float] = field(default_factory=dict)
    stale: Mapping[int, float] = field(default_factory=dict)
    modes: float = 0.0
    cached: Collection[Build] = ()
    built: list[Build] = field(default_factory=list)
    boots: int = 0

    def build(self, key: Build) -> Built | Broken:
        self.built.append(key)
        if key.index in self.broken:
            return Broken("does not compile")
        binary = self.binaries[key.index] if self.binaries else key.index
        return Built(f"{binary}-{key.layout}", 180.0, key in self.cached)

    def boot(self, key: Build) -> float | Broken:
        self.boots += 1
        level = self.levels[key.index] + (self.stale.get(key.index, 0.0) if key.layout == 0 else 0.0)
        if key.layout == REVERTED:
            level = self.levels[-1] - (self.levels[key.index] - self.levels[key.index - 1])
        if 0 < level < 1:
            return float(np.random.default_rng([9, key.index, self.boots]).random() < level)
        binary = self.binaries[key.index] if self.binaries else key.index
        layout = np.random.default_rng([7, binary, key.layout % 97])
        dice = np.random.default_rng([8, key.index, key.layout % 97, self.boots])
        offset = self.offset * layout.normal() + (
            self.only_laid_out.get(key.index, 0.0) if key.layout in (0, FRESH) else 0.0
        )
        mode = self.modes * (dice.random() < 0.3)
        speed = float(np.prod([by for since, by in self.slower.items() if self.boots > since]))
        return float(level * (1 + offset) * (1 + self.noise * dice.normal() + mode) * speed)


def line(count: int, binaries: Sequence[str] = ()) -> CommitRange:
    """So many commits from good to bad, with the good end."""
    return CommitRange(tuple(f"{at:040x}" for at in range(count + 1)), tuple(binaries))


def step(count: int, *changes: tuple[int, float], first: float = 100.0) -> list[float]:
    """Levels that change at points to new levels."""
    levels = [first] * (count + 1)
    for at, level in changes:
        levels[at:] = [level] * (count + 1 - at)
    return levels


def bisected(commits: Commits, measure: Measure, effort: Effort | None = None) -> Answer:
    """The answer."""
    return Bisection(line(len(commits.levels) - 1), measure, commits, MemoryJournal(), effort or Effort()).run()
