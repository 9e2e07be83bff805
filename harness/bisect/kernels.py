"""OSv's commits as a bisection builds and boots them: each in a clone of ours, through the cache."""

import hashlib
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from queue import SimpleQueue

from harness.bisect import Broken, Built, Key, Line
from harness.cell import Cell
from harness.errors import BuildError, CheckoutError, HarnessError, HostError
from harness.kernels.osv_checkout import run_git
from harness.kernels.osv_revisions import Revisions
from harness.lab import Lab
from harness.measure import Metric, Sample, suite
from harness.measure.suite import Measurement
from harness.programs import Program
from harness.verdict import Outcome

BESIDE_THE_KERNEL = ("*.md", "*.txt", "LICENSE", "documentation", "images", "apps", ".github", ".travis.yml")
"""What no kernel is made from: patterns of names at the top of OSv's tree. All else may matter."""


class Commits:
    """The commits from good to bad, on the first parent. Raises `CheckoutError` with what is wrong with them."""

    def __init__(self, root: Path, good: str, bad: str) -> None:
        self.root = root
        self.good, self.bad = (_commit(root, name) for name in (good, bad))
        if self.good == self.bad:
            raise CheckoutError(f"{good} and {bad} are the same commit.", "Name two different ones.")
        if not _is_ancestor(root, self.good, self.bad):
            back = _is_ancestor(root, self.bad, self.good)
            raise CheckoutError(
                f"{bad} does not come after {good}.",
                "Swap them." if back else "Name a good commit that the bad one descends from.",
            )
        between = _git(root, "rev-list", "--first-parent", "--reverse", f"{self.good}..{self.bad}").split()
        if _git(root, "rev-parse", f"{between[0]}^") != self.good:
            raise CheckoutError(
                f"{good} lies in a branch that was merged before {bad}.",
                f"Name a commit of `git -C {root} log --first-parent {bad}`.",
            )
        self.commits = (self.good, *between)

    def line(self) -> Line:
        """The commits with what each kernel is made from."""
        return Line(self.commits, tuple(_sources(self.root, commit) for commit in self.commits))

    def inside(self, merge: str) -> "Commits | None":
        """The branch that a merge brought, from where it left; None if the commit is no merge."""
        parents = _git(self.root, "rev-list", "--parents", "-n", "1", merge).split()[1:]
        if len(parents) < 2:
            return None
        return Commits(self.root, _git(self.root, "merge-base", *parents[:2]), parents[1])


class Kernels:
    """A `Builder` of commits for one metric on one cell. What it measured is in `samples`."""

    layouts = 1

    def __init__(self, lab: Lab, cell: Cell, commits: Commits, metric: str, duration: float, jobs: int) -> None:
        self._lab = lab
        self._cell = cell
        self._commits = commits.commits
        self._metric = metric
        self._duration = duration
        self._lanes: SimpleQueue[Revisions] = SimpleQueue()
        for lane in range(jobs):
            self._lanes.put(Revisions(commits.root, lab.cache, lane))
        self._measurements: dict[Key, Measurement] = {}
        self.samples: list[Sample] = []

    @property
    def cached(self) -> Collection[Key]:
        """Those that this process has built."""
        return self._measurements.keys()

    def metric_at_good(self) -> Metric:
        """What is measured, as a boot of the good end tells. Raises `HarnessError` if it can't be had there."""
        return self._sample(Key(0)).metric

    def build(self, key: Key) -> Built | Broken:
        """Build what the metric needs of the commit. A fault of the host is raised, for no commit is to blame."""
        began = time.monotonic()
        try:
            measurement = self._prepared(key)
        except HostError:
            raise
        except (BuildError, CheckoutError) as error:
            return Broken(error.happened)
        return Built(measurement.taker.version.digest, time.monotonic() - began)

    def boot(self, key: Key) -> float | Broken:
        """Measure it once."""
        try:
            return self._sample(key).value
        except HostError:
            raise
        except HarnessError as error:
            return Broken(error.happened)

    def _sample(self, key: Key) -> Sample:
        taken = self._prepared(key).take().samples
        self.samples += taken
        for sample in taken:
            if sample.metric.name == self._metric:
                return sample
        raise HarnessError(
            f"Nothing measured {self._metric}.", "A load that its generator limits gives no number."
        )

    def _prepared(self, key: Key) -> Measurement:
        """The measurement of a commit's kernel; of one that an earlier session built, from the cache."""
        if key not in self._measurements:
            with _taken(self._lanes) as lane, lane.at(self._commits[key.index]) as root:
                lab = Lab(root, self._lab.cache)
                name = suite.measuring(self._metric, self._cell)
                self._measurements[key] = suite.prepare(
                    lab, self._cell, name, self._duration, boots=1, metrics=[self._metric]
                )
        return self._measurements[key]


class Tests:
    """A `Builder` of commits for one in-guest test: a boot gives 1 if it is no pass, else 0."""

    layouts = 1

    def __init__(self, lab: Lab, cell: Cell, commits: Commits, test: str, jobs: int) -> None:
        self._lab = lab
        self._cell = cell
        self._commits = commits.commits
        self._test = test
        self._lanes: SimpleQueue[Revisions] = SimpleQueue()
        for lane in range(jobs):
            self._lanes.put(Revisions(commits.root, lab.cache, lane))
        self._labs: dict[Key, tuple[Lab, Program]] = {}

    @property
    def cached(self) -> Collection[Key]:
        """Those that this process has built."""
        return self._labs.keys()

    def build(self, key: Key) -> Built | Broken:
        """Build the commit's image of tests; one without the test is broken."""
        began = time.monotonic()
        try:
            lab, _ = self._prepared(key)
        except HostError:
            raise
        except HarnessError as error:
            return Broken(error.happened)
        # A test is in the image, not in the kernel: the image is what may be equal.
        return Built(lab.image(self._cell).digest, time.monotonic() - began)

    def boot(self, key: Key) -> float | Broken:
        """Run the test once. A fault of ours is raised, for it says nothing of the test."""
        lab, program = self._prepared(key)
        verdict = lab.run(self._cell, program).verdict
        if verdict.outcome is Outcome.HARNESS_ERROR:
            raise HarnessError(f"{self._test} at {self._commits[key.index][:12]}: {verdict.reason}.")
        return float(verdict.outcome is not Outcome.PASSED)

    def _prepared(self, key: Key) -> tuple[Lab, Program]:
        if key not in self._labs:
            with _taken(self._lanes) as lane, lane.at(self._commits[key.index]) as root:
                lab = Lab(root, self._lab.cache)
                program = lab.program(self._cell, self._test)
                lab.runner(self._cell).prepare()
                self._labs[key] = lab, program
        return self._labs[key]


@contextmanager
def _taken(lanes: "SimpleQueue[Revisions]") -> Iterator[Revisions]:
    lane = lanes.get()
    try:
        yield lane
    finally:
        lanes.put(lane)


def _sources(root: Path, commit: str) -> str:
    """The digest of what a commit's kernel is made from: its tree without what lies beside the kernel."""
    rows = run_git(root, "ls-tree", "-z", "--full-tree", commit).split(b"\0")
    kernel = [row for row in rows if row and not _is_beside(row.partition(b"\t")[2].decode("utf-8", "replace"))]
    return hashlib.sha256(b"\0".join(kernel)).hexdigest()


def _is_beside(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in BESIDE_THE_KERNEL)


def _commit(root: Path, name: str) -> str:
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except CheckoutError:
        raise CheckoutError(
            f"{root} has no commit {name}.",
            f"See `git -C {root} log`; `git fetch --unshallow` makes a shallow clone whole.",
        ) from None


def _is_ancestor(root: Path, older: str, newer: str) -> bool:
    try:
        run_git(root, "merge-base", "--is-ancestor", older, newer)
    except CheckoutError:
        return False
    return True


def _git(root: Path, *words: str) -> str:
    return run_git(root, *words).decode().strip()
