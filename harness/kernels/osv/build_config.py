"""Everything that decides one build of OSv, as one value; its cache key and its commands are made from it."""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from harness.core.builders import builder_of
from harness.core.cell import Cell
from harness.core.errors import CellError, HostError
from harness.core.link_mode import LinkMode, launch_of
from harness.kernels.osv import test_modules
from harness.kernels.osv.checkout import State

RECIPE = 2
"""Part of every cache key; raise it when a patch of the tree or what is kept of a build changes."""

ARCHES = MappingProxyType({"x86_64": "x64", "aarch64": "aarch64"})
"""OSv's name of each arch of the harness."""

FILESYSTEMS = ("ext", "ramfs", "rofs", "rofs_with_ext", "rofs_with_zfs", "virtiofs", "zfs")
DISKLESS = ("ramfs", "virtiofs")
"""Filesystems whose files are not on the disk image but in the kernel, or in a folder of the host."""

CONFIGURATION: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "hide_symbols": {"conf_hide_symbols": "1"},
        "app_symbols": {"conf_hide_symbols": "1"},
        "lazy_stack": {"conf_lazy_stack": "1", "conf_lazy_stack_invariant": "1"},
        "openzfs": {"conf_zfs": "openzfs"},
        "debug": {},
        "zfs_disk": {},
        "host_zfs": {},
        **{mode: {} for mode in LinkMode},
    }
)
"""The configuration variables that each build option of a cell sets. `lazy_stack` checks its invariant too:
without the check a violation corrupts a stack silently."""

SAME_KERNEL = (*LinkMode, "zfs_disk", "host_zfs")
"""Options that change only what is on the disks."""

DISK_WORDS: Mapping[str, str] = MappingProxyType({"zfs_disk": "--create-zfs-disk", "host_zfs": "--use-openzfs"})
"""The argument of `scripts/build` with which an option says how disks are made."""


@dataclass(frozen=True, slots=True)
class ImageModules:
    """Which modules of its own tree OSv's build puts into an image, and what is added to them.

    `modules` is a list for `image=`; `append_manifest` is the text of a manifest to append to theirs
    (`/guest/path: /host/path` lines); `key` stands for it and its files' content in cache keys.
    """

    modules: str = "tests"
    append_manifest: str = ""
    key: str = ""

    @property
    def manifest(self) -> str:
        """The path, in the build tree, of the list of the image's files; for images of tests it is the tests'
        own."""
        if self.modules in test_modules.MODULES:
            return f"modules/{self.modules}/usr.manifest"
        return "build/last/usr.manifest"


EMPTY = ImageModules("empty")
"""Only OSv's own files."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How the build of a kernel differs from the usual one, to find out which part of a measurement is due to the
    commit.

    `layout` lays its code out differently (0 is the linker's own layout). `fresh` builds from scratch in a tree
    that is removed afterwards. `through` is put before each command of the build: it enters an environment of the
    user's, whose working directory is the build tree, which is also `{tree}` in its words.
    """

    layout: int = 0
    fresh: bool = False
    through: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.layout and self.through:
            raise ValueError("A layout is made by this host's linker.")

    @property
    def parts(self) -> dict[str, object]:
        """Which of it decides the bytes of a kernel, for a cache key; empty for the usual build."""
        return {name: value for name, value in asdict(self).items() if value}


def tests_of(cell: Cell) -> ImageModules:
    """The upstream tests, linked for the cell's launch mode."""
    return ImageModules(test_modules.module_of(cell), test_modules.manifest_of(cell))


def check(cell: Cell) -> None:
    """Raise `CellError` for what this recipe cannot build, `HostError` for what this host cannot compile."""
    if cell.arch not in ARCHES:
        raise CellError(f"OSv is not built for {cell.arch}.", f"Arches: {', '.join(ARCHES)}.")
    if cell.fs not in FILESYSTEMS:
        raise CellError(f"OSv has no root filesystem {cell.fs}.", f"Filesystems: {', '.join(FILESYSTEMS)}.")
    builder = builder_of(cell)
    made_by = builder.option if builder else ""
    if unknown := [option for option in cell.options if option not in (*CONFIGURATION, made_by)]:
        raise CellError(f"OSv has no build option {unknown[0]}.", f"Options: {', '.join(CONFIGURATION)}.")
    if cell.arch != platform.machine() and cell.arch != "aarch64":
        raise HostError(f"OSv can't be cross-built for {cell.arch}.", f"Build it on an {cell.arch} host.")
    if builder and is_cross(cell):
        raise HostError(f"A builder compiles for its host's arch, not for {cell.arch}.", f"Leave {made_by} out.")
    if builder and _is_zfs_beside(cell):
        raise CellError(f"{cell} can't be built: a builder has no QEMU for ZFS.", f"Leave {made_by} out.")


def is_cross(cell: Cell) -> bool:
    """Whether the cell's arch is not this host's."""
    return cell.arch != platform.machine()


def tree_name(cell: Cell) -> str:
    """The build tree of a cell: cells of one kernel share it, whatever their filesystem and tests. To `make`, a
    path with `=` in it is no path."""
    options = [option.replace("=", "-") for option in cell.options if option not in SAME_KERNEL]
    return "-".join([cell.arch, cell.profile, *options])


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """Everything that decides one build of OSv.

    `host` is what of this host gets into the image, by its name in a cache key (`toolchain.taken_from_host`);
    `configures` is whether the checkout has a configuration step (since a4ab6a33, after v0.57.0).
    """

    cell: Cell
    contents: ImageModules
    options: BuildOptions
    state: State
    host: Mapping[str, Any]
    configures: bool = True

    @property
    def parts(self) -> dict[str, object]:
        """What the image is made from, for its cache key."""
        return {
            "recipe": RECIPE,
            "source": self.state.digest,
            "version": self.state.version,
            "kernel": tree_name(self.cell),
            "commands": self.commands(jobs=0),
            "contents": ["" if self.contents.key else self.contents.append_manifest, self.contents.key],
            **self.host,
            **self.options.parts,
        }

    @property
    def builder(self) -> str:
        """What compiles the tree's objects: those of another builder can't be used."""
        return json.dumps([self.host["tools"], self.options.through, self.host["ingredients"]], sort_keys=True)

    @property
    def outputs(self) -> str:
        """The folder of the build's results in the tree; `build/last` links to it."""
        return f"build/{_mode(self.cell)}.{ARCHES[self.cell.arch]}"

    @property
    def disks(self) -> tuple[str, ...]:
        """The disks' files in the order in which OSv counts them, the root's first."""
        root = () if self.cell.fs in DISKLESS else ("usr.img" if self.cell.arch == "x86_64" else "disk.img",)
        return (*root, "zfs_disk.img") if root and "zfs_disk" in self.cell.options else root

    def commands(self, jobs: int) -> list[list[str]]:
        """The commands to run in the tree, one after the other.

        `app_symbols` takes two passes: the second links a kernel that exports just what the programs of the first
        use. Some filesystems need what only `fs=zfs` makes (v0.57.0-398), and fail in a tree where zfs has never
        been built: so zfs is made first, and a tree's past makes no difference.
        """
        cell, modules = self.cell, self.contents.modules
        variables = [f"arch={ARCHES[cell.arch]}", f"mode={_mode(cell)}", f"conf_drivers_profile={cell.profile}"]
        variables += [f"{name}={value}" for name, value in sorted(configuration(cell).items())]
        variables += test_modules.variables_of(modules, launch_of(cell))
        # scripts/build adds the ext driver where another filesystem is ext, and forgets that of zfs.
        image = f"{modules},zfs" if _is_zfs_beside(cell) else modules
        build = ["scripts/build", f"-j{jobs}", *variables, f"fs={cell.fs}", f"image={image}"]
        build += [word for option, word in DISK_WORDS.items() if option in cell.options]
        if self.contents.append_manifest:
            build.append("--append-manifest")
        steps = [*test_modules.steps_of(modules), build]
        if unmade := [f"{self.outputs}/{name}" for name in _unmade(cell)]:
            steps.insert(0, ["make", f"-j{jobs}", *variables, *unmade])
            if self.configures:
                steps.insert(0, ["make", "-f", "conf/Makefile", "-j1", *variables, "config"])
        if "app_symbols" in cell.options:
            steps.append(["scripts/generate_app_version_script.sh", "build/last/usr.manifest"])
            steps.append([*build, "conf_version_script=build/last/app_version_script"])
        return steps


def configuration(cell: Cell) -> dict[str, str]:
    """OSv's configuration variables that the cell's options set."""
    return {name: value for option in cell.options for name, value in CONFIGURATION.get(option, {}).items()}


def _unmade(cell: Cell) -> tuple[str, ...]:
    if cell.fs == "ramfs":  # stand in usr_ramfs.manifest.skel
        return "tools/mount/mount-fs.so", "tools/mount/umount.so"
    if _is_zfs_beside(cell):  # boots to make that filesystem
        return ("zfs_builder-stripped.elf" if cell.arch == "x86_64" else "zfs_builder.img",)
    return ()


def _is_zfs_beside(cell: Cell) -> bool:
    """Whether there is ZFS besides the root: on the same disk, or on a second one."""
    return cell.fs == "rofs_with_zfs" or "zfs_disk" in cell.options


def _mode(cell: Cell) -> str:
    return "debug" if "debug" in cell.options else "release"
