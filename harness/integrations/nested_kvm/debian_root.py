"""The system of a lab that does not use this host's: Debian's packages and wheels of the lab's arch, unpacked.

The folders of this tree are mounted at `/usr`, `/bin` and so on, so that programs find what they expect. Python's
modules are compiled in advance: compiling under TCG takes longer than many tests.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.core.errors import BuildError, HostError
from harness.core.events import publish
from harness.host import debian_packages, fetch_failures
from harness.host.cache import Cache
from harness.host.host import QEMU_PACKAGES
from harness.host.process.die_with_parent import run_with_parent
from harness.integrations.nested_kvm.code import compile_folder
from harness.integrations.nested_kvm.unpacked import VERSION, debians_python

DEBIANS = ("aarch64",)
"""Arches whose labs have this system on every host, so that they are the same everywhere."""

PYTHON, SHELL = "/usr/bin/python3", "/bin/bash"
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/lab/bin"
FORMAT = 1
"""Part of the cache key: raise it when what is kept of the packages changes."""

PACKAGES = (
    "base-files", "bash", "binutils", "coreutils", "dash", "e2fsprogs", "findutils", "grep", "iproute2",
    "libc-bin", "nftables", "procps", "python3", "qemu-utils", "sed", "slirp4netns", "util-linux",
)  # fmt: skip
"""Besides the QEMU of the arch: what the harness runs for a guest, and what makes a shell useful."""

WHEELS = (
    "alembic", "click", "filelock", "jinja2", "numpy", "pexpect", "platformdirs", "psycopg[binary]", "pyelftools",
    "pytest", "pytest-testinfra", "pytest-xdist", "qemu.qmp", "rich", "scipy", "sqlalchemy",
)  # fmt: skip
"""The harness's dependencies that running tests imports; not those for loads and pictures."""

GLIBC = 36
"""Bookworm's glibc is 2.36: wheels for any from 2.17 on work."""

SITE = Path("usr/local/lib") / f"python{VERSION}" / "dist-packages"
KEPT = ("bin", "etc", "lib", "lib64", "sbin", "usr")
UNREAD = ("usr/share/perl", "usr/share/icons", "usr/share/bash-completion", "usr/share/zsh", "usr/include")


def debian_root(arch: str, cache: Cache) -> Path:
    """The folder with `usr`, `etc` and so on. Raises `HostError` or `BuildError`."""
    wanted = (*PACKAGES, QEMU_PACKAGES[arch])
    parts = {"form": FORMAT, "source": debian_packages.source_parts(wanted, arch), "wheels": _requirements()}
    return cache.get("lab-root", parts, lambda out: _write(wanted, arch, cache, out / "root")) / "root"


def _write(wanted: Sequence[str], arch: str, cache: Cache, root: Path) -> None:
    tree = debian_packages.fetch(wanted, arch, cache).root
    for name in KEPT:
        if (tree / name).is_symlink():
            root.mkdir(exist_ok=True)
            (root / name).symlink_to((tree / name).readlink())
        elif (tree / name).is_dir():
            shutil.copytree(tree / name, root / name, symlinks=True, copy_function=_link)
    for name in UNREAD:
        shutil.rmtree(root / name, ignore_errors=True)
    _install(arch, root / SITE)
    python = debians_python(cache)
    for folder in (root / "usr/lib" / f"python{VERSION}", root / SITE):
        compile_folder(python, folder, f"/{folder.relative_to(root)}")


def _link(source: str, place: str) -> None:
    """Make a hard link: the cache is one filesystem, and nobody writes to the file."""
    os.link(source, place, follow_symlinks=False)


def _requirements() -> list[str]:
    """The wheels by name, in the versions that are installed here if this Python has the lab's version."""
    same = sys.version_info[:2] == tuple(map(int, VERSION.split(".")))
    return [f"{name}{_version(name.partition('[')[0]) if same else ''}" for name in WHEELS]


def _version(name: str) -> str:
    """`==1.2.3`, or empty if the package is not installed here."""
    try:
        return f"=={importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return ""


def _install(arch: str, site: Path) -> None:
    """Unpack the wheels and their dependencies into a folder; nothing of them is run."""
    if importlib.util.find_spec("pip") is None:
        raise HostError("pip is missing, which fetches a lab's wheels.", f"{sys.executable} -m ensurepip")
    tags = ["manylinux2014", *(f"manylinux_2_{minor}" for minor in range(17, GLIBC + 1))]
    publish("packages.fetching", " ".join(WHEELS), f"wheels of {arch} for Python {VERSION}")
    done = run_with_parent(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-input"),
            *("--disable-pip-version-check", "--only-binary=:all:", "--implementation", "cp"),
            *("--python-version", VERSION, "--target", str(site)),
            *(word for tag in tags for word in ("--platform", f"{tag}_{arch}")),
            *_requirements(),
        ]
    )
    if done.returncode:
        words = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise BuildError(
            f"The wheels that a lab of {arch} needs could not be fetched:\n{words}",
            fetch_failures.cure(words, "Python's package index", site, "PIP_INDEX_URL"),
        )
