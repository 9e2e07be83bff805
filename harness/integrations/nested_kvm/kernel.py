"""The Linux of a lab: Debian's kernel with KVM, its modules, and busybox."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from elftools.elf.elffile import ELFFile

from harness.host import debian_packages
from harness.host.cache import Cache
from harness.kernels.linux.modules import boot_modules
from harness.kernels.linux.vmlinux import unpack_vmlinux

FORMAT = 2
"""Part of the cache key: raise it when what is kept of the packages changes."""

LOADED_AT_BOOT = ("virtio_pci", "virtio_console", "9p", "9pnet_virtio", "overlay", "tun")
KVM_OF: Mapping[str, tuple[str, ...]] = {"x86_64": ("kvm_amd",), "aarch64": ()}
"""The emulated cpu is AMD's. Debian's arm64 kernel has KVM built in."""

LOADED_ON_DEMAND = ("crc32c_generic", "bridge", "nf_tables", "nft_chain_nat", "nft_masq", "vhost_net", "veth")
"""For guest networks; the first is for nf_tables. They are loaded when the kernel asks for them: each costs tens
of milliseconds under TCG."""


def kernel(arch: str, cache: Cache) -> Path:
    """The folder with `kernel`, `busybox`, `boot-modules/` and `facts.json`. Raises `HostError` or
    `BuildError`."""
    wanted = (f"linux-image-{debian_packages.ARCHITECTURES[arch]}", "busybox-static")
    parts = {
        "form": FORMAT, "modules": [*LOADED_AT_BOOT, *KVM_OF[arch], *LOADED_ON_DEMAND],
        "source": debian_packages.source_parts(wanted, arch),
    }  # fmt: skip
    return cache.get("lab-kernel", parts, lambda out: _write(wanted, arch, cache, out))


def _write(wanted: tuple[str, ...], arch: str, cache: Cache, out: Path) -> None:
    tree = debian_packages.fetch(wanted, arch, cache)
    (release,) = (path.name for path in (tree.root / "lib/modules").iterdir())
    packed = tree.root / f"boot/vmlinuz-{release}"
    if arch == "x86_64":
        unpack_vmlinux(packed, out / "kernel")
    else:
        shutil.copyfile(packed, out / "kernel")
    shutil.copyfile(tree.root / "bin/busybox", out / "busybox")
    modules = out / "boot-modules"
    modules.mkdir()
    names = (*LOADED_AT_BOOT, *KVM_OF[arch], *LOADED_ON_DEMAND)
    for path, node in boot_modules(tree.root / "lib/modules" / release, names).items():
        (out / path.lstrip("/")).write_bytes(node.read())
    (modules / "at-once").write_text("".join(f"{name}\n" for name in (*LOADED_AT_BOOT, *KVM_OF[arch])))
    rows = [f"{alias} {name}\n" for name in LOADED_ON_DEMAND for alias in _aliases(modules / name)]
    (modules / "aliases").write_text("".join(rows))
    (out / "facts.json").write_text(json.dumps({"kernel": release, "version": tree.versions[wanted[0]]}))


def _aliases(listed: Path) -> list[str]:
    """The aliases of the last module in a list file, and of those that it depends on."""
    found = []
    for name in listed.read_text().split():
        with (listed.parent / f"{name}.ko").open("rb") as file:
            section = ELFFile(file).get_section_by_name(".modinfo")
            rows = section.data().split(b"\0") if section else []
        found += [row[6:].decode() for row in rows if row.startswith(b"alias=")]
    return [*found, listed.name]
