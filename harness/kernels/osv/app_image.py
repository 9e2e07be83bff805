"""Puts other files than the tests into an OSv image: places them where OSv looks, and lists them in a manifest for
its build."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from harness.core.cell import Cell
from harness.core.errors import BuildError
from harness.core.events import publish
from harness.core.link_mode import LinkMode, launch_of
from harness.core.machine import Image
from harness.host import debian_packages
from harness.host.cache import Cache, digest_of
from harness.kernels.rootfs.contents import SETTINGS, Contents, compose
from harness.kernels.rootfs.disk_image import write_partitioned
from harness.kernels.rootfs.elf_dependencies import TRIPLETS
from harness.kernels.rootfs.filesystems import File, Folder, Link, Node, size

RECIPE = 2
"""Part of every cache key; raise it when the same contents are laid out differently."""

PROVIDED = frozenset(
    {
        "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libresolv.so.2", "libc.so.6", "libm.so.6",
        "libpthread.so.0", "libdl.so.2", "librt.so.1", "libaio.so.1", "libxenstore.so.3.0", "libcrypt.so.1",
    }
)  # fmt: skip
"""Libraries that the kernel itself provides. Source: OSv's core/elf.cc, supplied_modules."""

PROVIDED_UNLESS_HIDDEN = frozenset({"libstdc++.so.6"})
ALWAYS = ("libc6", "libgcc-s1")
"""Packages of every image: pthread_cancel(3) and exceptions load libgcc_s."""

SYSTEM_FOLDERS = frozenset(
    folder for base in ("/lib", "/usr/lib") for folder in (base, *(f"{base}/{name}" for name in TRIPLETS.values()))
) | {"/lib64"}


def files_of(cell: Cell, contents: Contents, cache: Cache) -> tuple[dict[str, Node], Mapping[str, str]]:
    """Maps each guest path to its file as OSv wants it; returns the versions of the named packages too. Raises
    `BuildError`, `HostError`.

    With Linux's own ld.so everything is as on Linux. Otherwise the kernel provides part of the libraries, and
    looks for the rest only in /usr/lib.
    """
    tree = debian_packages.fetch((*contents.packages, *ALWAYS), cell.arch, cache)
    versions = {name: tree.versions[name] for name in contents.packages}
    if launch_of(cell) is LinkMode.LINUX_LD:
        settings: dict[str, Node] = {path: File(text.encode()) for path, text in SETTINGS.items()}
        return settings | compose(contents, tree.root), versions
    hidden = {"hide_symbols", "app_symbols"} & set(cell.options)
    provided = PROVIDED if hidden else PROVIDED | PROVIDED_UNLESS_HIDDEN
    files = compose(replace(contents, modules=(*contents.modules, "libgcc_s.so.1")), tree.root, provided)
    return {_where_it_looks(path, node): node for path, node in files.items()}, versions


def source_parts(cell: Cell, contents: Contents) -> dict[str, object]:
    """What the files are made from, for the cache key."""
    source = debian_packages.source_parts((*contents.packages, *ALWAYS), cell.arch)
    return {"files": contents.parts, "source": source, "options": cell.options, "layout": RECIPE}


def manifest(files: Mapping[str, Node], folder: Path) -> str:
    """An OSv manifest of the files; those that are not yet files of the host are written to `folder`."""
    empty = folder / "empty"
    empty.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (path, node) in enumerate(sorted(files.items())):
        if isinstance(node, Link):
            source = f"->{node.target}"
        elif isinstance(node, Folder):
            source = str(empty)
        elif isinstance(node.content, bytes):
            ours = folder / f"{number}"
            ours.write_bytes(node.content)
            source = str(ours)
        else:
            source = str(node.content)
        lines.append(f"{path}: {source}\n")
    return "".join(lines)


def compose_rofs(cell: Cell, contents: Contents, base: Image, checkout: Path, cache: Cache) -> tuple[Path, str]:
    """A folder with `disk`, `usr.manifest` and `facts.json`, and the digest of what they were made from.

    The disk goes with the kernel of `base`, built from the same checkout, whose own script packs it.
    """
    script = checkout / "scripts/gen-rofs-img.py"
    packer = digest_of({"text": script.read_text()})
    parts = {"base": base.digest, "packer": packer, **source_parts(cell, contents)}

    def make(out: Path) -> None:
        publish("build.started", str(cell), f"composing rofs of {', '.join(contents.packages)}")
        files, versions = files_of(cell, contents, cache)
        system: dict[str, Node] = {
            "/libenviron.so": File(base.kernel.with_name("libenviron.so")),
            "/etc/fstab": File(checkout / "static/etc/fstab_rofs"),
            "/etc/hosts": File(checkout / "static/etc/hosts"),
            "/etc/mnttab": Link("/proc/mounts"),
            **{f"/{name}": Folder() for name in ("dev", "proc", "sys", "tmp", "data")},
        }
        text = manifest(system | files, out / "files")
        (out / "usr.manifest").write_text(f"[manifest]\n{text}")
        _pack(script, out / "usr.manifest", out / "rofs")
        write_partitioned(out / "rofs", out / "disk")
        (out / "rofs").unlink()
        facts = {**versions, "contents": f"{size(files)} bytes in {len(files)} files"}
        (out / "facts.json").write_text(json.dumps(facts))

    return cache.get("osv-app", parts, make), digest_of(parts)


def _pack(script: Path, manifest: Path, out: Path) -> None:
    command = [sys.executable, "-B", str(script), "-m", str(manifest), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not out.exists():
        output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise BuildError(f"OSv's {script.name} ended with status {done.returncode}:\n{output}")


def _where_it_looks(path: str, node: Node) -> str:
    at = PurePosixPath(path)
    if isinstance(node, File) and ".so" in at.name and str(at.parent) in SYSTEM_FOLDERS:
        return f"/usr/lib/{at.name}"
    return path
