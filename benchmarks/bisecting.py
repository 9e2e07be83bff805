"""`python -m benchmarks bisecting`: the bisection on simulated lines of 1,000 commits, beside `git bisect run`.

Writes its tables into docs/results/bisect.md and draws bisect-calibration.svg beside it. The figures are the same
in every run.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import Pool
from multiprocessing.pool import Pool as Processes
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import beta

from benchmarks import merges
from harness.analysis.bisect.answer import BisectOutcome
from harness.analysis.bisect.conclusion import conclude
from harness.analysis.bisect.journal import MemoryJournal
from harness.analysis.bisect.model import Broken, Build, Built, CommitRange, Effort, Failure, Kind, Measure
from harness.analysis.bisect.policy import blocks
from harness.analysis.bisect.posterior import measured_points, posterior
from harness.analysis.bisect.session import Bisection
from harness.core.errors import HarnessError

COMMITS, TRIALS, SEED = 1000, 1000, 20261121
RESULTS = Path(__file__).parents[1] / "docs/results"
BEGIN, END = "<!-- simulated: begin -->", "<!-- simulated: end -->"
BUILD, LINK = 180.0, 10.0
"""Seconds that a commit and that another layout of it take, as on OSv."""
LEVEL = 100.0
SPOILED = (1.4, 2.0, 10.0, 0.5)
SHORTEST, STRETCH = 0.03, 0.3
"""The share of the commits that another bug in the middle hides."""
BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class Case:
    """A measure: relative shift, noise of a boot and offset of a layout, or chances to fail; how many `layouts` of
    a commit can be built; the share of commits with their parent's binary; and what is asked of the bisection.

    `bad_boots` is the share of boots that a host spoils: a number of theirs is one of `SPOILED` times what it
    would be. `others` is the share of boots, anywhere, that end in a failure of another cause, and `middle` is
    whether all boots of a stretch of the commits before or after the culprit do.
    """

    name: str
    kind: Kind
    asked: str
    shift: float = 0.02
    noise: float = 0.0
    offset: float = 0.0
    fails: tuple[float, float] = (0.1, 0.9)
    layouts: int = 1
    equal: float = 0.0
    bad_boots: float = 0.0
    others: float = 0.0
    middle: bool = False

    @property
    def measure(self) -> Measure:
        exact = Measure("simulated", "", Kind.EXACT, layout=0.0)
        return {Kind.EXACT: exact, Kind.NOISY: Measure("simulated"), Kind.TEST: Measure.test("simulated")}[
            self.kind
        ]


CLAIMS = "99% of what is claimed is right"
CASES = (
    Case("exact", Kind.EXACT, "all right, at most 12 builds"),
    Case("2% shift, 2% noise", Kind.NOISY, "99.5% right, 95% within 13 builds", noise=0.02),
    Case("2% shift, 5% noise", Kind.NOISY, "99% right, at most 20 builds", noise=0.05),
    Case(
        "2% shift, 2% noise, 0.5% layout", Kind.NOISY, "99% right, at most 25 builds",
        noise=0.02, offset=0.005, layouts=16,
    ),
    Case("test, 10% then 90%", Kind.TEST, "99% right, 20 builds on average"),
    Case("2% shift, 2% noise, a third equal", Kind.NOISY, "no equal is blamed", noise=0.02, equal=1 / 3),
    Case("exact, 2% of boots spoiled", Kind.EXACT, CLAIMS, bad_boots=0.02),
    Case("2% shift, 2% noise, 2% of boots spoiled", Kind.NOISY, CLAIMS, noise=0.02, bad_boots=0.02),
    Case(
        "2% shift, 2% noise, 0.5% layout, 2% of boots spoiled", Kind.NOISY, CLAIMS,
        noise=0.02, offset=0.005, layouts=16, bad_boots=0.02,
    ),
    Case("test, 10% then 90%, 5% fail otherwise", Kind.TEST, CLAIMS, others=0.05),
    Case("test, never then always, another bug in the middle", Kind.TEST, CLAIMS, fails=(0.0, 1.0), middle=True),
    Case("test, 10% then 90%, 5% otherwise, another in the middle", Kind.TEST, CLAIMS, others=0.05, middle=True),
)  # fmt: skip


@dataclass(slots=True)
class World:
    """The simulated builder: one culprit, and binaries that some commits share with their parents."""

    case: Case
    dice: np.random.Generator
    culprit: int
    binaries: Sequence[int]
    hidden: range = range(0)
    offsets: dict[tuple[int, int], float] = field(default_factory=dict)
    cached: Collection[Build] = ()

    @property
    def layouts(self) -> int:
        return self.case.layouts

    def build(self, key: Build) -> Built | Broken:
        return Built(f"{self.binaries[key.index]}-{key.layout}", LINK if key.layout else BUILD)

    def boot(self, key: Build) -> float | Failure | Broken:
        case, changed = self.case, key.index >= self.culprit
        if case.kind is Kind.TEST:
            if key.index in self.hidden or self.dice.random() < case.others:
                return Failure("another" if key.index in self.hidden else "of another cause")
            return Failure("sought") if self.dice.random() < case.fails[changed] else 0.0
        place = (self.binaries[key.index], key.layout)
        if place not in self.offsets:
            self.offsets[place] = case.offset * float(self.dice.normal())
        noise = case.noise * float(self.dice.normal())
        if self.dice.random() < case.bad_boots:
            noise = float(self.dice.choice(SPOILED)) * (1 + noise) - 1
        return LEVEL * (1 + case.shift * changed) * (1 + self.offsets[place] + noise)


@dataclass(frozen=True, slots=True)
class Trial:
    """One bisection: whether its answer is right, whether it blamed a commit with its parent's binary, what it
    claimed and used (`builds` of commits, `links` of further layouts of these); what was believed most on the way,
    and whether rightly; and what the script answered."""

    answered: bool
    right: bool
    blamed_equal: bool
    claimed: float
    builds: int
    links: int
    boots: int
    beliefs: tuple[tuple[float, bool], ...]
    script: bool


def trial(number: int, case: Case) -> Trial:
    """The same in every run."""
    dice = np.random.default_rng([SEED, CASES.index(case), number])
    fresh = dice.random(COMMITS + 1) >= case.equal
    fresh[0] = True
    culprit = int(dice.choice(np.flatnonzero(fresh)[1:]))
    binaries = [int(one) for one in np.maximum.accumulate(np.where(fresh, np.arange(COMMITS + 1), 0))]
    line = CommitRange(tuple(map(str, range(COMMITS + 1))))
    hidden = _stretch(dice, culprit) if case.middle else range(0)
    world = World(case, dice, culprit, binaries, hidden)
    bisection = Bisection(line, case.measure, world, MemoryJournal(), Effort())
    beliefs = []
    script = _script(World(case, np.random.default_rng([SEED, number]), culprit, binaries, hidden)) == culprit
    try:
        while (ended := bisection.advance()) is None:
            if case.kind is not Kind.EXACT and len(bisection.state.observations()) > 1:
                beliefs.append(_belief(bisection, culprit))
    except HarnessError:  # an end of an exact number whose two boots differ
        state = bisection.state
        return Trial(False, False, False, 0.0, len(state.builds), 0, state.boots, tuple(beliefs), script)
    answer = conclude(bisection.state, ended)
    points = answer.culprits[0].points if answer.culprits else ()
    answered = answer.outcome is BisectOutcome.FOUND
    return Trial(
        answered,
        answered and len(answer.culprits) == 1 and points == (culprit,),
        answered and any(binaries[at] == binaries[at - 1] for one in answer.culprits for at in one.points),
        answer.culprits[0].probability if answer.culprits else 0.0,
        answer.builds - answer.layouts,
        answer.layouts,
        answer.boots,
        tuple(beliefs),
        script,
    )


def _stretch(dice: np.random.Generator, culprit: int) -> range:
    """Commits that another bug hides, away from the ends and from the culprit and its parent."""
    while True:
        length = int(COMMITS * dice.uniform(SHORTEST, STRETCH))
        first = int(dice.integers(1, COMMITS - length))
        if not first - 1 <= culprit <= first + length:
            return range(first, first + length)


def _belief(bisection: Bisection, culprit: int) -> tuple[float, bool]:
    """The likeliest commit's probability at this moment, and whether it is the culprit."""
    state = bisection.state
    suspects = np.array(state.range.suspects(), dtype=float)
    found = posterior(measured_points(state.measure, state.observations()), suspects / suspects.sum(), True)
    if found is None:
        return 0.0, False
    masses = blocks(state, found.mass)
    return float(masses.max()), int(found.mass.argmax()) == culprit


def _script(world: World, boots: int = 10) -> int:
    """What `git bisect run` answers with a sensible script: so many boots of each build, their mean beside the
    middle of both ends' means."""

    def mean(index: int) -> float:
        got = [world.boot(Build(index)) for _ in range(boots)]
        return float(np.mean([1.0 if isinstance(one, Failure) else one for one in got]))

    good, bad = 0, COMMITS
    middle = (mean(good) + mean(bad)) / 2
    while bad - good > 1:
        at = (good + bad) // 2
        good, bad = (good, at) if mean(at) > middle else (at, bad)
    return bad


def bisecting(jobs: int) -> None:
    """All cases, the tables and the plot."""
    done: dict[Case, list[Trial]] = {}
    began = monotonic()
    with Pool(jobs) as pool:
        for case in CASES:
            done[case] = pool.map(partial(trial, case=case), range(TRIALS), chunksize=10)
            print(_row(case, done[case]), f"{monotonic() - began:.0f} s", flush=True)
        branches = _branches(pool)
    page = RESULTS / "bisect.md"
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{_tables(done)}\n\n{branches}\n{END}{after}")
    _plot(done)


def _branches(pool: Processes) -> str:
    """What came of culprits in branches that had merged the mainline back."""
    others = 0.05
    with TemporaryDirectory() as folder:
        root = Path(folder) / "repository"
        merges.repository(root)
        mainline = len(merges.known(root, "start", "master").commits) - 1
        ways = [(root, (SEED, number), others) for number in range(TRIALS)]
        done = pool.starmap(merges.answered, ways, chunksize=10)
    claimed, right = sum(row[1] for row in done), sum(row[2] for row in done)
    low, high = _interval(right, claimed)
    return (
        f"Branches that had merged the mainline back: {TRIALS:,} bisections of {mainline:,} commits on the first "
        f"parent, with {merges.BRANCHES} branches of {merges.LENGTH} commits, each with {len(merges.BACK)} merges "
        f"of the mainline; a test that fails in 10% of its runs, then 90%, and otherwise in {others:.0%}; the "
        f"culprit is in a branch. A commit of a branch was claimed {claimed:,} times, {right / claimed:.1%} of "
        f"them rightly ({low:.1%} to {high:.1%})."
    )


def _tables(done: Mapping[Case, Sequence[Trial]]) -> str:
    rows = [
        f"{TRIALS:,} bisections of {COMMITS:,} commits each; builds with the ends; a layout is a link of what "
        f"is built, {LINK:.0f} s where a build is {BUILD:.0f} s. `git bisect run` boots each build 10 times and "
        "compares their mean with the middle of the ends'; it takes 12 builds.\n",
        "| measure | asked | right | 95% interval | wrong | not answered | builds: mean, 95%, most "
        "| layouts: mean, most | boots: mean | `git bisect run` right |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_row(case, trials) for case, trials in done.items()),
        "",
        "| measure | 99% claimed | of them right | within 12 | 13 | 20 | 25 builds | equals blamed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case, trials in done.items():
        claimed = [one for one in trials if one.answered and one.claimed >= 0.99]
        within = " | ".join(f"{np.mean([one.builds <= most for one in trials]):.1%}" for most in (12, 13, 20, 25))
        right = np.mean([one.right for one in claimed])
        blamed = sum(one.blamed_equal for one in trials)
        rows.append(f"| {case.name} | {len(claimed):,} | {right:.2%} | {within} | {blamed} |")
    return "\n".join(rows)


def _row(case: Case, trials: Sequence[Trial]) -> str:
    count, right = len(trials), sum(one.right for one in trials)
    low, high = _interval(right, count)
    wrong = sum(one.answered and not one.right for one in trials)
    builds, links = [one.builds for one in trials], [one.links for one in trials]
    return (
        f"| {case.name} | {case.asked} | {right / count:.1%} | {low:.1%} to {high:.1%} | {wrong} "
        f"| {sum(not one.answered for one in trials)} "
        f"| {np.mean(builds):.1f}, {np.percentile(builds, 95):.0f}, {max(builds)} "
        f"| {np.mean(links):.1f}, {max(links)} "
        f"| {np.mean([one.boots for one in trials]):.0f} | {np.mean([one.script for one in trials]):.1%} |"
    )


def _interval(right: int, count: int) -> tuple[float, float]:
    """Clopper and Pearson 1934, 95%."""
    low = float(beta.ppf(0.025, right, count - right + 1)) if right else 0.0
    return low, float(beta.ppf(0.975, right + 1, count - right)) if right < count else 1.0


def _plot(done: Mapping[Case, Sequence[Trial]]) -> None:
    """How often the likeliest commit was the culprit, by how likely it was said to be, at every step."""
    matplotlib.rcParams["svg.hashsalt"] = "bisect"
    figure, axes = plt.subplots(figsize=(5.5, 5))
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for case, trials in done.items():
        beliefs = [one for each in trials for one in each.beliefs]
        if not beliefs:
            continue
        claimed, right = (np.array(column, dtype=float) for column in zip(*beliefs, strict=True))
        of = np.digitize(claimed, BINS[1:-1])
        kept = [at for at in range(len(BINS) - 1) if (of == at).sum() >= 30]
        axes.plot(
            [claimed[of == at].mean() for at in kept], [right[of == at].mean() for at in kept],
            marker="o", markersize=4, linewidth=1, label=case.name,
        )  # fmt: skip
    axes.set(xlabel="probability that was claimed", ylabel="share that was right", xlim=(0, 1.01), ylim=(0, 1.01))
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(RESULTS / "bisect-calibration.svg", metadata={"Date": None})
    plt.close(figure)
