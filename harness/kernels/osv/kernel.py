"""The OSv kernel: images built from a checkout that the user names, with the checkout's own `scripts/build`."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from harness.core import facts
from harness.core.cell import Cell
from harness.core.errors import BuildError
from harness.core.events import publish
from harness.core.machine import Disk, Image
from harness.host.cache import Cache, digest_of
from harness.host.temp_dir import temporary_dir
from harness.kernels.base import Origin
from harness.kernels.compilers import compilers
from harness.kernels.osv import app_image, build_config, debug_files, ld_wrapper, test_modules, toolchain
from harness.kernels.osv.build import run_build
from harness.kernels.osv.build_config import DISKLESS, BuildOptions, ImageModules
from harness.kernels.osv.build_tree import Tree
from harness.kernels.osv.checkout import Checkout, State
from harness.kernels.rootfs.contents import Contents

RECIPE = 2
"""Part of every key; to be raised when an adaptation of the tree or what is kept of a build changes."""

FACTS = "facts.json"
EMPTY = ImageModules("empty")
"""OSv's own files alone."""


class Osv:
    """Builds images of the checkout at `root`, each kernel in a tree of its own under the cache.

    `accelerator` says what really runs guests of an arch here (`kvm` or `tcg`): OSv boots itself to fill a zfs
    disk. `timeout` bounds one build, in seconds. The checkout is looked at when something is asked of it.
    `building` is how else than usual it builds.
    """

    name = "osv"

    def __init__(
        self,
        root: Path,
        jobs: int | None = None,
        accelerator: Callable[[str], str] = lambda arch: "tcg",
        timeout: float = 3 * 3600,
        building: BuildOptions = BuildOptions(),  # noqa: B008
    ) -> None:
        self.root = root
        self.jobs = jobs or os.cpu_count() or 1
        self.accelerator = accelerator
        self.timeout = timeout
        self.building = building

    def build(self, cell: Cell, cache: Cache) -> Image:
        """The image of the cell with upstream's tests in it.

        Raises `CheckoutError`, `CellError`, `HostError`, or `BuildError` with the first error and the log.
        """
        toolchain.check_tests(cell)
        return self.build_modules(cell, cache, build_config.tests_of(cell))

    def prepare(self, cell: Cell, cache: Cache) -> None:
        """Build the kernel, with an empty image. Raises what `build` raises."""
        self.build_modules(cell, cache, EMPTY)

    def origin(self, image: Image) -> Origin:
        """The checkout's commit, as it is now, and what built the image."""
        checkout = Checkout(self.root)
        state = checkout.state()
        described = f"{state.version}+changes" if state.dirty else state.version
        return Origin(state.commit, described, checkout.committed(), self._builder(image), checkout.lineage())

    def _builder(self, image: Image) -> str:
        """What else than its sources decides the bytes of a kernel: the compiler, as it wrote itself into it, the
        linker, Boost, and how else than usual it was built."""
        cell = image.cell
        taken = toolchain.taken_from_host(cell, compiles=not self.building.through)
        linker = next((told for name, told in taken["tools"].items() if name.endswith("ld.bfd")), "")
        compiler = next((told for name, told in taken["tools"].items() if name.endswith("g++")), "")
        parts = {name: value for name, value in self.building.parts.items() if name != "through"}
        return facts.format_facts(
            {
                "compiler": compilers(image.symbols) or compiler,
                "linker": linker,
                "boost": "" if self.building.through else toolchain.boost(cell, taken["ingredients"]),
                "through": " ".join(self.building.through),
                "options": ", ".join(f"{name} {value}" for name, value in parts.items()),
            }
        )

    def describe(self) -> str:
        """`OSv v0.57.0-398-g0e34e4dc from /path`, and what is uncommitted."""
        checkout = Checkout(self.root)
        return f"OSv {checkout.state()} from {checkout.root}"

    def build_with(self, cell: Cell, cache: Cache, contents: Contents) -> Image:
        """The image of the cell with a program of the user's or of Debian's. Raises what `build` raises.

        A rofs disk is composed by itself, in seconds, for the kernel that an empty image brought; any other
        filesystem is made by OSv's build.
        """
        if cell.fs == "rofs" and "zfs_disk" not in cell.options:
            checkout, base = Checkout(self.root), self.build_modules(cell, cache, EMPTY)
            data, digest = app_image.compose_rofs(cell, contents, base, checkout.root, cache)
            told = {**base.facts, **json.loads((data / FACTS).read_text())}
            disk, listing = Disk(data / "disk"), data / "usr.manifest"
            return replace(base, disks=(disk,), manifest=listing, digest=digest, facts=told)
        with temporary_dir("osv-harness-files-") as staging:
            files, versions = app_image.files_of(cell, contents, cache)
            text = app_image.manifest(files, staging)
            key = digest_of(app_image.source_parts(cell, contents))
            image = self.build_modules(cell, cache, ImageModules(EMPTY.modules, text, key))
        return replace(image, facts={**image.facts, **versions})

    def build_modules(self, cell: Cell, cache: Cache, contents: ImageModules) -> Image:
        """The image of the cell with modules of OSv's own tree, and files appended to their manifest."""
        build_config.check(cell)
        checkout = Checkout(self.root)
        checkout.require_submodules(*_submodules(checkout, cell))
        taken = toolchain.taken_from_host(cell, compiles=not self.building.through)
        state = checkout.state()
        parts: dict[str, object] = {
            "recipe": RECIPE,
            "source": state.digest,
            "version": state.version,
            "kernel": build_config.tree_name(cell),
            "commands": build_config.commands(cell, contents, 0, checkout.configures()),
            "contents": ["" if contents.key else contents.append_manifest, contents.key],
            **taken,
            **self.building.parts,
        }

        def make(out: Path) -> None:
            self._make(out, cell, contents, cache, checkout, state, taken["tools"], taken["ingredients"])

        data = cache.get("osv", parts, make)
        return _image(data, cell, digest_of(parts))

    def _make(
        self, out: Path, cell: Cell, contents: ImageModules, cache: Cache, checkout: Checkout, state: State,
        tools: Mapping[str, str], ingredients: object,
    ) -> None:  # fmt: skip
        owner = hashlib.sha256(str(checkout.root).encode()).hexdigest()[:8]
        name = f"osv-{owner}-{build_config.tree_name(cell)}{'-fresh' if self.building.fresh else ''}"
        with cache.locked(f"tree-{name}"), self._tree(cache.scratch(name)) as tree:
            started = time.monotonic()
            publish("build.started", str(cell), f"OSv {state} in {tree.sources}")
            tree.wrap(self._wrappers(cell, tree))
            environment = toolchain.environment(tree.bin, tree.home.parent, cache)
            log = _log_path(cache, cell)
            left_out, adapted = self._sync(tree, cell, checkout, state, environment)
            commands = build_config.commands(cell, contents, self.jobs, checkout.configures())
            with tree.building() as lease:
                tree.built_by(json.dumps([tools, self.building.through, ingredients], sort_keys=True))
                toolchain.lay_out_packages(cell, tree.sources, cache)
                _clear(tree.sources / build_config.outputs(cell), contents)
                tree.relink(self.building.layout, ld_wrapper.KERNELS)
                _leave_fstab(tree.sources, tree.sources / build_config.outputs(cell))
                through = [word.replace("{tree}", str(tree.sources)) for word in self.building.through]
                commands = [[*through, *command] for command in commands]
                run_build(str(cell), commands, tree.sources, environment, log, self.timeout, lease)
            if checkout.state() != state:
                raise BuildError(
                    f"The checkout {checkout.root} changed while {cell} was built from it.", "Build again."
                )
            test_modules.check_made(tree.sources / build_config.outputs(cell), cell, contents.modules)
            _collect(tree.sources, out, cell, contents)
        seconds = time.monotonic() - started
        told = {
            "commit": state.version,
            "dirty": ", ".join(state.changes) or "no",
            "toolchain": "; ".join(tools.values()),
            "left out": left_out or "nothing",
            "adapted": adapted,
            "build seconds": f"{seconds:.0f}",
            "build log": str(log),
            **{f"size {path.name}": str(path.stat().st_size) for path in sorted(out.iterdir()) if path.is_file()},
        }
        (out / FACTS).write_text(json.dumps(told, indent=1))
        publish("build.done", str(cell), f"{seconds:.0f} s, log in {log}")

    @contextmanager
    def _tree(self, home: Path) -> Iterator[Tree]:
        """The build tree; an empty one, and dropped afterwards, where a kernel is built from scratch."""
        if not self.building.fresh:
            yield Tree(home)
            return
        shutil.rmtree(home / "src", ignore_errors=True)
        try:
            yield Tree(home)
        finally:
            shutil.rmtree(home / "src", ignore_errors=True)
            (home / "synced.json").unlink(missing_ok=True)

    def _wrappers(self, cell: Cell, tree: Tree) -> dict[str, str]:
        programs = toolchain.wrappers(cell, self.accelerator(cell.arch))
        if layout := self.building.layout:
            programs |= toolchain.layout_wrapper(cell, layout, tree.home / "pads")
        return programs

    def _sync(
        self, tree: Tree, cell: Cell, checkout: Checkout, state: State, environment: Mapping[str, str]
    ) -> tuple[str, str]:
        """Bring the tree to the checkout's state; what is left out and why (or nothing), and what files differ."""
        reason = (
            "OSv builds none when it is cross-built" if build_config.is_cross(cell) else toolchain.java_tools()
        )
        if not reason:  # asked of a copy: sources that come and go would have all outputs of the tree dropped
            proof = tree.home / "java"
            for folder in ("java-base", "java-tests"):
                shutil.copytree(checkout.root / "modules" / folder, proof / folder, dirs_exist_ok=True)
            reason = toolchain.java_unusable(proof / "java-tests", environment)
        adaptation = build_config.adaptation(cell, state.version, java=not reason)
        changed = tree.sync(checkout, adaptation)
        adapted = ", ".join(sorted({*adaptation.edits, *adaptation.files}))
        publish("build.progress", str(cell), f"{changed} source files brought up to date")
        if not reason:
            return "", adapted
        publish("build.left_out", str(cell), f"Java tests: {reason}")
        return f"Java tests: {reason}", adapted


def _submodules(checkout: Checkout, cell: Cell) -> list[str]:
    needed = ["kbuild", checkout.musl()]
    if cell.arch == "x86_64":
        needed.append("external/x64/acpica")
    if "openzfs" in cell.options:
        needed.append("modules/open_zfs/openzfs")
    return needed


def _log_path(cache: Cache, cell: Cell) -> Path:
    logs = cache.root / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    return logs / f"{cell.slug}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"


def _clear(out: Path, contents: ImageModules) -> None:
    """Drop what an earlier image left, which a build that fails quietly could pass off as its own."""
    out.mkdir(parents=True, exist_ok=True)
    for stale in ("usr.img", "disk.img", "zfs_disk.img", "cmdline", "loader.img", "append.manifest"):
        (out / stale).unlink(missing_ok=True)
    if contents.append_manifest:
        (out / "append.manifest").write_text(contents.append_manifest)


def _leave_fstab(sources: Path, out: Path) -> None:
    """As an earlier build would have: until 8c792811, 36 commits after v0.57.0, fs=ramfs fails in a clean tree."""
    if (fstab := sources / "static/etc/fstab").is_file():
        shutil.copyfile(fstab, out / "fstab")


def _collect(sources: Path, out: Path, cell: Cell, contents: ImageModules) -> None:
    """Copy what a machine and a backtrace need out of the build tree."""
    last = sources / "build/last"
    wanted = ["loader.elf", "loader-stripped.elf", "loader.img", "cmdline"]
    if cell.fs not in DISKLESS:
        wanted += _disks(cell)
    for name in wanted:
        if not (last / name).is_file():
            raise BuildError(f"OSv's build ended well but left no {name}.", f"Look into {last}.")
        shutil.copyfile(last / name, out / name)
    shutil.copyfile(sources / contents.manifest, out / "usr.manifest")
    debug_files.keep(sources, out)
    if contents.modules == EMPTY.modules:  # the base of images that are composed
        shutil.copyfile(last / "libenviron.so", out / "libenviron.so")


def _disks(cell: Cell) -> list[str]:
    """The disks' files, the root's first, in the order in which OSv counts them."""
    second = ["zfs_disk.img"] if "zfs_disk" in cell.options else []
    return ["usr.img" if cell.arch == "x86_64" else "disk.img", *second]


def _image(data: Path, cell: Cell, digest: str) -> Image:
    return Image(
        cell,
        kernel=data / ("loader-stripped.elf" if cell.arch == "x86_64" else "loader.img"),
        cmdline=(data / "cmdline").read_text().strip(),
        digest=digest,
        disks=tuple(Disk(data / name, "qcow2") for name in _disks(cell) if (data / name).exists()),
        symbols=data / "loader.elf",
        manifest=data / "usr.manifest",
        facts=json.loads((data / FACTS).read_text()),
    )
