"""The QEMU that emulates a lab: this host's if it is new enough, else Debian's backport, unpacked."""

from dataclasses import dataclass

from harness.core.arch import host_arch
from harness.core.errors import HostError
from harness.host import debian_packages
from harness.host.cache import Cache
from harness.host.host import LAB_QEMU, QEMU_PACKAGES, Host
from harness.integrations.nested_kvm.unpacked import by_its_own_loader

SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
"""Who breaks out of a lab can start no program. Every build of Debian's has this; other builds may not."""

MODULES = "QEMU_MODULE_DIR"  # Source: QEMU, util/module.c


@dataclass(frozen=True, slots=True)
class Emulator:
    """How to run QEMU: the beginning of its command line, additions to its environment, and its version."""

    command: tuple[str, ...]
    environment: dict[str, str]
    version: str


def emulator(arch: str, host: Host, cache: Cache) -> Emulator:
    """The QEMU for labs of `arch`; fetches one if the host's is missing or too old.

    Raises `HostError`, or `BuildError` if it can't be fetched.
    """
    try:
        own = host.qemu(arch)
    except HostError:
        own = None
    if own and own.version >= LAB_QEMU[arch]:
        return Emulator((str(own.path),), {}, ".".join(map(str, own.version)))
    return _unpacked(arch, cache)


def _unpacked(arch: str, cache: Cache) -> Emulator:
    """Run it by the loader and libraries that were unpacked with it: the host's may be too old."""
    package, ours = QEMU_PACKAGES[arch], host_arch()
    tree = debian_packages.fetch((package,), ours, cache, backports=True)
    root = tree.root
    data = [word for name in ("qemu", "seabios") for word in ("-L", f"{root}/usr/share/{name}")]
    return Emulator(
        (*by_its_own_loader(root, f"usr/bin/qemu-system-{arch}"), *data, *SANDBOX),
        {MODULES: f"{root}/usr/lib/{ours}-linux-gnu/qemu"},
        tree.versions[package],
    )
