"""Builds and boots OSv's commits on this host: each in a clone of the checkout, through the cache."""

import hashlib
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from harness.analysis.bisect.commit_range import Commits
from harness.analysis.bisect.history_document import Difference, kernel_differences, phase_differences
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
from harness.runner.session import Session
from harness.runner.verdict import Outcome, Verdict

LAYOUTS = 16
"""How many layouts of one commit can be made, its own included; each is a link, not a build."""

TRIES = 3
"""How often a load that its generator limited is repeated."""


class BuildPool:
    """Builds commits in several clones of the checkout at once, one for each of `numbers`.

    `through` is put before each command of a build: it enters an environment of the user's.
    """

    def __init__(
        self, session: Session, cell: Cell, commits: Commits, numbers: Iterable[int], through: tuple[str, ...] = ()
    ) -> None:
        self.cell = cell
        self.commits = commits.commits
        self.through = through
        self.cache = session.cache
        self._clones: SimpleQueue[CommitClones] = SimpleQueue()
        for number in numbers:
            self._clones.put(CommitClones(commits.root, session.cache, number))

    @contextmanager
    def at(self, key: Build) -> Iterator[Session]:
        """A session of the build's commit, to be built with inside the block."""
        commit = self.commits[key.index]
        clone = self._clones.get()
        try:
            if key.layout == REVERTED:
                commit = clone.reverted(commit, self.commits[-1])
            building = BuildOptions(max(key.layout, 0), key.layout == FRESH, self.through)
            with clone.at(commit) as root:
                yield Session(root, self.cache, building)
        finally:
            self._clones.put(clone)


class MetricBackend:
    """Builds commits and boots them for one metric. `samples` holds what was measured, by build."""

    host = ""

    def __init__(self, pool: BuildPool, metric: str, duration: float, run: str) -> None:
        self._pool = pool
        self._metric = metric
        self._duration = duration
        self._run = run
        self._measurements: dict[Build, Measurement] = {}
        self.layouts = 1
        self.samples: dict[Build, list[Sample]] = {}

    @property
    def cached(self) -> Collection[Build]:
        """The builds that this process has made."""
        return self._measurements.keys()

    def image(self, key: Build) -> Image:
        """The built image."""
        return self._prepared(key).sampler.image

    def measure(self) -> Measure:
        """What is measured, as a boot of the good end shows. Raises `HarnessError` if it can't be had there."""
        return Measure.of(self._sample(Build(0)).metric)

    def offer_layouts(self, measure: Measure) -> None:
        """Offer layouts if they move the measure and the linker is this host's."""
        self.layouts = LAYOUTS if measure.layout and not self._pool.through else 1

    def build(self, key: Build) -> Built | Broken:
        """Build what the metric needs of the commit. The host's faults are raised: no commit is to blame for
        them."""
        began = time.time()
        try:
            image = self._prepared(key).sampler.image
        except (BuildError, CheckoutError) as error:
            return Broken(error.message)
        return _built(image, began)

    def boot(self, key: Build) -> float | Broken:
        """Measure it once."""
        try:
            return self._sample(key).value
        except (HostError, HypervisorError):
            raise
        except HarnessError as error:
            return Broken(error.message)

    def differences(self, before: Build, after: Build) -> list[Difference]:
        """What differs between two measured builds."""
        taken = [self.samples.get(key, []) for key in (before, after)]
        old, new = (self._prepared(key).sampler.image for key in (before, after))
        tables = [Symbols(image.symbols, self._pool.cache) for image in (old, new) if image.symbols]
        return [
            *phase_differences(*taken),
            *kernel_differences(old, new, (tables[0], tables[1]) if len(tables) == 2 else None),
        ]

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
        """The measurement of the build's kernel; if an earlier session built it, from the cache."""
        if key not in self._measurements:
            name, metrics = suite.measuring(self._metric, self._pool.cell), [self._metric]
            with self._pool.at(key) as session:
                self._measurements[key] = suite.prepare(
                    session, self._pool.cell, name, self._run, self._duration, boots=1, metrics=metrics
                )
        return self._measurements[key]


class TestBackend:
    """Builds commits and boots them for one in-guest test: a boot gives its failure, or 0 if it passed. Takes no
    samples."""

    layouts = 1
    host = ""

    def __init__(self, pool: BuildPool, test: str) -> None:
        self._pool = pool
        self._test = test
        self.samples: dict[Build, list[Sample]] = {}
        self._sessions: dict[Build, tuple[Session, Program]] = {}

    @property
    def cached(self) -> Collection[Build]:
        """The builds that this process has made."""
        return self._sessions.keys()

    def build(self, key: Build) -> Built | Broken:
        """Build the commit's image of tests. A commit without the test is broken."""
        began = time.time()
        try:
            session, _ = self._prepared(key)
        except (BuildError, CellError, CheckoutError) as error:
            return Broken(error.message)
        return _built(session.image(self._pool.cell), began)

    def boot(self, key: Build) -> float | Failure:
        """Run the test once. The harness's own faults are raised: they say nothing about the test."""
        session, program = self._prepared(key)
        return self._outcome(key, session.run(self._pool.cell, program).verdict)

    def _outcome(self, key: Build, verdict: Verdict) -> float | Failure:
        if verdict.outcome is Outcome.HARNESS_ERROR:
            raise HostError(f"{self._test} at {self._pool.commits[key.index][:12]}: {verdict.reason}.")
        return 0.0 if verdict.outcome is Outcome.PASSED else Failure(verdict.identity)

    def image(self, key: Build) -> Image:
        """The built image."""
        return self._prepared(key)[0].image(self._pool.cell)

    def measure(self) -> Measure:
        """The test's outcome."""
        return Measure.test(self._test)

    def offer_layouts(self, measure: Measure) -> None:
        """Does nothing: layouts move only speeds."""

    def differences(self, before: Build, after: Build) -> list[Difference]:
        """None: there are no numbers to compare."""
        return []

    def _prepared(self, key: Build) -> tuple[Session, Program]:
        if key not in self._sessions:
            with self._pool.at(key) as session:
                program = session.program(self._pool.cell, self._test)
                session.runner(self._pool.cell).prepare()
                self._sessions[key] = session, program
        return self._sessions[key]


def _built(image: Image, began: float) -> Built:
    """The result of a build that started at `began`; an older image was in the cache."""
    return Built(binary(image), time.time() - began, cached=image.kernel.stat().st_mtime < began)


def binary(image: Image) -> str:
    """The digest of what is booted, without the version that OSv prints: it differs in every commit."""
    version = image.facts["commit"].encode()
    digest = hashlib.sha256(image.cmdline.encode())
    for path in [image.kernel, *(disk.path for disk in image.disks)]:
        digest.update(path.read_bytes().replace(version, b"\0" * len(version)))
    return digest.hexdigest()
