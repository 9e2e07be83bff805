"""A build tree of our own, synchronized with a checkout, so that OSv's build never writes to the user's files.

Each arch, mode, profile and set of options has its own tree: OSv's build shares outputs between them. The
filesystem does not need one: the makefiles rebuild what depends on it (`bootfs_manifest.last`, `tests/rofs/`,
manifests that are always remade), so all images of one kernel share a tree.
"""

import fcntl
import filecmp
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.errors import BuildError
from harness.core.events import publish
from harness.kernels.osv.checkout import Checkout

Edit = Callable[[str], str]


class BuildKilled(BuildError):
    """A build that the harness killed; its outputs may be half written."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """How the tree differs from the checkout. All paths are relative to the tree.

    `edits` change a file's own text, `files` replace its text, and `without` lists folders that are left out.
    `patched` lists folders whose sources the build itself edits, once: one change there renews the whole folder.
    """

    edits: Mapping[str, Edit] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    patched: tuple[str, ...] = ()

    def leaves_out(self, path: str) -> bool:
        """Whether the file is left out of the tree."""
        return any(path.startswith(f"{folder}/") for folder in self.without)


class Tree:
    """The folder `home`: sources in `sources`, our wrapper programs in `bin`, and a record of what was
    synchronized."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.sources = home / "src"
        self.bin = home / "bin"
        self._record = home / "synced.json"
        self._killed = home / "killed"

    def sync(self, checkout: Checkout, adaptation: Adaptation) -> int:
        """Make the sources those of the checkout, adapted; returns the number of files written or removed.

        If a makefile changed or a file was removed, all outputs are removed: OSv's objects do not depend on its
        makefiles, and what was compiled with a removed header has "no rule to make" it.

        The first sync keeps the checkout's times. Later a file whose content changed gets the time now, since
        `make` must see the change even if the checkout went back to an older file; a file whose time alone changed
        is left as it is. Build outputs are kept.
        """
        before = self._synced()
        if not before:  # new, or a sync was killed in the middle: times would tell `make` lies
            shutil.rmtree(self.sources, ignore_errors=True)
        after = _identities(checkout, adaptation)
        first = not before
        for folder in adaptation.patched:
            before = self._renew(folder, before, after)
        written = []
        for name, identity in after.items():
            source, target = checkout.root / name, self.sources / name
            if name in adaptation.files:
                text = adaptation.files[name]
                wrote = _write(target, text, 0o755 if text.startswith("#!") else 0o644)
            elif name in adaptation.edits:
                wrote = _write(target, adaptation.edits[name](source.read_text()), source.stat().st_mode)
            else:
                wrote = before.get(name) != identity and _copy(source, target, keep_times=first)
            if wrote:
                written.append(name)
        removed = before.keys() - after.keys()
        for name in removed:
            _remove(self.sources / name, self.sources)
        if not first and (removed or any(map(_is_makefile, written))):
            self._drop_outputs("a makefile changed or a source went away")
        self._record.write_text(json.dumps(after))
        return len(written) + len(removed)

    def wrap(self, programs: Mapping[str, str]) -> None:
        """Put exactly these programs into `bin`: name to script text, or to `-> path`."""
        shutil.rmtree(self.bin, ignore_errors=True)
        self.bin.mkdir(parents=True)
        for name, text in programs.items():
            path = self.bin / name
            if text.startswith("-> "):
                path.symlink_to(text.removeprefix("-> "))
            else:
                path.write_text(text)
                path.chmod(0o755)

    def built_by(self, builder: str) -> None:
        """Remove the outputs of another builder: OSv's objects do not depend on their compiler, so a kernel made
        by two would look new. Outputs from before the builder was recorded are removed too."""
        record = self.home / "builder"
        before = record.read_text() if record.exists() else ""
        if before != builder:
            self._drop_outputs("another compiler, linker or Boost")
            record.write_text(builder)

    def relink(self, layout: int, kernels: Iterable[str]) -> None:
        """Remove linked kernels of another layout than the wanted one: `make` takes them for up to date."""
        record = self.home / "layout"
        before = record.read_text() if record.exists() else "0"
        if before != str(layout):
            for kernel in kernels:
                for path in self.sources.glob(f"build/*/{kernel}"):
                    path.unlink()
            record.write_text(str(layout))

    @contextmanager
    def building(self) -> Iterator[int]:
        """Build inside this block; every process of the build is to inherit the descriptor.

        If the harness is killed, its compilers are killed too, and the next build waits for the last of them. A
        killed build leaves outputs half written, so the next starts from scratch. After `BuildError`, the ordinary
        end of a failed build, `make` can continue.
        """
        with (self.home / "lease").open("w") as lease:
            fcntl.flock(lease, fcntl.LOCK_EX)
            if self._killed.exists():
                self._drop_outputs("an earlier build was killed")
            self._killed.touch()
            with self._marked():
                yield lease.fileno()

    @contextmanager
    def _marked(self) -> Iterator[None]:
        try:
            yield
        except BuildKilled:
            raise
        except BuildError:
            self._killed.unlink()
            raise
        self._killed.unlink()

    def _drop_outputs(self, why: str) -> None:
        if (outputs := self.sources / "build").exists():
            publish("build.restarted", self.home.name, f"{why}: building from scratch")
            shutil.rmtree(outputs, ignore_errors=True)

    def _renew(
        self, folder: str, before: dict[str, list[object]], after: Mapping[str, list[object]]
    ) -> dict[str, list[object]]:
        """Remove a folder in which anything changed; returns the record of the rest."""

        def inside(record: Mapping[str, list[object]]) -> dict[str, list[object]]:
            return {name: row for name, row in record.items() if name.startswith(f"{folder}/")}

        if inside(before) == inside(after):
            return before
        shutil.rmtree(self.sources / folder, ignore_errors=True)
        return {name: row for name, row in before.items() if not name.startswith(f"{folder}/")}

    def _synced(self) -> dict[str, list[object]]:
        try:
            record = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}


def _is_makefile(name: str) -> bool:
    return Path(name).name in ("Makefile", "build") or name.startswith("conf/") or name.endswith(".mk")


def _identities(checkout: Checkout, adaptation: Adaptation) -> dict[str, list[object]]:
    """Every file of the tree, with what distinguishes its states."""
    found: dict[str, list[object]] = {}
    for name in map(str, checkout.files()):
        if not adaptation.leaves_out(name):
            found[name] = _identity(checkout.root / name)
    return found | {name: ["ours"] for name in adaptation.files}


def _identity(path: Path) -> list[object]:
    if path.is_symlink():
        return ["link", str(path.readlink())]
    status = path.stat()
    return ["file", status.st_size, status.st_mtime_ns, status.st_mode]


def _copy(source: Path, target: Path, keep_times: bool) -> bool:
    """Copy a file or link unless the target already has its content; returns whether anything was written."""
    if source.is_symlink():
        if target.is_symlink() and target.readlink() == source.readlink():
            return False
        _make_room(target)
        target.symlink_to(source.readlink())
        return True
    mode = source.stat().st_mode & 0o777
    if target.is_file() and not target.is_symlink() and filecmp.cmp(source, target, shallow=False):
        target.chmod(mode)
        return False
    _make_room(target)
    shutil.copyfile(source, target)
    target.chmod(mode)
    if keep_times:
        shutil.copystat(source, target)
    return True


def _write(path: Path, text: str, mode: int) -> bool:
    if path.is_file() and not path.is_symlink() and path.read_text() == text:
        return False
    _make_room(path)
    path.write_text(text)
    path.chmod(mode & 0o777)
    return True


def _make_room(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove(path: Path, top: Path) -> None:
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == top or not folder.is_dir() or next(os.scandir(folder), None):
            break
        folder.rmdir()
