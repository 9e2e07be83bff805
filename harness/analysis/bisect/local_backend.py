"""OSv's commits as a bisection builds and boots them: each in a clone of ours, through the cache."""

import hashlib
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from harness.analysis.bisect.commit_range import Commits
from harness.analysis.bisect.history_document import Difference, of_kernels, phases
from harness.analysis.bisect.model import FRESH, REVERTED, Broken, Build, Built, Failure, Measure
from harness.core.cell import Cell
from harness.core.errors import BuildError, CellError, CheckoutError, HarnessError, HostError, HypervisorError
from harness.core.machine import Image
from harness.kernels.osv.build_config import BuildOptions
from harness.kernels.osv.clones import CommitClones
from harness.kernels.symbols import Symbols
from harness.metrics import suite
from harness.metrics.records import Sample
from harness.metrics.suite import Measurement
from harness.runner.base import Program
from harness.runner.session import Lab
from harness.runner.verdict import Outcome

LAYOUTS = 16
"""How many layouts of one commit are made, its own among them; each is a link, not a build."""

TRIES = 3
"""How often a load is run that its generator limits."""


class BuildPool:
    """Where keys are built: in several clones of the checkout at once, the `lanes`, the build put through an
    environment of the user's where there is one."""

    def __init__(
        self, lab: Lab, cell: Cell, commits: Commits, lanes: Iterable[int], through: tuple[str, ...] = ()
    ) -> None:
        self.cell = cell
        self.commits = commits.commits
        self.through = through
        self.cache = lab.cache
        self._lanes: SimpleQueue[CommitClones] = SimpleQueue()
        for lane in lanes:
            self._lanes.put(CommitClones(commits.root, lab.cache, lane))

    @contextmanager
    def at(self, key: Build) -> Iterator[Lab]:
        """A lab of the key's commit, to be built in inside the block."""
        commit = self.commits[key.index]
        lane = self._lanes.get()
        try:
            if key.layout == REVERTED:
                commit = lane.reverted(commit, self.commits[-1])
            building = BuildOptions(max(key.layout, 0), key.layout == FRESH, self.through)
            with lane.at(commit) as root:
                yield Lab(root, self.cache, building)
        finally:
            self._lanes.put(lane)


class MetricBackend:
    """A `Builder` of commits for one metric. What it measured is in `samples`, by key."""

    host = ""

    def __init__(self, workshop: BuildPool, metric: str, duration: float, run: str) -> None:
        self._workshop = workshop
        self._metric = metric
        self._duration = duration
        self._run = run
        self._measurements: dict[Build, Measurement] = {}
        self.layouts = 1
        self.samples: dict[Build, list[Sample]] = {}

    @property
    def cached(self) -> Collection[Build]:
        """Those that this process has built."""
        return self._measurements.keys()

    def image(self, key: Build) -> Image:
        """What was built."""
        return self._prepared(key).taker.image

    def measure(self) -> Measure:
        """What is measured, as a boot of the good end tells. Raises `HarnessError` if it can't be had there."""
        return Measure.of(self._sample(Build(0)).metric)

    def lay_out(self, measure: Measure) -> None:
        """Offer layouts where the measure is one that they move, and the linker is this host's."""
        self.layouts = LAYOUTS if measure.layout and not self._workshop.through else 1

    def build(self, key: Build) -> Built | Broken:
        """Build what the metric needs of the commit. A fault of the host is raised, for no commit is to blame."""
        began = time.time()
        try:
            image = self._prepared(key).taker.image
        except (BuildError, CheckoutError) as error:
            return Broken(error.happened)
        return _built(image, began)

    def boot(self, key: Build) -> float | Broken:
        """Measure it once."""
        try:
            return self._sample(key).value
        except (HostError, HypervisorError):
            raise
        except HarnessError as error:
            return Broken(error.happened)

    def differences(self, before: Build, after: Build) -> list[Difference]:
        """What differs between two builds that were measured."""
        taken = [self.samples.get(key, []) for key in (before, after)]
        old, new = (self._prepared(key).taker.image for key in (before, after))
        tables = [Symbols(image.symbols, self._workshop.cache) for image in (old, new) if image.symbols]
        return [*phases(*taken), *of_kernels(old, new, (tables[0], tables[1]) if len(tables) == 2 else None)]

    def _sample(self, key: Build) -> Sample:
        for _ in range(TRIES):
            taken = self._prepared(key).take().samples
            self.samples.setdefault(key, []).extend(taken)
            for sample in taken:
                if sample.metric.name == self._metric:
                    return sample
        raise HostError(
            f"{TRIES} runs gave no {self._metric}: a load that its generator limits gives no number.",
            "Leave the host to it, and go on with --resume.",
        )

    def _prepared(self, key: Build) -> Measurement:
        """The measurement of a commit's kernel; of one that an earlier session built, from the cache."""
        if key not in self._measurements:
            name, metrics = suite.measuring(self._metric, self._workshop.cell), [self._metric]
            with self._workshop.at(key) as lab:
                self._measurements[key] = suite.prepare(
                    lab, self._workshop.cell, name, self._run, self._duration, boots=1, metrics=metrics
                )
        return self._measurements[key]


class TestBackend:
    """A `Builder` of commits for one in-guest test: a boot gives its failure if it is no pass, else 0. It takes no
    samples."""

    layouts = 1
    host = ""

    def __init__(self, workshop: BuildPool, test: str) -> None:
        self._workshop = workshop
        self._test = test
        self.samples: dict[Build, list[Sample]] = {}
        self._labs: dict[Build, tuple[Lab, Program]] = {}

    @property
    def cached(self) -> Collection[Build]:
        """Those that this process has built."""
        return self._labs.keys()

    def build(self, key: Build) -> Built | Broken:
        """Build the commit's image of tests; one without the test is broken."""
        began = time.time()
        try:
            lab, _ = self._prepared(key)
        except (BuildError, CellError, CheckoutError) as error:
            return Broken(error.happened)
        return _built(lab.image(self._workshop.cell), began)

    def boot(self, key: Build) -> float | Failure | Broken:
        """Run the test once. A fault of ours is raised, for it says nothing of the test."""
        lab, program = self._prepared(key)
        verdict = lab.run(self._workshop.cell, program).verdict
        if verdict.outcome is Outcome.HARNESS_ERROR:
            raise HostError(f"{self._test} at {self._workshop.commits[key.index][:12]}: {verdict.reason}.")
        return 0.0 if verdict.outcome is Outcome.PASSED else Failure(verdict.identity)

    def image(self, key: Build) -> Image:
        """What was built."""
        return self._prepared(key)[0].image(self._workshop.cell)

    def measure(self) -> Measure:
        """The test's outcome."""
        return Measure.test(self._test)

    def lay_out(self, measure: Measure) -> None:
        """Nothing: layouts move speeds alone."""

    def differences(self, before: Build, after: Build) -> list[Difference]:
        """None that say why a test fails."""
        return []

    def _prepared(self, key: Build) -> tuple[Lab, Program]:
        if key not in self._labs:
            with self._workshop.at(key) as lab:
                program = lab.program(self._workshop.cell, self._test)
                lab.runner(self._workshop.cell).prepare()
                self._labs[key] = lab, program
        return self._labs[key]


def _built(image: Image, began: float) -> Built:
    """What a build that began at this time left; an image that is older was in the cache."""
    return Built(binary(image), time.time() - began, cached=image.kernel.stat().st_mtime < began)


def binary(image: Image) -> str:
    """The digest of what is booted but for the version that OSv prints, in which no two commits are equal."""
    version = image.facts["commit"].encode()
    digest = hashlib.sha256(image.cmdline.encode())
    for path in [image.kernel, *(disk.path for disk in image.disks)]:
        digest.update(path.read_bytes().replace(version, b"\0" * len(version)))
    return digest.hexdigest()
