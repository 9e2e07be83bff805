"""The worker's part of a bisection: build, boot, compare two builds, export and import artifacts."""

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
from harness.integrations.farm.rpc import WorkerLocation, this_location
from harness.integrations.farm.worker import session_of
from harness.metrics.records import Sample

Entry = tuple[str, str]
"""An artifact of a cache: its kind and its digest."""


@dataclass(frozen=True, slots=True)
class BisectTask:
    """What a bisection asks of its workers: the cell in their checkouts, the ends, and a metric or a test.

    `duration` is the length of each load of an app in seconds; `through` is put before each command of a build.
    """

    request: CellRequest
    good: str
    bad: str
    metric: str
    test: str
    duration: float
    through: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkerBuild:
    """The result of a build, where it was made, and the artifacts that hold the image."""

    result: Built | Broken
    location: WorkerLocation
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerBoot:
    """The value of a boot, and its samples."""

    value: float | Failure | Broken
    samples: tuple[Sample, ...] = ()


def build(task: BisectTask, key: Build) -> WorkerBuild:
    """Build it on this worker."""
    backend = _backend(task)
    result = backend.build(key)
    return WorkerBuild(result, this_location(), () if isinstance(result, Broken) else _entries(backend.image(key)))


def boot(task: BisectTask, key: Build) -> WorkerBoot:
    """Boot it once on this worker; build it first if it is missing."""
    backend = _backend(task)
    before = len(backend.samples.get(key, []))
    return WorkerBoot(backend.boot(key), tuple(backend.samples.get(key, [])[before:]))


def measure(task: BisectTask) -> Measure:
    """What is measured, as a boot of the good end shows."""
    return _backend(task).measure()


def differences(task: BisectTask, before: Build, after: Build) -> list[Difference]:
    """What differs between two builds. Both are booted for it: the worker that measured them may be gone."""
    backend = _backend(task)
    for key in (before, after):
        if key not in backend.samples:
            backend.boot(key)
    return backend.differences(before, after)


def export_artifacts(entries: Sequence[Entry]) -> bytes:
    """Artifacts of this worker's cache, as a tar file."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for kind, digest in entries:
            tar.add(Cache().root / kind / digest, arcname=f"{kind}/{digest}")
    return archive.getvalue()


def import_artifacts(archive: bytes) -> None:
    """Put artifacts into this worker's cache, except those that it has. The cache checks them when they are
    used."""
    root = Cache().root
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        named = sorted({"/".join(Path(member.name).parts[:2]) for member in tar})
        for name in named:
            kind, _, digest = name.partition("/")
            with Cache().locked(f"{kind}-{digest}"):
                if not (root / name / MANIFEST).exists():
                    tar.extractall(root, [one for one in tar if one.name.startswith(name)], filter="data")


@cache
def _backend(task: BisectTask) -> MetricBackend | TestBackend:
    """The backend of this worker; it remembers its builds."""
    session, cell = session_of(task.request)
    assert session.osv_root
    commits = Commits(session.osv_root, task.good, task.bad)
    pool = BuildPool(session, cell, commits, [_clone_number()], task.through)
    if task.test:
        return TestBackend(pool, task.test)
    return MetricBackend(pool, task.metric, task.duration, task.request.run)


@cache
def _clone_number() -> int:
    """The first clone of the checkout that no other worker of this cache uses; kept until this worker ends."""
    locks = Cache().root / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    for number in count():
        held = os.open(locks / f"farm-lane-{number}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
        else:
            return number
    raise AssertionError


def _entries(image: Image) -> tuple[Entry, ...]:
    """The artifacts that hold the image's files."""
    root = Cache().root
    paths = [image.kernel, image.symbols, image.initrd, image.manifest, *(disk.path for disk in image.disks)]
    inside = [path.relative_to(root).parts[:2] for path in paths if path and path.is_relative_to(root)]
    return tuple(dict.fromkeys((kind, digest) for kind, digest in inside))
