"""What a bisection's workers do: build a candidate, boot it, say what two differ in, hand over an image."""

import fcntl
import io
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

from harness.analysis.bisect.commit_range import Commits
from harness.analysis.bisect.history_document import Difference
from harness.analysis.bisect.local_backend import BuildPool, MetricBackend, TestBackend
from harness.analysis.bisect.model import Broken, Build, Built, Failure, Measure
from harness.core.machine import Image
from harness.host.cache import MANIFEST, Cache
from harness.integrations.farm.messages import CellRequest
from harness.integrations.farm.rpc import WorkerLocation, place
from harness.integrations.farm.worker import lab_of
from harness.metrics.records import Sample

Entry = tuple[str, str]
"""An artefact of a cache: its kind and its digest."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a bisection wants of its workers: the cell in their checkouts, the ends, and a metric or a test;
    `duration` is of each load of an app in seconds, `through` what builds are put through."""

    order: CellRequest
    good: str
    bad: str
    metric: str
    test: str
    duration: float
    through: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a build, where, and which artefacts are the image."""

    result: Built | Broken
    place: WorkerLocation
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Read:
    """What a boot gave, and the samples that were taken of it."""

    value: float | Failure | Broken
    samples: tuple[Sample, ...] = ()


def build(asked: Asked, key: Build) -> Made:
    """Build it here."""
    bench = _bench(asked)
    result = bench.build(key)
    return Made(result, place(), () if isinstance(result, Broken) else _entries(bench.image(key)))


def boot(asked: Asked, key: Build) -> Read:
    """Boot it here once; it is built before if it is not there."""
    bench = _bench(asked)
    before = len(bench.samples.get(key, []))
    return Read(bench.boot(key), tuple(bench.samples.get(key, [])[before:]))


def measure(asked: Asked) -> Measure:
    """What is measured, as the good end tells."""
    return _bench(asked).measure()


def differences(asked: Asked, before: Build, after: Build) -> list[Difference]:
    """What two builds differ in; both are booted for it, for who measured them may be gone."""
    bench = _bench(asked)
    for key in (before, after):
        if key not in bench.samples:
            bench.boot(key)
    return bench.differences(before, after)


def hand_over(entries: Sequence[Entry]) -> bytes:
    """Artefacts of this worker's cache, as a tar file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for kind, digest in entries:
            tar.add(Cache().root / kind / digest, arcname=f"{kind}/{digest}")
    return packed.getvalue()


def take_over(packed: bytes) -> None:
    """Put them into this worker's cache, where it has none of that name; it checks them when they are used."""
    root = Cache().root
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        named = sorted({"/".join(Path(member.name).parts[:2]) for member in tar})
        for name in named:
            kind, _, digest = name.partition("/")
            with Cache().locked(f"{kind}-{digest}"):
                if not (root / name / MANIFEST).exists():
                    tar.extractall(root, [one for one in tar if one.name.startswith(name)], filter="data")


@cache
def _bench(asked: Asked) -> MetricBackend | TestBackend:
    """Who builds and boots here; it keeps what it has built."""
    lab, cell = lab_of(asked.order)
    assert lab.osv_root
    commits = Commits(lab.osv_root, asked.good, asked.bad)
    workshop = BuildPool(lab, cell, commits, [_lane()], asked.through)
    if asked.test:
        return TestBackend(workshop, asked.test)
    return MetricBackend(workshop, asked.metric, asked.duration, asked.order.run)


@cache
def _lane() -> int:
    """The first clone of the checkout that no other worker of this cache builds in: this one's until it ends."""
    locks = Cache().root / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    for lane in count():
        held = os.open(locks / f"farm-lane-{lane}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
        else:
            return lane
    raise AssertionError


def _entries(image: Image) -> tuple[Entry, ...]:
    """The artefacts in which the image's files are."""
    root = Cache().root
    paths = [image.kernel, image.symbols, image.initrd, image.manifest, *(disk.path for disk in image.disks)]
    inside = [path.relative_to(root).parts[:2] for path in paths if path and path.is_relative_to(root)]
    return tuple(dict.fromkeys((kind, digest) for kind, digest in inside))
