"""What a host may have beyond QEMU: programs, packages and room, as data, and how each is tried."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.arch import host_arch
from harness.core.text import printable_lines
from harness.host import distribution
from harness.host.debian_packages import KEYRING, SUITE, mirror
from harness.host.process.timeout import run_with_timeout
from harness.host.temp_dir import temporary_dir

ELSEWHERE = ("/usr/sbin", "/sbin", "/usr/libexec", "/usr/lib/qemu")
"""Where programs are that are not in every PATH: e2fsprogs', virtiofsd."""

EVERY = frozenset({"linux", "osv"})
LINUX = frozenset({"linux"})
OSV = frozenset({"osv"})
TESTS = frozenset({"tests"})
"""What is asked about like a kernel: the harness's own tests."""
NO_ONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing that a host may have: what was found of it, what it is good for, and how to get it.

    `packages` are Debian's, `cure` is for what no package brings; `required_for` are the kernels whose cells
    can't do without, and `required` whether any of those was asked about.
    """

    name: str
    what: str
    good_for: str
    found: str = ""
    present: bool = False
    packages: tuple[str, ...] = ()
    cure: str = ""
    required_for: frozenset[str] = frozenset()
    required: bool = False

    @property
    def how_to_get(self) -> str:
        """What a person without it should do; nothing if it is here."""
        if self.present:
            return ""
        return self.cure or distribution.command(self.packages)


@dataclass(frozen=True, slots=True)
class Need:
    """A capability that is a few programs, each tried by running it with the arguments given for it."""

    name: str
    good_for: str
    required_for: frozenset[str]
    programs: tuple[tuple[str, ...], ...]
    packages: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    cure: str = ""


def _compiler(arch: str) -> Need:
    """A compiler for `arch`, which is a cross compiler on a host of the other."""
    triplet = f"{arch.replace('_', '-')}-linux-gnu"
    prefix, suffix = ("", "") if arch == host_arch() else (f"{arch}-linux-gnu-", f"-{triplet}")
    return Need(
        f"osv-compiler-{arch}", f"building OSv for {arch}", OSV,
        ((f"{prefix}g++", "--version"), (f"{prefix}gcc", "--version"), (f"{prefix}ld.bfd", "--version")),
        (f"g++{suffix}", f"gcc{suffix}", f"binutils{suffix}"),
    )  # fmt: skip


_ROWS = (
    Need("setpriv", "guests that die with the run that started them", EVERY, (("setpriv", "--version"),),
         ("util-linux",)),
    Need("debian-packages", "the linux kernel and every guest program", EVERY,
         (("mmdebstrap", "--version"), ("apt-get", "--version"), ("dpkg", "--version")),
         ("mmdebstrap", "debian-archive-keyring"), files=(KEYRING,)),
    Need("squashfs", "rofs cells of linux", LINUX, (("mksquashfs", "-version"),), ("squashfs-tools",)),
    Need("ext4", "ext cells", EVERY, (("mke2fs", "-V"), ("debugfs", "-V")), ("e2fsprogs",)),
    Need("qemu-img", "overlays of disks, OSv's images", EVERY, (("qemu-img", "--version"),), ("qemu-utils",)),
    Need("binutils", "functions and lines in backtraces", EVERY, (("addr2line", "--version"),), ("binutils",)),
    Need("own-tests", "the harness's own tests", EVERY,
         (("git", "--version"), ("make", "--version"), ("cpio", "--version"), ("gcc", "--version")),
         ("git", "make", "cpio", "gcc", "libc6-dev")),
    Need("own-cross-compiler", "the harness's own tests of measuring, on aarch64",
         TESTS, (("aarch64-linux-gnu-gcc", "--version"),), ("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross")),
    Need("own-networks", "the harness's own tests of networks", TESTS,
         (("ip", "-V"), ("nft", "--version"), ("slirp4netns", "--version"), ("nsenter", "--version")),
         ("iproute2", "nftables", "slirp4netns", "util-linux")),
    Need("postgresql", "the harness's own tests of a team's history", TESTS, (("pg_lsclusters", "--help"),),
         ("postgresql",)),
    Need("chromium", "screenshots of a report, and its own tests", TESTS, (("chromium", "--version"),),
         ("chromium",)),
    Need("osv-build", "building OSv and its tests", OSV,
         (("make", "--version"), ("git", "--version"), ("python3", "--version")),
         ("make", "git", "build-essential", "bison", "flex", "gawk", "autoconf", "automake", "libtool", "unzip",
          "cmake", "pax-utils", "libboost-all-dev", "libedit-dev", "libncurses-dev", "libssl-dev",
          "libyaml-cpp-dev",
          "python3-dpkt", "python3-requests", "genromfs", "p11-kit", "curl", "wget"),
         files=(Path("/usr/include/boost/version.hpp"),)),
    _compiler("x86_64"),
    _compiler("aarch64"),
    Need("osv-java", "OSv's Java tests", NO_ONE, (("mvn", "--version"), ("javac", "-version")),
         ("maven", "default-jdk-headless")),
    Need("gdb", "all threads of a guest of OSv that died or hangs", NO_ONE, (("gdb", "--version"),),
         ("gdb-multiarch",)),
    Need("ccache", "building OSv again in little time", NO_ONE, (("ccache", "--version"),), ("ccache",)),
    Need("openzfs", "cells +host_zfs", NO_ONE, (("zpool", "list"), ("qemu-nbd", "--version")),
         ("zfsutils-linux", "zfs-dkms", "qemu-utils"),
         cure="Install zfsutils-linux and a kernel module for it (Debian's contrib has both)."),
    Need("virtiofsd", "virtiofs cells", NO_ONE,
         (("virtiofsd", "--version"), ("unshare", "--map-root-user", "--mount", "true")), ("virtiofsd",)),
    Need("nfs-server", "the variant nfs", NO_ONE,
         (("ganesha.nfsd", "-v"), ("unshare", "--mount", "--pid", "--mount-proc", "--fork", "true")),
         ("nfs-ganesha-vfs", "rpcbind"), files=(Path("/usr/sbin/rpcbind"),),
         cure="Run as root, and install nfs-ganesha-vfs and rpcbind."),
    Need("wrk", "loads of web servers", EVERY, (("wrk", "--version"),), ("wrk",)),
    Need("redis-benchmark", "loads of Redis", EVERY, (("redis-benchmark", "--version"),), ("redis-tools",)),
    Need("app-compilers", "apps whose sources ship here", EVERY,
         (("gcc", "--version"), ("go", "version"), ("rustc", "--version")),
         ("gcc", "libc6-dev", "golang-go", "rustc")),
    Need("servers", "benchmarks of the load generators", NO_ONE,
         (("redis-server", "--version"), ("nginx", "-v")), ("redis-server", "nginx-light")),
    Need("firecracker", "firecracker cells", NO_ONE, (("firecracker", "--version"),),
         cure="Put a release of https://github.com/firecracker-microvm/firecracker into PATH."),
    Need("cloud-hypervisor", "cloud_hypervisor cells", NO_ONE, (("cloud-hypervisor", "--version"),),
         cure="Put a release of https://github.com/cloud-hypervisor/cloud-hypervisor into PATH."),
    Need("xen", "xen cells", NO_ONE, (("xl", "info"),), ("xen-utils", "xen-system-amd64"),
         cure="Boot this host as a Xen domain 0 (xen-system-amd64)."),
    Need("namespaces", "firecracker and cloud_hypervisor cells", NO_ONE,
         (("unshare", "--map-root-user", "--mount", "--net", "true"), ("nsenter", "--version"), ("ip", "-V")),
         ("util-linux", "iproute2"), cure="Run as root, or allow users their own namespaces."),
    Need("vmware", "vmware cells", NO_ONE, (("vmrun", "list"),),
         cure="Install VMware Workstation for Linux, which brings vmrun, and its kernel modules."),
    Need("virtualbox", "virtualbox cells", NO_ONE, (("VBoxManage", "--version"), ("VBoxHeadless", "--version")),
         files=(Path("/dev/vboxdrv"),),
         cure="Install VirtualBox (https://www.virtualbox.org/wiki/Linux_Downloads) and its kernel module."),
    Need("hyperkit", "hyperkit cells", NO_ONE, (("hyperkit", "-v"),),
         cure="None on Linux: HyperKit runs on macOS only. On qemu there are the same AHCI disk and HPET."),
    Need("hyperv", "hyperv cells", NO_ONE, (("powershell.exe", "-NoProfile", "-Command", "(Get-VMHost).Name"),),
         cure="None on Linux: Hyper-V runs on Windows only. On qemu the profile hyperv boots with files in RAM."),
    Need("aws", "aws cells", NO_ONE, (("aws", "sts", "get-caller-identity", "--query", "Account"),),
         cure="pip install 'osv-harness[aws]', and tell it of an account: aws configure."),
    Need("gce", "gce cells", NO_ONE,
         (("gcloud", "--quiet", "compute", "project-info", "describe", "--format=value(name)"),),
         cure="Install gcloud (https://cloud.google.com/sdk), and tell it of a project: gcloud init."),
)  # fmt: skip

NEEDS = {need.name: need for need in _ROWS}


def tried(need: Need) -> Capability:
    """What was found of a need by running its programs: the first line that each of them says."""
    row = Capability(
        need.name, ", ".join(program for program, *_ in need.programs), need.good_for,
        packages=need.packages, cure=need.cure, required_for=need.required_for,
    )  # fmt: skip
    said = {program: _say(program, arguments) for program, *arguments in need.programs}
    lacking = [program for program, words in said.items() if words is None]
    lacking += [str(file) for file in need.files if not file.exists()]
    if lacking:
        return replace(row, found=f"missing: {', '.join(lacking)}")
    return replace(row, found="; ".join(words for words in said.values() if words), present=True)


def surroundings(cpus: int, folder: Path) -> list[Capability]:
    """What is not installed: cpus, memory, room under `folder` (the cache), and a mirror that can be reached."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    room = shutil.disk_usage(there).free / 2**30
    refused = _refused(there)
    measured = (
        ("cpus", "as many guests at once", f"{cpus}", cpus >= 1, ""),
        ("memory", "guests of 0.5 to 2 GiB each", f"{memory:.1f} GiB", memory >= 2, "2 GiB are the least."),
        ("cache", "images, packages, build trees",
         f"{folder} can't be written to: {refused}" if refused else f"{room:.1f} GiB free for {folder}",
         room >= 4 and not refused,
         "4 GiB are the least; set OSV_HARNESS_CACHE to a folder with more room that this user can write to."),
    )  # fmt: skip
    rows = [
        Capability(name, name, good_for, found, present, cure=cure, required_for=EVERY)
        for name, good_for, found, present, cure in measured
    ]
    return [*rows, _mirror()]


def _refused(folder: Path) -> str:
    """Why nothing can be written there, found by doing it; nothing if it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _mirror() -> Capability:
    """Whether Debian's archive can be reached, asked of apt, which knows of this host's proxies."""
    row = Capability(
        "debian-mirror", mirror(), "fetching packages that are not in the cache yet", required_for=NO_ONE,
        cure="Name a mirror that can be reached in OSV_HARNESS_DEBIAN_MIRROR.",
    )  # fmt: skip
    helper = "/usr/lib/apt/apt-helper"
    with temporary_dir("osv-harness-mirror-") as folder:
        asked = ["-qq", "download-file", f"{mirror()}/debian/dists/{SUITE}/InRelease", f"{folder}/InRelease"]
        present = _say(helper, asked, timeout=15) is not None
    return replace(row, found="answers" if present else "does not answer", present=present)


def _say(program: str, arguments: Sequence[str], timeout: float = 20.0) -> str | None:
    """The first line that a program prints (with a number in it, if there is one), or None if it fails.

    Some programs tell their version and then exit with 1.
    """
    path = shutil.which(program) or shutil.which(program, path=":".join(ELSEWHERE))
    if path is None:
        return None
    try:
        done = run_with_timeout([path, *arguments], timeout)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = [line.strip() for line in printable_lines(done.stdout + done.stderr)]
    telling = next((line for line in lines if re.search(r"\d+\.\d+", line)), None)
    if done.returncode and telling is None:
        return None
    return telling or next(iter(lines), "")
