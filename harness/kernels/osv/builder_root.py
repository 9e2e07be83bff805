"""Makes the root of a builder, once, and tells what is in it.

A root is unpacked, not installed: no package's script runs, so what those would have made (alternatives, the
linker's cache) is made here. It is cached by what it is asked to be, and the first fetch pins the versions, as
with all packages; they are part of what each kernel is built from.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.core.builders import FILE, Builder, builder_of
from harness.core.cell import Cell
from harness.core.errors import BuildError, HostError
from harness.core.events import publish
from harness.host import debian_packages
from harness.host.cache import Cache, digest_of
from harness.host.debian_packages import MIRROR, Source
from harness.host.private_root import CURE, FOLDERS, MOUNT_POINT, in_root, refusal
from harness.host.process.die_with_parent import run_with_parent
from harness.kernels.osv import container_root

RECIPE = 1
"""Part of the cache key; raise it when what is made of the packages changes."""

ROOT, TOLD = "root", "builder.json"
KIND = "builder"
PATH = "/usr/bin:/bin:/usr/sbin:/sbin"

TOOLS = ("gcc", "g++", "ld.bfd")
ALTERNATIVES = {
    "awk": "gawk", "c++": "g++", "cc": "gcc", "sh": "dash", "which": "which.debianutils", "yacc": "bison.yacc",
}  # fmt: skip
"""Links in /usr/bin that packages' scripts would make."""

COMPILERS = ("cpp", "g++", "gcc", "gcc-ar", "gcc-nm", "gcc-ranlib", "gcov")
"""Links in /usr/bin to a builder's own version of gcc."""

# Roots without their own links have folders in their place (Debian 12).
_MERGED = 'for d in bin sbin lib lib64; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done'


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What a builder's root has: the first line of each tool's `--version`, Boost's version, the text of
    /etc/os-release, and a digest of all packages' versions."""

    tools: Mapping[str, str]
    boost: str
    release: str
    packages: str

    def facts(self, builder: Builder) -> dict[str, str]:
        """What results and the history tell of it."""
        told = {"compiler": self.tools["g++"], "linker": self.tools["ld.bfd"], "boost": self.boost}
        return {"builder": builder.name, **told, "packages": self.packages}


def toolbox(builder: Builder, arch: str, cache: Cache) -> Toolbox:
    """What the builder has; its root is made if there is none yet. Raises what `root` raises."""
    data = cache.unverified(KIND, parts(builder, arch))
    return _told(data or root(builder, arch, cache).parent)


def taken_from(builder: Builder, arch: str, cache: Cache) -> Mapping[str, Any]:
    """What of the builder decides the bytes of an image, as `toolchain.taken_from_host` tells it of this host."""
    has = toolbox(builder, arch, cache)
    ingredients = {"boost": has.boost, "host": has.release, "packages": has.packages}
    return {"tools": has.tools, "ingredients": ingredients, "java": f"the builder {builder.name} has no Java"}


@dataclass(frozen=True, slots=True)
class Workplace:
    """A builder's root with the tree that is built in it."""

    builder: Builder
    place: Path
    has: Toolbox

    @classmethod
    def of(cls, cell: Cell, cache: Cache) -> "Workplace | None":
        """The root of the cell's builder, verified; None if this host builds the cell. Raises what `root`
        raises."""
        builder = builder_of(cell)
        if builder is None:
            return None
        place = root(builder, cell.arch, cache)
        return cls(builder, place, _told(place.parent))

    def entered(self, command: Sequence[str], sources: Path, ccache: Path, manifest: str = "") -> list[str]:
        """The command line that runs a command of the build there. It may write to the tree and to the compilers'
        cache, and to nothing else of this host; what `manifest` names is shown to it."""
        ccache.mkdir(parents=True, exist_ok=True)
        return in_root(command, self.place, sources, [sources.parent, ccache], folders_of(manifest))

    def on_host(self, manifest: str) -> str:
        """The list of an image's files with this host's paths of what the build took from its root."""
        return re.sub(r"(?m)^(/[^:\n]*:[ \t]*)(/[^\n]*)$", self._found, manifest)

    def _found(self, line: re.Match[str]) -> str:
        here = self.place / line[2].strip("/").removesuffix("/**")
        return f"{line[1]}{self.place}{line[2]}" if here.exists() else line[0]


def folders_of(manifest: str) -> list[Path]:
    """The folders of the host files that a manifest names. A path in a folder that roots have is the root's."""
    named = (line.partition(":")[2].strip() for line in manifest.splitlines())
    own = tuple(f"/{name}/" for name in FOLDERS)
    files = (Path(name.removesuffix("/**")) for name in named if name.startswith("/") and not name.startswith(own))
    folders = {file if file.is_dir() else file.parent for file in files}
    return sorted(one for one in folders if one.is_dir() and not folders.intersection(one.parents))


def root(builder: Builder, arch: str, cache: Cache) -> Path:
    """The folder of the builder's root. Raises `HostError` with what is lacking, be it packages, room, the
    network, or the right to have namespaces: no kernel is to blame for that."""
    try:
        return cache.get(KIND, parts(builder, arch), lambda out: _make(builder, arch, out)) / ROOT
    except BuildError as error:
        cure = f"{error.hint} What it is made of is its row in {FILE}."
        raise HostError(f"The builder {builder.name} can't be made: {error.message}", cure) from error


def parts(builder: Builder, arch: str) -> dict[str, object]:
    """What a root is made from, for its cache key."""
    made_of = asdict(_source(builder)) | {"mirror": _source(builder).server()}
    where = {"container": builder.container} if builder.container else made_of
    compiler = {"gcc": builder.gcc} if builder.gcc else {}
    return {"recipe": RECIPE, "arch": arch, "packages": sorted(builder.installed), **compiler, **where}


def _source(builder: Builder) -> Source:
    return Source(
        builder.suite, builder.archives, builder.components, builder.mirror or MIRROR, builder.mirror_in,
        Path(builder.keyring), builder.any_age,
    )  # fmt: skip


def _make(builder: Builder, arch: str, out: Path) -> None:
    publish("builder.started", builder.name, "its root is made once; this takes minutes and some 1.5 GB")
    if builder.container:
        container_root.export(builder.container, builder.installed, out / ROOT)
        versions = {"installed": container_root.versions(out / ROOT)}
    else:
        debian_packages.extract(builder.installed, arch, _source(builder), out, [f"--setup-hook={_MERGED}"])
        versions = json.loads((out / "versions.json").read_text())
    finish(builder, out, versions)


def finish(builder: Builder, out: Path, versions: Mapping[str, object]) -> None:
    """Make a root of the files in `out`, which `versions` tells apart from others: what packages' scripts would
    have made, and a note of what it has. Raises `HostError` if it can't be entered or lacks a tool."""
    _configure(out / ROOT)
    if builder.gcc:
        _choose_gcc(builder, out / ROOT / "usr/bin")
    told = asdict(_look(builder, out, digest_of(versions)))
    (out / TOLD).write_text(json.dumps(told, indent=1))
    publish("builder.done", builder.name, "; ".join((*told["tools"].values(), f"Boost {told['boost']}")))


def _configure(place: Path) -> None:
    for name, target in ALTERNATIVES.items():
        link = place / "usr/bin" / name
        if not link.is_symlink() and not link.exists() and (link.parent / target).exists():
            link.symlink_to(target)
    (place / MOUNT_POINT).mkdir(exist_ok=True)
    if not (listed := place / "etc/ld.so.conf").exists():
        listed.write_text("include /etc/ld.so.conf.d/*.conf\n")
    for path in ("etc/resolv.conf", "etc/hosts"):  # a bind needs a file to be bound over
        if (file := place / path).is_symlink() or not file.exists():
            file.unlink(missing_ok=True)
            file.touch()


def _choose_gcc(builder: Builder, tools: Path) -> None:
    """Have the usual names of compilers lead to the builder's version. Raises `HostError` if it lacks that."""
    for name in COMPILERS:
        if (versioned := tools / f"{name}-{builder.gcc}").exists():
            (tools / name).unlink(missing_ok=True)
            (tools / name).symlink_to(versioned.name)
        elif name in TOOLS:
            raise HostError(
                f"The root of the builder {builder.name} has no {versioned.name}.",
                f"Its row in {FILE} says gcc = {builder.gcc!r}: name a version that its system packages.",
            )


def _look(builder: Builder, out: Path, packages: str) -> Toolbox:
    """Find what the root has by running it; its linker's cache is made on the way."""
    place = out / ROOT
    _run(builder, out, ["ldconfig", "-C", str(out / "ld.so.cache")])
    (out / "ld.so.cache").rename(place / "etc/ld.so.cache")
    tools = {name: _run(builder, out, [name, "--version"]).partition("\n")[0] for name in TOOLS}
    boost = ""
    with suppress(OSError):
        header = (place / "usr/include/boost/version.hpp").read_text()
        boost = " ".join(re.findall(r'BOOST_LIB_VERSION "(.*)"', header))
    release = (place / "etc/os-release").read_text()
    return Toolbox(tools, boost, release, packages[:12])


def _run(builder: Builder, out: Path, command: Sequence[str]) -> str:
    """The output of a command in the root that is being made. Raises `HostError`."""
    done = run_with_parent(in_root(command, out / ROOT, out, [out]), {"PATH": PATH, "LC_ALL": "C"})
    if done.returncode:
        if why := refusal(done.stderr.splitlines()):
            raise HostError(f"The root of the builder {builder.name} can't be entered: {why}", CURE)
        raise HostError(
            f"The root of the builder {builder.name} does not work: `{' '.join(command)}` failed there: "
            f"{(done.stderr or done.stdout).strip()[-400:]}",
            "Look at what its row of builders.toml names.",
        )
    return done.stdout


def _told(data: Path) -> Toolbox:
    told: Mapping[str, Any] = json.loads((data / TOLD).read_text())
    return Toolbox(**told)
