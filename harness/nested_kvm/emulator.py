"""The QEMU that emulates a lab: this host's own if it is new enough, else Debian's backport, unpacked."""

from dataclasses import dataclass

from harness.cache import Cache
from harness.errors import HostError
from harness.host import LAB_QEMU, QEMU_PACKAGES, Host
from harness.images import packages
from harness.matrix import host_arch

SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
"""What every build of Debian's has and others may not: no program is started by who breaks out of a lab."""

MODULES = "QEMU_MODULE_DIR"  # Source: QEMU, util/module.c


@dataclass(frozen=True, slots=True)
class Emulator:
    """How QEMU is run: what its command line begins with, what its environment has besides, and its version."""

    command: tuple[str, ...]
    environment: dict[str, str]
    version: str


def emulator(arch: str, host: Host, cache: Cache) -> Emulator:
    """The QEMU for labs of `arch`; fetches one where the host's is missing or too old.

    Raises `HostError`, or `BuildError` where it can't be fetched.
    """
    try:
        own = host.qemu(arch)
    except HostError:
        own = None
    if own and own.version >= LAB_QEMU[arch]:
        return Emulator((str(own.path),), {}, ".".join(map(str, own.version)))
    return _unpacked(arch, cache)


def _unpacked(arch: str, cache: Cache) -> Emulator:
    """Run by the loader and the libraries that were unpacked beside it: the host's may be too old for it."""
    package, ours = QEMU_PACKAGES[arch], host_arch()
    tree = packages.fetch((package,), ours, cache, backports=True)
    root, triplet = tree.root, f"{ours}-linux-gnu"
    loader = {"x86_64": "lib64/ld-linux-x86-64.so.2", "aarch64": "lib/ld-linux-aarch64.so.1"}[ours]
    libraries = f"{root}/lib/{triplet}:{root}/usr/lib/{triplet}"
    program = f"{root}/usr/bin/qemu-system-{arch}"
    data = [word for name in ("qemu", "seabios") for word in ("-L", f"{root}/usr/share/{name}")]
    return Emulator(
        (f"{root}/{loader}", "--library-path", libraries, program, *data, *SANDBOX),
        {MODULES: f"{root}/usr/lib/{triplet}/qemu"},
        tree.versions[package],
    )
