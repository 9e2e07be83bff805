"""What a host may have beyond QEMU: programs, packages and space, as data, and how each is checked."""

import os
import re
import shlex
import shutil
import subprocess
import sys
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

SBIN_PATHS = ("/usr/sbin", "/sbin", "/usr/libexec", "/usr/lib/qemu")
"""Folders of programs that are not in every PATH: those of e2fsprogs, virtiofsd."""

EVERY = frozenset({"linux", "osv"})
LINUX = frozenset({"linux"})
OSV = frozenset({"osv"})
TESTS = frozenset({"tests"})
"""Stands for the harness's own tests, in place of a kernel."""
NO_ONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing that a host may have: what was found of it, what it is good for, and how to get it.

    `packages` are Debian's; `cure` is for what no package provides. `required_for` are the kernels whose cells
    need it, and `required` is whether any of those was asked about.
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
        """What a user without it should do; empty if it is present."""
        if self.present:
            return ""
        return self.cure or distribution.command(self.packages)


@dataclass(frozen=True, slots=True)
class Requirement:
    """A capability that consists of a few programs, each checked by running it with the given arguments.

    `by_status` is whether the exit status alone tells that they work. It does for those that ask a service for an
    account: what they say of a failure may have a version or an address in it. `called` is what is shown in place
    of the programs.
    """

    name: str
    good_for: str
    required_for: frozenset[str]
    programs: tuple[tuple[str, ...], ...]
    packages: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    cure: str = ""
    by_status: bool = False
    called: str = ""


def _compiler(arch: str) -> Requirement:
    """A compiler for `arch`: a cross compiler on a host of the other arch."""
    triplet = f"{arch.replace('_', '-')}-linux-gnu"
    prefix, suffix = ("", "") if arch == host_arch() else (f"{arch}-linux-gnu-", f"-{triplet}")
    return Requirement(
        f"osv-compiler-{arch}", f"building OSv for {arch}", OSV,
        ((f"{prefix}g++", "--version"), (f"{prefix}gcc", "--version"), (f"{prefix}ld.bfd", "--version")),
        (f"g++{suffix}", f"gcc{suffix}", f"binutils{suffix}"),
    )  # fmt: skip


def _builder(arch: str) -> Requirement:
    """What a root for a build is entered by; there is none for another arch than this host's."""
    if arch != host_arch():
        cure = "Build it on such a host, or by this one's own cross compiler."
        return Requirement(f"builder-{arch}", f"builders for {arch}", NO_ONE, ((f"a host of {arch}",),), cure=cure)
    return Requirement(
        f"builder-{arch}", f"builders for {arch}", NO_ONE,
        (("unshare", "--map-root-user", "--mount", "true"), ("mount", "--version"), ("chroot", "--version")),
        ("util-linux", "mount", "coreutils"), cure="Run as root, or allow users their own namespaces.",
    )  # fmt: skip


_ROWS = (
    Requirement("setpriv", "guests that die with the run that started them", EVERY, (("setpriv", "--version"),),
         ("util-linux",)),
    Requirement("debian-packages", "the linux kernel and every guest program", EVERY,
         (("mmdebstrap", "--version"), ("apt-get", "--version"), ("dpkg", "--version")),
         ("mmdebstrap", "debian-archive-keyring"), files=(KEYRING,)),
    Requirement("squashfs", "rofs cells of linux", LINUX, (("mksquashfs", "-version"),), ("squashfs-tools",)),
    Requirement("ext4", "ext cells", EVERY, (("mke2fs", "-V"), ("debugfs", "-V")), ("e2fsprogs",)),
    Requirement("qemu-img", "overlays of disks, OSv's images", EVERY,
          (("qemu-img", "--version"),), ("qemu-utils",)),
    Requirement("binutils", "functions and lines in backtraces", EVERY,
          (("addr2line", "--version"),), ("binutils",)),
    Requirement("own-tests", "the harness's own tests", EVERY,
         (("git", "--version"), ("make", "--version"), ("cpio", "--version"), ("gcc", "--version")),
         ("git", "make", "cpio", "gcc", "libc6-dev")),
    Requirement("own-cross-compiler", "the harness's own tests of measuring, on aarch64",
         TESTS, (("aarch64-linux-gnu-gcc", "--version"),), ("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross")),
    Requirement("own-networks", "the harness's own tests of networks", TESTS,
         (("ip", "-V"), ("nft", "--version"), ("slirp4netns", "--version"), ("nsenter", "--version")),
         ("iproute2", "nftables", "slirp4netns", "util-linux")),
    Requirement("postgresql", "the harness's own tests of a team's history", TESTS, (("pg_lsclusters", "--help"),),
         ("postgresql",)),
    Requirement("chromium", "screenshots of a report, and its own tests", TESTS, (("chromium", "--version"),),
         ("chromium",)),
    Requirement("osv-build", "building OSv and its tests", OSV,
         (("make", "--version"), ("git", "--version"), ("python3", "--version")),
         ("make", "git", "build-essential", "bison", "flex", "gawk", "autoconf", "automake", "libtool", "unzip",
          "cmake", "pax-utils", "libboost-all-dev", "libedit-dev", "libncurses-dev", "libssl-dev",
          "libyaml-cpp-dev",
          "python3-dpkt", "python3-requests", "genromfs", "p11-kit", "curl", "wget"),
         files=(Path("/usr/include/boost/version.hpp"),)),
    _compiler("x86_64"),
    _compiler("aarch64"),
    _builder("x86_64"),
    _builder("aarch64"),
    Requirement("containers", "builders that are images of containers", NO_ONE,
         (("podman" if shutil.which("podman") else "docker", "info"),), ("podman",), by_status=True),
    Requirement("ubuntu-keyring", "builders of Ubuntu", NO_ONE, (),
         files=(Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg"),), called="Ubuntu's keyring",
         cure="Install ubuntu-keyring where there is one, or put Ubuntu's ubuntu-archive-keyring.gpg there."),
    Requirement("osv-java", "OSv's Java tests", NO_ONE, (("mvn", "--version"), ("javac", "-version")),
         ("maven", "default-jdk-headless")),
    Requirement("gdb", "all threads of a guest of OSv that died or hangs", NO_ONE, (("gdb", "--version"),),
         ("gdb-multiarch",)),
    Requirement("ccache", "building OSv again in little time", NO_ONE, (("ccache", "--version"),), ("ccache",)),
    Requirement("openzfs", "cells +host_zfs", NO_ONE, (("zpool", "list"), ("qemu-nbd", "--version")),
         ("zfsutils-linux", "zfs-dkms", "qemu-utils"),
         cure="Install zfsutils-linux and a kernel module for it (Debian's contrib has both)."),
    Requirement("virtiofsd", "virtiofs cells", NO_ONE,
         (("virtiofsd", "--version"), ("unshare", "--map-root-user", "--mount", "true")), ("virtiofsd",)),
    Requirement("nfs-server", "the variant nfs", NO_ONE,
         (("ganesha.nfsd", "-v"), ("unshare", "--mount", "--pid", "--mount-proc", "--fork", "true")),
         ("nfs-ganesha-vfs", "rpcbind"), files=(Path("/usr/sbin/rpcbind"),),
         cure="Run as root, and install nfs-ganesha-vfs and rpcbind."),
    Requirement("wrk", "loads of web servers", EVERY, (("wrk", "--version"),), ("wrk",)),
    Requirement("redis-benchmark", "loads of Redis", EVERY, (("redis-benchmark", "--version"),), ("redis-tools",)),
    Requirement("app-compilers", "apps whose sources ship here", EVERY,
         (("gcc", "--version"), ("go", "version"), ("rustc", "--version")),
         ("gcc", "libc6-dev", "golang-go", "rustc")),
    Requirement("servers", "benchmarks of the load generators", NO_ONE,
         (("redis-server", "--version"), ("nginx", "-v")), ("redis-server", "nginx-light")),
    Requirement("firecracker", "firecracker cells", NO_ONE, (("firecracker", "--version"),),
         cure="Put a release of https://github.com/firecracker-microvm/firecracker into PATH."),
    Requirement("cloud-hypervisor", "cloud_hypervisor cells", NO_ONE, (("cloud-hypervisor", "--version"),),
         cure="Put a release of https://github.com/cloud-hypervisor/cloud-hypervisor into PATH."),
    Requirement("xen", "xen cells", NO_ONE, (("xl", "info"),), ("xen-utils", "xen-system-amd64"),
         cure="Boot this host as a Xen domain 0 (xen-system-amd64)."),
    Requirement("namespaces", "firecracker and cloud_hypervisor cells", NO_ONE,
         (("unshare", "--map-root-user", "--mount", "--net", "true"), ("nsenter", "--version"), ("ip", "-V")),
         ("util-linux", "iproute2"), cure="Run as root, or allow users their own namespaces."),
    Requirement("vmware", "vmware cells", NO_ONE, (("vmrun", "list"),),
         cure="Install VMware Workstation for Linux, which brings vmrun, and its kernel modules."),
    Requirement("virtualbox", "virtualbox cells", NO_ONE,
          (("VBoxManage", "--version"), ("VBoxHeadless", "--version")),
         files=(Path("/dev/vboxdrv"),),
         cure="Install VirtualBox (https://www.virtualbox.org/wiki/Linux_Downloads) and its kernel module."),
    Requirement("hyperkit", "hyperkit cells", NO_ONE, (("hyperkit", "-v"),),
         cure="None on Linux: HyperKit runs on macOS only. On qemu there are the same AHCI disk and HPET."),
    Requirement("hyperv", "hyperv cells", NO_ONE,
          (("powershell.exe", "-NoProfile", "-Command", "(Get-VMHost).Name"),),
         cure="None on Linux: Hyper-V runs on Windows only. On qemu the profile hyperv boots with files in RAM."),
    Requirement("aws", "aws cells", NO_ONE, (("aws", "sts", "get-caller-identity", "--query", "Account"),),
         cure="pip install 'osv-harness[aws]', and tell it of an account: aws configure.", by_status=True),
    Requirement("gce", "gce cells", NO_ONE,
         (("gcloud", "--quiet", "compute", "project-info", "describe", "--format=value(name)"),),
         cure="Install gcloud (https://cloud.google.com/sdk), and tell it of a project: gcloud init.",
         by_status=True),
    Requirement("openstack", "openstack cells", NO_ONE,
         ((sys.executable, "-P", "-m", "harness.vm.openstack", "check"),),
         cure="pip install 'osv-harness[openstack]', and name a cloud of clouds.yaml in OS_CLOUD.",
         by_status=True, called="openstacksdk"),
)  # fmt: skip

REQUIREMENTS = {need.name: need for need in _ROWS}


def check_requirement(need: Requirement) -> Capability:
    """Check a requirement by running its programs; `found` is the first line of each."""
    row = Capability(
        need.name, need.called or ", ".join(program for program, *_ in need.programs), need.good_for,
        packages=need.packages, cure=need.cure, required_for=need.required_for,
    )  # fmt: skip
    tried = {
        program: (arguments, _try_program(program, arguments, by_status=need.by_status))
        for program, *arguments in need.programs
    }
    missing = [program for program, (_, answer) in tried.items() if answer is None]
    missing += [str(file) for file in need.files if not file.exists()]
    failing = {
        need.called or shlex.join((program, *arguments)): answer.words
        for program, (arguments, answer) in tried.items() if answer and not answer.succeeded
    }  # fmt: skip
    if missing:
        return replace(row, found=f"missing: {', '.join(missing)}")
    if failing:
        found = "; ".join(f"{command} fails{words and f': {words}'}" for command, words in failing.items())
        return replace(row, found=found, cure=row.cure or "What is needed is installed: find out why it fails.")
    return replace(row, found="; ".join(answer.words for _, answer in tried.values() if answer), present=True)


def check_surroundings(cpus: int, folder: Path) -> list[Capability]:
    """What can't be installed: cpus, memory, free space under `folder` (the cache), and a reachable mirror."""
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
    """Why nothing can be written there, found by trying; empty if it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _mirror() -> Capability:
    """Whether Debian's archive can be reached, by apt, which knows this host's proxies."""
    row = Capability(
        "debian-mirror", mirror(), "fetching packages that are not in the cache yet", required_for=NO_ONE,
        cure="Name a mirror that can be reached in OSV_HARNESS_DEBIAN_MIRROR.",
    )  # fmt: skip
    helper = "/usr/lib/apt/apt-helper"
    with temporary_dir("osv-harness-mirror-") as folder:
        asked = ["-qq", "download-file", f"{mirror()}/debian/dists/{SUITE}/InRelease", f"{folder}/InRelease"]
        answer = _try_program(helper, asked, timeout=15)
    present = answer is not None and answer.succeeded
    return replace(row, found="answers" if present else "does not answer", present=present)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a program said first, or of its failure last, and whether it succeeded."""

    words: str
    succeeded: bool


def _try_program(
    program: str, arguments: Sequence[str], timeout: float = 20.0, *, by_status: bool = False
) -> _Answer | None:
    """Run a program; None if there is none. Its words are the first line of its output with a version in it, if
    there is one.

    Some programs print their version and then exit with 1; `by_status` says that this one does not.
    """
    path = shutil.which(program) or shutil.which(program, path=":".join(SBIN_PATHS))
    if path is None:
        return None
    try:
        done = run_with_timeout([path, *arguments], timeout)
    except subprocess.TimeoutExpired:
        return _Answer(f"no answer in {timeout:.0f} s", succeeded=False)
    except OSError as error:
        return _Answer(error.strerror or str(error), succeeded=False)
    lines = [line.strip() for line in printable_lines(done.stdout + done.stderr)]
    version_line = next((line for line in lines if re.search(r"\d+\.\d+", line)), None)
    if done.returncode and (by_status or version_line is None):
        return _Answer(next(iter(lines[-1:]), ""), succeeded=False)
    return _Answer(version_line or next(iter(lines), ""), succeeded=True)
