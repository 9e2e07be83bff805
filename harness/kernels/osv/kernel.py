"""The OSv kernel: builds images of a checkout that the user names, with the checkout's own `scripts/build`."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.core import facts
from harness.core.builders import builder_of
from harness.core.cell import Cell
from harness.core.machine import Disk, Image
from harness.host.cache import Cache, digest_of
from harness.host.temp_dir import temporary_dir
from harness.kernels.base import Origin
from harness.kernels.compilers import compilers
from harness.kernels.osv import app_image, build_config, toolchain
from harness.kernels.osv.build_config import EMPTY, BuildConfig, BuildOptions, ImageModules
from harness.kernels.osv.checkout import Checkout
from harness.kernels.osv.image_build import FACTS, ImageBuild
from harness.kernels.osv.rofs import with_shared_root
from harness.kernels.rootfs.contents import Contents

BUILDERS = ("compiler", "linker", "boost", "packages")
"""What an image's own facts tell of its builder, by the names that the history has."""


class Osv:
    """Builds images of the checkout at `root`, each kernel in a tree of its own in the cache.

    `options` say how the build differs from the usual one; `timeout` limits one build, in seconds. The checkout is
    only read when it is needed.
    """

    name = "osv"

    def __init__(
        self,
        root: Path,
        options: BuildOptions = BuildOptions(),  # noqa: B008
        timeout: float = 3 * 3600,
    ) -> None:
        self.root = root
        self.options = options
        self.timeout = timeout

    def build(self, cell: Cell, cache: Cache) -> Image:
        """Build the image of the cell with upstream's tests. Raises `CheckoutError`, `CellError`, `HostError`, or
        `BuildError` with the first error and the log."""
        toolchain.check_tests(cell)
        return self.build_modules(cell, cache, build_config.tests_of(cell))

    def prepare(self, cell: Cell, cache: Cache) -> None:
        """Build the kernel, with an empty image. Raises what `build` raises."""
        self._image(cell, cache, EMPTY)

    def origin(self, image: Image) -> Origin:
        """The checkout's commit, as it is now, and what built the image."""
        checkout = Checkout(self.root)
        state = checkout.state()
        described = f"{state.version}+changes" if state.dirty else state.version
        return Origin(state.commit, described, checkout.committed(), self._builder(image), checkout.lineage())

    def _builder(self, image: Image) -> str:
        """What decides the bytes of a kernel besides its sources: the compiler, by the name that it wrote into the
        kernel, the linker, Boost, and unusual build options."""
        cell = image.cell
        if builder_of(cell):
            told = {name: image.facts.get(name, "") for name in BUILDERS}
            told["compiler"] = compilers(image.symbols) or told["compiler"]
            return facts.format_facts({**told, "options": self._unusual()})
        taken = toolchain.taken_from_host(cell, compiles=not self.options.through)
        linker = next((told for name, told in taken["tools"].items() if name.endswith("ld.bfd")), "")
        compiler = next((told for name, told in taken["tools"].items() if name.endswith("g++")), "")
        return facts.format_facts(
            {
                "compiler": compilers(image.symbols) or compiler,
                "linker": linker,
                "boost": "" if self.options.through else toolchain.boost(cell, taken["ingredients"]),
                "through": " ".join(self.options.through),
                "options": self._unusual(),
            }
        )

    def _unusual(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.options.parts.items() if name != "through")

    def describe(self) -> str:
        """`OSv v0.57.0-398-g0e34e4dc from /path`, and the uncommitted changes."""
        checkout = Checkout(self.root)
        return f"OSv {checkout.state()} from {checkout.root}"

    def build_with(self, cell: Cell, cache: Cache, contents: Contents) -> Image:
        """Build the image of the cell with a program of the user's or of Debian's. Raises what `build` raises."""
        return _rooted(cell, cache, lambda of: self._image_with(of, cache, contents))

    def build_modules(self, cell: Cell, cache: Cache, contents: ImageModules) -> Image:
        """Build the image of the cell with modules of OSv's own tree, and files that are appended to their
        manifest. Raises what `build` raises."""
        return _rooted(cell, cache, lambda of: self._image(of, cache, contents))

    def config(self, cell: Cell, cache: Cache, contents: ImageModules) -> BuildConfig:
        """What decides the build of the cell's image, as the checkout and this host are now. Raises what `build`
        raises before it builds."""
        build_config.check(cell)
        checkout = Checkout(self.root)
        checkout.require_submodules(*_submodules(checkout, cell))
        host = toolchain.taken_from(cell, cache, compiles=not self.options.through)
        return BuildConfig(cell, contents, self.options, checkout.state(), host, checkout.configures())

    def _image(self, cell: Cell, cache: Cache, contents: ImageModules) -> Image:
        config = self.config(cell, cache, contents)
        data = cache.get("osv", config.parts, ImageBuild(config, Checkout(self.root), cache, self.timeout).run)
        return Image(
            cell,
            kernel=data / ("loader-stripped.elf" if cell.arch == "x86_64" else "loader.img"),
            cmdline=(data / "cmdline").read_text().strip(),
            digest=digest_of(config.parts),
            disks=tuple(Disk(data / name, "qcow2") for name in config.disks),
            symbols=data / "loader.elf",
            manifest=data / "usr.manifest",
            facts=json.loads((data / FACTS).read_text()),
        )

    def _image_with(self, cell: Cell, cache: Cache, contents: Contents) -> Image:
        """A rofs disk is composed without OSv's build, in seconds, for the kernel of an empty image; OSv's build
        makes any other filesystem."""
        if cell.fs == "rofs" and "zfs_disk" not in cell.options:
            checkout, base = Checkout(self.root), self._image(cell, cache, EMPTY)
            data, digest = app_image.compose_rofs(cell, contents, base, checkout.root, cache)
            told = {**base.facts, **json.loads((data / FACTS).read_text())}
            disk, listing = Disk(data / "disk"), data / "usr.manifest"
            return replace(base, disks=(disk,), manifest=listing, digest=digest, facts=told)
        with temporary_dir("osv-harness-files-") as staging:
            files, versions = app_image.files_of(cell, contents, cache)
            text = app_image.manifest(files, staging)
            key = digest_of(app_image.source_parts(cell, contents))
            image = self._image(cell, cache, ImageModules(EMPTY.modules, text, key))
        return replace(image, facts={**image.facts, **versions})


def _rooted(cell: Cell, cache: Cache, build: Callable[[Cell], Image]) -> Image:
    """The image that `build` makes of the cell, with its root in a folder of this host if the cell has it
    there."""
    image = build(cell)
    return with_shared_root(image, build, cache) if cell.fs == "virtiofs" else image


def _submodules(checkout: Checkout, cell: Cell) -> list[str]:
    needed = ["kbuild", checkout.musl()]
    if cell.arch == "x86_64":
        needed.append("external/x64/acpica")
    if "openzfs" in cell.options:
        needed.append("modules/open_zfs/openzfs")
    return needed
