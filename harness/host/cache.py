"""Keeps artefacts by what they are made from: each is built once, however many workers and runs need it at once.

An entry is a folder `<kind>/<digest>` under the cache's root, with the artefact in `data/` and a manifest of every
file's size and SHA-256. It appears by one rename, so a killed build leaves no partial entry.
"""

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from harness.core.errors import HostError
from harness.core.events import publish
from harness.host.in_lab import in_lab, verified_entries
from harness.host.temp_dir import temporary_dir

MANIFEST = "manifest.json"
UNDER_WAY = ".building-"
BLOCK = 1 << 16  # bytes
MADE_OUTSIDE = ("builder", "debian", "osv")
"""The kinds of artefacts that no lab builds: a lab has no network, and a build of minutes would take hours."""


def digest_of(parts: Mapping[str, object]) -> str:
    """The hex SHA-256 of named parts; their order does not matter."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def default_root() -> Path:
    """`OSV_HARNESS_CACHE`, or the user's cache folder."""
    named = os.environ.get("OSV_HARNESS_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("osv-harness")


@dataclass(frozen=True, slots=True)
class Entry:
    """A cached artefact: its kind, digest, bytes on disk, last use in seconds since the epoch."""

    kind: str
    digest: str
    path: Path
    size: int
    used: float


class Cache:
    """The artefacts under one root folder. `limit` is the default limit of `gc`, in bytes."""

    def __init__(self, root: Path | None = None, limit: int = 20 << 30) -> None:
        self.root = root or default_root()
        self.limit = limit
        self._verified = set(verified_entries())

    def get(self, kind: str, parts: Mapping[str, object], build: Callable[[Path], None]) -> Path:
        """The folder of the artefact made from `parts`; it is built now if it is missing or damaged.

        `build` fills the empty folder that it gets. For one digest one builder runs at a time, over all processes;
        the others wait. Raises what `build` raises, and then keeps nothing.
        """
        digest = digest_of(parts)
        entry = self.root / kind / digest
        if self._is_verified(entry):
            return self._use(entry)
        with self.locked(f"{kind}-{digest}"):
            if self._is_verified(entry):
                return self._use(entry)
            if entry.exists():
                publish("cache.damaged", f"{kind}/{digest[:12]}", "rebuilding it")
                shutil.rmtree(entry)
            self._build(entry, parts, build)
        return self._use(entry)

    def unverified(self, kind: str, parts: Mapping[str, object]) -> Path | None:
        """The folder of the artefact if it is there, without a look at its content: for a small file in an
        artefact of gigabytes."""
        entry = self.root / kind / digest_of(parts)
        return self._use(entry) if (entry / MANIFEST).exists() else None

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the named lock of this cache; the kernel releases it if the holder dies."""
        locks = self.root / "locks"
        lock = FileLock(locks / f"{name}.lock")
        try:
            locks.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0.5)
        except Timeout:
            publish("cache.waiting", name, "another run is building it")
            lock.acquire()
        except OSError as error:
            raise HostError(
                f"The cache folder {self.root} can't be used: {error.strerror}.",
                "Set OSV_HARNESS_CACHE to a folder that you can write to.",
            ) from error
        try:
            yield
        finally:
            lock.release()

    def scratch(self, name: str) -> Path:
        """A folder that is kept between builds and is no artefact: a build tree, a package store."""
        path = self.root / "trees" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def verified(self) -> frozenset[Path]:
        """The entries that this process has verified."""
        return frozenset(self._verified)

    def entries(self) -> list[Entry]:
        """All artefacts, least recently used first."""
        found = []
        for manifest in self.root.glob(f"*/*/{MANIFEST}"):
            entry = manifest.parent
            size = sum(file.lstat().st_blocks * 512 for file in _files(entry / "data"))
            found.append(Entry(entry.parent.name, entry.name, entry, size, manifest.stat().st_atime))
        return sorted(found, key=lambda entry: entry.used)

    def gc(self, limit: int | None = None) -> list[Entry]:
        """Remove the least recently used artefacts until `limit` bytes remain, and leftovers of a power loss.

        An artefact that is locked for building is never removed.
        """
        for leftover in self.root.glob(f"*/{UNDER_WAY}*"):
            if time.time() - leftover.stat().st_mtime > 24 * 3600:
                shutil.rmtree(leftover, ignore_errors=True)
        entries = self.entries()
        total = sum(entry.size for entry in entries)
        removed = []
        for entry in entries:
            if total <= (self.limit if limit is None else limit):
                break
            with self.locked(f"{entry.kind}-{entry.digest}"):
                shutil.rmtree(entry.path)
            total -= entry.size
            removed.append(entry)
        return removed

    def _build(self, entry: Path, parts: Mapping[str, object], build: Callable[[Path], None]) -> None:
        if in_lab() and entry.parent.name in MADE_OUTSIDE:
            what = parts.get("kernel") or parts.get("packages") or entry.name
            raise HostError(
                f"{what} ({entry.parent.name}) is not in the cache that the lab is shown, and a lab makes none.",
                "Outside, run `osv-harness build CELL` or the same command once, which makes it; then come again.",
            )
        entry.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary_dir(UNDER_WAY, entry.parent) as work:
                data = work / "data"
                data.mkdir()
                build(data)
                files = {str(path.relative_to(data)): _describe(path, _is_sparse(path)) for path in _files(data)}
                manifest = {"parts": dict(parts), "files": files}
                (work / MANIFEST).write_text(json.dumps(manifest, indent=1, default=str))
                work.rename(entry)
                self._verified.add(entry)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise HostError(
                f"There is no space left where {entry} is made.",
                "Free some, with `osv-harness cache gc` perhaps, or set OSV_HARNESS_CACHE to another folder.",
            ) from error

    def _is_verified(self, entry: Path) -> bool:
        """Whether the entry exists with the content that was written; each is read once per process."""
        if entry in self._verified:
            return entry.exists()
        try:
            files = json.loads((entry / MANIFEST).read_text())["files"]
            verified = all(
                _describe(entry / "data" / name, sparse="sha256_of_data" in row) == row
                for name, row in files.items()
            )
        except (OSError, ValueError, KeyError):
            return False
        if verified:
            self._verified.add(entry)
        return verified

    def _use(self, entry: Path) -> Path:
        os.utime(entry / MANIFEST)
        return entry / "data"


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _is_sparse(path: Path) -> bool:
    stat = path.stat()
    return stat.st_blocks * 512 < stat.st_size // 2


def _describe(path: Path, sparse: bool) -> dict[str, object]:
    """Size and digest. The digest of a sparse file covers only its non-zero blocks: a guest's RAM is mostly
    zeros."""
    with path.open("rb") as file:
        if sparse:
            return {"size": path.stat().st_size, "sha256_of_data": _digest_of_data(file.fileno())}
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _digest_of_data(file: int) -> str:
    """The hex SHA-256 of the blocks that are not all zeros, each with its offset: independent of where the holes
    are."""
    digest = hashlib.sha256()
    position, size = 0, os.fstat(file).st_size
    while position < size:
        try:
            start = os.lseek(file, position, os.SEEK_DATA)
            end = os.lseek(file, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # holes to the end
                break
            raise
        position = start // BLOCK * BLOCK
        while position < end:
            block = os.pread(file, BLOCK, position)
            if block.count(0) != len(block):
                digest.update(b"%d:" % position)
                digest.update(block)
            position += BLOCK
    return digest.hexdigest()
