"""How programs of packages that were unpacked beside the host's own system are run there."""

from dataclasses import dataclass
from pathlib import Path

from harness.core.arch import host_arch
from harness.host import debian_packages
from harness.host.cache import Cache

LOADERS = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}
VERSION = "3.11"
"""Debian bookworm's: that of a lab whose system is Debian's."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python's command line, what its environment has besides, and which it is, for a key."""

    command: tuple[str, ...]
    environment: dict[str, str]
    version: str


def by_its_own_loader(root: Path, program: str) -> tuple[str, ...]:
    """The beginning of a command line: a program of an unpacked tree of this host's arch, run by the loader and
    the libraries that were unpacked with it, for the host's may be too old or too new for one another.

    The loader is named beside its libraries: what programs ask for, such as /lib64's, is an absolute link out of
    the tree.
    """
    triplet = f"{host_arch()}-linux-gnu"
    libraries = f"{root}/lib/{triplet}:{root}/usr/lib/{triplet}"
    loader = f"{root}/lib/{triplet}/{LOADERS[host_arch()]}"
    return (loader, "--library-path", libraries, f"{root}/{program}")


def debians_python(cache: Cache) -> Interpreter:
    """Debian's Python for this host's arch, whatever the host's own is. Raises `HostError`, `BuildError`."""
    tree = debian_packages.fetch(("python3",), host_arch(), cache)
    command = by_its_own_loader(tree.root, f"usr/bin/python{VERSION}")
    return Interpreter(command, {"PYTHONHOME": f"{tree.root}/usr"}, tree.versions[f"python{VERSION}"])
