"""Runs programs of packages that were unpacked beside the host's own system."""

from dataclasses import dataclass
from pathlib import Path

from harness.core.arch import host_arch
from harness.host import debian_packages
from harness.host.cache import Cache

LOADERS = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}
VERSION = "3.11"
"""Debian bookworm's Python, which a lab with Debian's system has."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python's command line, additions to its environment, and its version, which is part of cache keys."""

    command: tuple[str, ...]
    environment: dict[str, str]
    version: str


def by_its_own_loader(root: Path, program: str) -> tuple[str, ...]:
    """The beginning of a command line that runs a program of an unpacked tree by its own loader and libraries: the
    host's may be too old or too new for them.

    The tree is of this host's arch. The loader is named in its library folder: the path that programs ask for,
    such as /lib64's, is an absolute link out of the tree.
    """
    triplet = f"{host_arch()}-linux-gnu"
    libraries = f"{root}/lib/{triplet}:{root}/usr/lib/{triplet}"
    loader = f"{root}/lib/{triplet}/{LOADERS[host_arch()]}"
    return (loader, "--library-path", libraries, f"{root}/{program}")


def debians_python(cache: Cache) -> Interpreter:
    """Debian's Python for this host's arch, whatever the host's own is. Raises `HostError` or `BuildError`."""
    tree = debian_packages.fetch(("python3",), host_arch(), cache)
    command = by_its_own_loader(tree.root, f"usr/bin/python{VERSION}")
    return Interpreter(command, {"PYTHONHOME": f"{tree.root}/usr"}, tree.versions[f"python{VERSION}"])
