"""Builds one image of OSv, in a build tree of its own in the cache."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import BuildError, HostError
from harness.core.events import publish
from harness.host.cache import Cache
from harness.kernels.osv import debug_files, ld_wrapper, patches, test_modules, toolchain
from harness.kernels.osv.build import run_build
from harness.kernels.osv.build_config import EMPTY, BuildConfig, is_cross, tree_name
from harness.kernels.osv.build_tree import Tree
from harness.kernels.osv.builder_root import Workplace
from harness.kernels.osv.checkout import Checkout

FACTS = "facts.json"
STALE = ("usr.img", "disk.img", "zfs_disk.img", "cmdline", "loader.img", "append.manifest")
"""Outputs of an earlier image, which a build that fails silently could present as its own."""


@dataclass(frozen=True, slots=True)
class ImageBuild:
    """Builds what `config` says from the checkout; `timeout` limits it, in seconds."""

    config: BuildConfig
    checkout: Checkout
    cache: Cache
    timeout: float

    def run(self, out: Path) -> None:
        """Build, and write to `out` what a machine and a backtrace need and the facts of the build. Raises
        `HostError`, or `BuildError` with the first error and the log."""
        config, about, name = self.config, str(self.config.cell), self._tree_name()
        place = self._workplace()
        with self.cache.locked(f"tree-{name}"), self._tree(self.cache.scratch(name)) as tree:
            started, log = time.monotonic(), self._log_path()
            publish("build.started", about, f"OSv {config.state} in {tree.sources}")
            tree.wrap(self._wrappers(tree))
            environment = toolchain.environment(config.cell, tree.bin, tree.home.parent, self.cache)
            left_out, adapted = self._sync(tree, environment)
            self._make(tree, environment, log, place)
            if self.checkout.state() != config.state:
                raise BuildError(
                    f"The checkout {self.checkout.root} changed while {about} was built from it.", "Build again."
                )
            test_modules.check_made(tree.sources / config.outputs, config.cell, config.contents.modules)
            self._collect(tree.sources, out, place)
        seconds = time.monotonic() - started
        facts = {
            **(place.has.facts(place.builder) if place else {}),
            "commit": config.state.version,
            "dirty": ", ".join(config.state.changes) or "no",
            "toolchain": "; ".join(config.host["tools"].values()),
            "left out": left_out or "nothing",
            "adapted": adapted,
            "build seconds": f"{seconds:.0f}",
            "build log": str(log),
            **{f"size {path.name}": str(path.stat().st_size) for path in sorted(out.iterdir()) if path.is_file()},
        }
        (out / FACTS).write_text(json.dumps(facts, indent=1))
        publish("build.done", about, f"{seconds:.0f} s, log in {log}")

    def _workplace(self) -> Workplace | None:
        """The root in which the tree is built, if that is not this host's."""
        place = Workplace.of(self.config.cell, self.cache)
        if place and place.has.packages != self.config.host["ingredients"]["packages"]:
            raise HostError(
                f"The root of the builder {place.builder.name} was damaged, and was made anew of newer packages.",
                "Run the command again.",
            )
        return place

    def _tree_name(self) -> str:
        """Each checkout and kernel has a tree of its own."""
        owner = hashlib.sha256(str(self.checkout.root).encode()).hexdigest()[:8]
        fresh = "-fresh" if self.config.options.fresh else ""
        return f"osv-{owner}-{tree_name(self.config.cell)}{fresh}"

    @contextmanager
    def _tree(self, home: Path) -> Iterator[Tree]:
        """The build tree; for a build from scratch, an empty one that is removed afterwards."""
        if not self.config.options.fresh:
            yield Tree(home)
            return
        shutil.rmtree(home / "src", ignore_errors=True)
        try:
            yield Tree(home)
        finally:
            shutil.rmtree(home / "src", ignore_errors=True)
            (home / "synced.json").unlink(missing_ok=True)

    def _wrappers(self, tree: Tree) -> dict[str, str]:
        cell, layout = self.config.cell, self.config.options.layout
        programs = toolchain.wrappers(cell, "tcg")  # OSv boots itself to fill a zfs disk: that runs on any host
        return programs | toolchain.layout_wrapper(cell, layout, tree.home / "pads") if layout else programs

    def _sync(self, tree: Tree, environment: Mapping[str, str]) -> tuple[str, str]:
        """Bring the tree to the checkout's state. Returns what is left out and why (or an empty text), and which
        files differ."""
        cell, checkout = self.config.cell, self.checkout
        reason = "OSv builds none when it is cross-built" if is_cross(cell) else self.config.host["java"]
        if not reason:  # asked of a copy: sources that come and go would have all outputs of the tree dropped
            proof = tree.home / "java"
            for folder in ("java-base", "java-tests"):
                shutil.copytree(checkout.root / "modules" / folder, proof / folder, dirs_exist_ok=True)
            reason = toolchain.java_unusable(proof / "java-tests", environment)
        adaptation = patches.adaptation(cell, self.config.state.version, java=not reason)
        changed = tree.sync(checkout, adaptation)
        adapted = ", ".join(sorted({*adaptation.edits, *adaptation.files}))
        publish("build.progress", str(cell), f"{changed} source files brought up to date")
        if not reason:
            return "", adapted
        publish("build.left_out", str(cell), f"Java tests: {reason}")
        return f"Java tests: {reason}", adapted

    def _make(self, tree: Tree, environment: Mapping[str, str], log: Path, place: Workplace | None) -> None:
        """Run the commands of the build in the tree."""
        config, sources = self.config, tree.sources
        with tree.building() as lease:
            tree.built_by(config.builder)
            toolchain.lay_out_packages(config.cell, sources, self.cache)
            self._clear(sources / config.outputs)
            tree.relink(config.options.layout, ld_wrapper.KERNELS)
            _leave_fstab(sources, sources / config.outputs)
            through = [word.replace("{tree}", str(sources)) for word in config.options.through]
            commands = [[*through, *command] for command in config.commands(os.cpu_count() or 1)]
            if place:
                ccache = Path(environment["CCACHE_DIR"])
                added = config.contents.append_manifest
                commands = [place.entered(command, sources, ccache, added) for command in commands]
            run_build(str(config.cell), commands, sources, environment, log, self.timeout, lease)

    def _clear(self, outputs: Path) -> None:
        outputs.mkdir(parents=True, exist_ok=True)
        for stale in STALE:
            (outputs / stale).unlink(missing_ok=True)
        if appended := self.config.contents.append_manifest:
            (outputs / "append.manifest").write_text(appended)

    def _collect(self, sources: Path, out: Path, place: Workplace | None) -> None:
        last, contents = sources / "build/last", self.config.contents
        for name in ("loader.elf", "loader-stripped.elf", "loader.img", "cmdline", *self.config.disks):
            if not (last / name).is_file():
                raise BuildError(f"OSv's build ended well but left no {name}.", f"Look into {last}.")
            shutil.copyfile(last / name, out / name)
        listed = (sources / contents.manifest).read_text()
        (out / "usr.manifest").write_text(place.on_host(listed) if place else listed)
        debug_files.keep(sources, out)
        if contents.modules == EMPTY.modules:  # the base of images that are composed
            shutil.copyfile(last / "libenviron.so", out / "libenviron.so")

    def _log_path(self) -> Path:
        logs = self.cache.root / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        return logs / f"{self.config.cell.slug}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"


def _leave_fstab(sources: Path, out: Path) -> None:
    """Write the file that an earlier build would have left: until 8c792811, 36 commits after v0.57.0, fs=ramfs
    fails in a clean tree."""
    if (fstab := sources / "static/etc/fstab").is_file():
        shutil.copyfile(fstab, out / "fstab")
