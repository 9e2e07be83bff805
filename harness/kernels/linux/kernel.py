"""Debian's cloud kernel and programs: the guest that OSv is compared with and that this harness is tested on."""

import functools
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from harness.core import facts
from harness.core.cell import Cell
from harness.core.errors import CellError
from harness.core.events import publish
from harness.core.link_mode import check_launch
from harness.core.machine import Disk, Image
from harness.core.variants import machine_profile_of
from harness.host import debian_packages
from harness.host.cache import Cache, digest_of
from harness.kernels import rootfs
from harness.kernels.base import Origin
from harness.kernels.linux.modules import boot_modules
from harness.kernels.linux.roots.base import Root, root_modules, root_names, root_of
from harness.kernels.linux.tsc import clock_parameter
from harness.kernels.linux.vmlinux import unpack_vmlinux
from harness.kernels.rootfs.contents import SETTINGS, Contents, compose
from harness.kernels.rootfs.elf_dependencies import locate
from harness.kernels.rootfs.filesystems import File, Folder, Link, Node, size, write_initramfs

INIT = Path(__file__).with_name("init.sh")

ROOT_DISKS = {"virtio-blk": "vda", "nvme": "nvme0n1"}
"""The first disk's name, by its kind; all others are SCSI disks to Linux."""
CONSOLES = {"x86_64": "ttyS0,115200", "aarch64": "ttyAMA0"}

# What reaches a disk and the host on any of the boards; init loads those whose device is there.
TRANSPORTS = ("virtio_pci", "virtio_mmio")
DRIVERS = (
    "virtio_blk", "virtio_console", "virtio_rng", "virtio_net", "virtio_scsi", "virtio_balloon", "virtiofs",
    "nvme", "vmxnet3", "sd_mod", "ext4",
)  # fmt: skip
# Debian's arm64 kernel has no pvpanic, and none of a PC's disks.
DRIVERS_OF: Mapping[str, tuple[str, ...]] = {
    "x86_64": ("pvpanic_mmio", "ata_piix", "vmw_pvscsi"),
    "aarch64": (),
}

# Called by init and by tests' scripts; system(3) finds `sh` in /bin.
APPLETS = (
    "[ ash awk base64 basename cat chmod chown cp cut date dd df dirname dmesg du echo egrep env expr false find",
    "free grep head hostname id ifconfig insmod ip kill killall ln ls md5sum mkdir mkfifo mknod mktemp mount mv",
    "nc netstat nproc pidof poweroff printf ps pwd readlink realpath reboot rm rmdir route sed seq setsid sh",
    "sha256sum sleep",
    "sort stat stty su switch_root sync sysctl tail tar tee test time timeout top touch tr true tty udhcpc umount",
    "uname uniq uptime wc wget which xargs yes",
)

# What init mounts besides the root, whichever that is.
MOUNTS = (
    "devpts /dev/pts devpts mode=620,ptmxmode=666 0 0\n"
    "tmpfs /dev/shm tmpfs mode=1777 0 0\n"
    "tmpfs /run tmpfs mode=755 0 0\n"
)

# What testinfra asks of a Debian system's packages: `dpkg-query -f FORMAT -W NAME`, for one field at a time.
DPKG_QUERY = r"""#!/bin/sh
for name; do :; done
awk -v name="$name" -v format="$2" '
    /^Package: / { found = $2 == name }
    found && /^[A-Z]/ { value = $0; sub(/^[^ ]* /, "", value); field[substr($1, 1, length($1) - 1)] = value }
    END { if (!("Package" in field)) exit 1
          for (key in field) gsub("\\$\\{" key "\\}", field[key], format)
          printf "%s", format }' /var/lib/dpkg/status
"""

# pthread_cancel(3) and backtrace(3) load libgcc_s when first called.
TESTS = Contents(packages=("stress-ng", "libgcc-s1"), programs=("/usr/bin/stress-ng",), modules=("libgcc_s.so.1",))


class Linux:
    """Debian bookworm's cloud kernel on x86_64 and aarch64, with busybox and the programs of a `Contents`.

    `roots` has a module for each filesystem. PID 1 answers the host over a virtio-serial port; `init.sh` describes
    how.
    """

    name = "linux"

    def build(self, cell: Cell, cache: Cache) -> Image:
        """Build the image of the cell with the catalog's tests; hypervisor, profile and options do not change it.

        Raises `CellError` for an arch or filesystem that this kernel lacks, `LaunchError` for a launch mode that
        is not that of Debian's own programs, `HostError`, `BuildError`.
        """
        (program,) = TESTS.programs
        tree = debian_packages.fetch(TESTS.packages, cell.arch, cache)
        check_launch(cell, "stress-ng, of which this kernel's tests are,", locate(tree.root, program, "the tests"))
        return self.build_with(cell, cache, TESTS)

    def build_with(self, cell: Cell, cache: Cache, contents: Contents) -> Image:
        """Build the image of the cell with other contents. Raises what `build` raises."""
        if cell.arch not in CONSOLES or cell.fs not in root_names():
            raise CellError(
                f"There is no Linux image for {cell.arch} with {cell.fs}.",
                f"There are {', '.join(CONSOLES)}, each with {', '.join(root_names())}.",
            )
        kernel = self._kernel(cell, cache)
        parts: dict[str, object] = {
            "recipe": recipe(),
            "fs": cell.fs,
            "kernel": _kernel_parts(cell.arch),
            "contents": contents.parts,
            "source": debian_packages.source_parts(contents.packages, cell.arch),
        }
        data = cache.get("linux", parts, lambda out: _write_image(contents, cell, kernel, cache, out))
        image_facts = json.loads((data / "facts.json").read_text())
        return Image(
            cell=cell,
            kernel=kernel / "kernel",
            cmdline=command_line(cell),
            digest=digest_of({**parts, "facts": image_facts}),
            disks=(Disk(data / "disk"),) if root_of(cell.fs).write else (),
            initrd=data / "initrd",
            reads_acpi=True,
            manifest=data / "manifest",
            facts=image_facts,
        )

    def prepare(self, cell: Cell, cache: Cache) -> None:
        """Fetch the kernel. Raises `HostError`, `BuildError`."""
        self._kernel(cell, cache)

    def _kernel(self, cell: Cell, cache: Cache) -> Path:
        """The folder of the arch's kernel, busybox and boot modules."""
        return cache.get(
            "linux-kernel", _kernel_parts(cell.arch), lambda out: _write_kernel(cell.arch, cache, out)
        )

    def origin(self, image: Image) -> Origin:
        """The version of the kernel's package; the rest is composed here."""
        release = image.facts["kernel"]
        builder = facts.format_facts({"packages": image.facts["suite"], "recipe": recipe()[:12]})
        return Origin(image.facts[f"linux-image-{release}"], f"Linux {release}", builder=builder)

    def describe(self) -> str:
        """One line that says which kernel this is and where it comes from."""
        return (
            f"Linux: Debian {debian_packages.SUITE}'s cloud kernel and packages, from {debian_packages.mirror()}"
        )


@functools.cache
def recipe() -> str:
    """The hex SHA-256 of the code that composes images, init included, as it was when first needed."""
    own, shared = (sorted(Path(file).parent.rglob("*.py")) for file in (__file__, rootfs.__file__))
    code = [INIT, *own, *shared, Path(debian_packages.__file__)]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in code)).hexdigest()


def command_line(cell: Cell) -> str:
    """The kernel's command line; with ` -- COMMAND` at its end, init runs the command and powers off.

    Besides console and root it says: warnings and worse go to the console (a WARNING is level 4), and a panic
    resets at once, which ends QEMU under -no-reboot. The rest shortens boots under TCG, where some things are slow
    that are fast on hardware: it turns off clearing of every page, security modules, audit and trials of all
    ciphers. Addresses are the same in every boot, so that traces can be compared.
    """
    words = [
        f"console={CONSOLES[cell.arch]}",
        "quiet loglevel=5",
        "panic=-1",
        _root_words(cell),
        "nokaslr mitigations=off init_on_alloc=0 lsm= audit=0 cryptomgr.notests",
        _clock_words() if cell.arch == "x86_64" else "",
    ]
    return " ".join(word for word in words if word)


def _root_words(cell: Cell) -> str:
    """The arguments for the root: its disk and filesystem."""
    root = root_of(cell.fs)
    if not root.write:
        return ""
    disk = ROOT_DISKS.get(machine_profile_of(cell).devices.disk, "sda")
    return f"root=/dev/{disk} {root.cmdline}"


def _clock_words() -> str:
    """Arguments for what a PC's kernel would measure under emulation, and would get wrong on a busy host.

    Seen with other work on all cores: a counter measured five times too slow, "8254 timer not connected to
    IO-APIC". The last argument keeps lock prefixes on one cpu: patching code is what TCG does worst.
    """
    return f"{clock_parameter()} tsc=reliable no_timer_check noreplace-smp"


def _kernel_parts(arch: str) -> dict[str, object]:
    source = debian_packages.source_parts(kernel_packages(arch), arch)
    return {"recipe": recipe(), "modules": _modules(arch), "source": source}


def _modules(arch: str) -> tuple[str, ...]:
    return (*TRANSPORTS, *dict.fromkeys((*DRIVERS, *root_modules())), *DRIVERS_OF[arch])


def kernel_packages(arch: str) -> tuple[str, ...]:
    """Debian's packages with the kernel and its userland."""
    return (f"linux-image-cloud-{debian_packages.ARCHITECTURES[arch]}", "busybox-static")


def _write_kernel(arch: str, cache: Cache, out: Path) -> None:
    """Write the kernel, busybox, the boot modules, and the facts about them, from their packages."""
    tree = debian_packages.fetch(kernel_packages(arch), arch, cache)
    (release,) = (path.name for path in (tree.root / "lib/modules").iterdir())
    packed = tree.root / f"boot/vmlinuz-{release}"
    if arch == "x86_64":
        unpack_vmlinux(packed, out / "kernel")
    else:
        shutil.copyfile(packed, out / "kernel")
    shutil.copyfile(tree.root / "bin/busybox", out / "busybox")
    for path, node in boot_modules(tree.root / "lib/modules" / release, _modules(arch)).items():
        at = out / path.lstrip("/")
        at.parent.mkdir(exist_ok=True)
        at.write_bytes(node.read())
    kernel_facts = {
        "kernel": release,
        "suite": f"Debian {debian_packages.SUITE}",
        **{name: tree.versions[name] for name in (f"linux-image-{release}", "busybox-static")},
    }
    (out / "facts.json").write_text(json.dumps(kernel_facts))


def _write_image(contents: Contents, cell: Cell, kernel: Path, cache: Cache, out: Path) -> None:
    tree = debian_packages.fetch(contents.packages, cell.arch, cache)
    publish("build.started", str(cell), f"composing {cell.fs} of {', '.join(contents.packages)}")
    filesystem = root_of(cell.fs)
    initramfs, root = _initramfs(kernel), _root(contents, filesystem, tree, kernel)
    if filesystem.write:
        write_initramfs(initramfs, out / "initrd")
        filesystem.write(root, out / "disk")
    else:
        write_initramfs({**initramfs, **root}, out / "initrd")
    told = json.loads((kernel / "facts.json").read_text())
    told |= {name: tree.versions[name] for name in contents.packages}
    told["contents"] = f"{size(root)} bytes in {sum(isinstance(node, File) for node in root.values())} files"
    (out / "facts.json").write_text(json.dumps(told))
    (out / "manifest").write_text("".join(f"{path}: {_shown(node)}\n" for path, node in sorted(root.items())))


def _initramfs(kernel: Path) -> dict[str, Node]:
    """The files that find and mount a root: init, busybox, modules."""
    files = _userland(kernel)
    for path in (kernel / "boot-modules").iterdir():
        files[f"/boot-modules/{path.name}"] = File(path)
    return files


def _root(contents: Contents, filesystem: Root, tree: debian_packages.Tree, kernel: Path) -> dict[str, Node]:
    """The files that programs see."""
    files = _userland(kernel)
    for path, text in {**SETTINGS, "/etc/fstab": MOUNTS + filesystem.mounts}.items():
        files[path] = File(text.encode())
    files["/usr/bin/dpkg-query"] = File(DPKG_QUERY.encode(), 0o755)
    files["/var/lib/dpkg/status"] = File(
        "\n".join(_status(*row) for row in sorted(tree.versions.items())).encode()
    )
    return files | compose(contents, tree.root)


def _status(name: str, version: str) -> str:
    """A package's entry in dpkg's database."""
    return f"Package: {name}\nStatus: install ok installed\nVersion: {version}\n"


def _userland(kernel: Path) -> dict[str, Node]:
    files: dict[str, Node] = {f"/{name}": Folder() for name in ("dev", "proc", "sys", "root", "run", "var/lib")}
    files |= {"/tmp": Folder(0o1777), "/var/tmp": Folder(0o1777), "/var/run": Link("../run")}
    files |= {"/init": File(INIT.read_bytes(), 0o755), "/bin/busybox": File(kernel / "busybox", 0o755)}
    return files | {f"/bin/{name}": Link("busybox") for name in " ".join(APPLETS).split()}


def _shown(node: Node) -> str:
    if isinstance(node, File):
        return str(node.content) if isinstance(node.content, Path) else f"{len(node.content)} bytes of our own"
    return f"-> {node.target}" if isinstance(node, Link) else "folder"
