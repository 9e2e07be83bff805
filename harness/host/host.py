"""This machine: what it can run, found by trying."""

import os
import re
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from harness.core.arch import host_arch
from harness.core.errors import HostError
from harness.core.suggestions import did_you_mean
from harness.host import accelerator_probe
from harness.host.accelerator_probe import ProbeResult, cached_probe
from harness.host.cache import Cache
from harness.host.in_lab import NOT_NEEDED_IN_LAB, in_lab
from harness.host.network_probe import NETWORKS, check_network
from harness.host.process.timeout import run_with_timeout
from harness.host.requirements import REQUIREMENTS, Capability, check_requirement, check_surroundings

ARCHES = ("x86_64", "aarch64")
MINIMUM_QEMU = (7, 2)
"""Debian 12's, the oldest that was tested; older ones may lack what snapshots need."""

LAB_QEMU = {"x86_64": (10,), "aarch64": (7, 2)}
"""The oldest QEMU that emulates a lab, by the lab's arch; on a host with an older one, Debian's backport is
fetched. 7.2 emulates XSAVE wrongly if nested pages fault, which corrupts OSv's lists."""

QEMU_PACKAGES = {"x86_64": "qemu-system-x86", "aarch64": "qemu-system-arm"}


@dataclass(frozen=True, slots=True)
class QemuBinary:
    """One QEMU program: `version` is `(7, 2, 22)`; `machines` are the names of its machine types."""

    path: Path
    version: tuple[int, ...]
    machines: frozenset[str]
    accelerators: frozenset[str]


class Host:
    """This machine. The object keeps what it finds; the cache keeps results of probes."""

    def __init__(self, cache: Cache | None = None) -> None:
        self.cache = cache or Cache()
        self._qemus: dict[str, QemuBinary] = {}
        self._probes: dict[tuple[str, str], ProbeResult] = {}
        self._checked: dict[str, Capability] = {}

    def qemu(self, arch: str) -> QemuBinary:
        """The QEMU that emulates `arch`. Raises `HostError` if it is missing, too old or does not run."""
        if arch not in self._qemus:
            self._qemus[arch] = _find_qemu(arch)
        return self._qemus[arch]

    def probe(self, arch: str, accelerator: str, again: bool = False) -> ProbeResult:
        """Whether a tiny guest of `arch` answers under `kvm` or `tcg`; `again` ignores earlier results."""
        key = arch, accelerator
        if again or key not in self._probes:
            self._probes[key] = cached_probe(self.qemu(arch).path, arch, accelerator, self.cache, again)
        return self._probes[key]

    def accelerator(self, arch: str) -> str:
        """`kvm` if it runs guests of `arch` here, else `tcg`.

        Raises `HostError` without a QEMU, and in a lab whose KVM runs none: emulation within emulation would take
        hours and say nothing about KVM.
        """
        if arch != host_arch() or "kvm" not in self.qemu(arch).accelerators or not accelerator_probe.KVM.exists():
            return "tcg"
        if self.probe(arch, "kvm").answered:
            return "kvm"
        if in_lab():
            detail = self.probe(arch, "kvm").detail
            raise HostError(f"The lab's KVM runs no guest: {detail}.", "Try again when the host is less busy.")
        return "tcg"

    def cpus(self) -> int:
        """The cpus that this process may use: its affinity, and its cgroup's quota rounded up."""
        allowed = len(os.sched_getaffinity(0))
        try:
            quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
            return min(allowed, -(-int(quota) // int(period)))
        except (OSError, ValueError):
            return allowed

    def capabilities(self, kernels: Collection[str] = ("linux",)) -> list[Capability]:
        """Everything a host may have, what was found of it, and whether cells of these kernels require it."""
        names = [f"{kind}-{arch}" for kind in ("qemu", "tcg", "kvm") for arch in ARCHES]
        names += [f"lab-{arch}" for arch in LAB_QEMU]
        found = [self.capability(name) for name in (*names, *REQUIREMENTS, *NETWORKS)]
        found += check_surroundings(self.cpus(), self.cache.root)
        return [replace(row, required=not row.required_for.isdisjoint(kernels)) for row in found]

    def capability(self, name: str) -> Capability:
        """What was found of one capability, by its name: `qemu-aarch64`, `kvm-x86_64`, `debian-packages`."""
        kind, _, arch = name.partition("-")
        if arch in ARCHES and kind == "qemu":
            return self._qemu_capability(arch)
        if arch in ARCHES and kind in ("kvm", "tcg"):
            return self._accelerator_capability(arch, kind)
        if kind == "lab" and arch in ARCHES:
            return self._lab_capability(arch)
        if name not in REQUIREMENTS and name not in NETWORKS:
            raise HostError(f"There is no capability {name!r}.", did_you_mean(name, [*REQUIREMENTS, *NETWORKS]))
        if in_lab() and name in NOT_NEEDED_IN_LAB:
            need = REQUIREMENTS[name]
            return Capability(name, name, need.good_for, "used before the lab began", True)
        if name not in self._checked:
            self._checked[name] = (
                check_requirement(REQUIREMENTS[name]) if name in REQUIREMENTS else check_network(name)
            )
        return self._checked[name]

    def _qemu_capability(self, arch: str) -> Capability:
        row = Capability(
            f"qemu-{arch}", f"QEMU for {arch}", f"qemu and qemu_microvm cells of {arch}",
            packages=(QEMU_PACKAGES[arch],), required_for=frozenset({"linux", "osv"}),
        )  # fmt: skip
        try:
            qemu = self.qemu(arch)
        except HostError as error:
            return replace(row, found=error.message, cure=error.hint)
        used = sorted(qemu.machines & {"q35", "pc", "microvm", "virt"})
        version = ".".join(map(str, qemu.version))
        with_what = f"{', '.join(used)} of {len(qemu.machines)} machines; {', '.join(sorted(qemu.accelerators))}"
        return replace(row, found=f"{version} at {qemu.path}: {with_what}", present=True)

    def _accelerator_capability(self, arch: str, accelerator: str) -> Capability:
        row = Capability(
            f"{accelerator}-{arch}", f"{accelerator.upper()} for {arch}",
            {"kvm": f"fast {arch} guests, cells that need KVM", "tcg": f"{arch} guests on any host"}[accelerator],
            required_for=frozenset({"linux", "osv"} if accelerator == "tcg" else ()),
        )  # fmt: skip
        if accelerator == "kvm":
            if arch != host_arch():
                return replace(row, found=f"this host is {host_arch()}", cure="Use a host of that arch.")
            if not accelerator_probe.KVM.exists():
                return replace(row, found="there is no /dev/kvm", cure="Enable (nested) virtualisation.")
            if not os.access(accelerator_probe.KVM, os.R_OK | os.W_OK):
                cure = "Join the group kvm: sudo usermod -aG kvm $USER, then log in again."
                return replace(row, found="/dev/kvm can't be opened by this user", cure=cure)
        try:
            probe = self.probe(arch, accelerator)
        except HostError as error:
            return replace(row, found=error.message, cure=error.hint)
        cure = {
            "kvm": "Guests run under TCG instead. KVM that opens and runs no guest is a host's own matter.",
            "tcg": f"This QEMU is broken: reinstall {QEMU_PACKAGES[arch]}.",
        }[accelerator]
        return replace(row, found=probe.detail, present=probe.answered, cure="" if probe.answered else cure)

    def _lab_capability(self, arch: str) -> Capability:
        """Whether a VM whose KVM runs guests of `arch` can be emulated here; a lab fetches its own parts."""
        row = Capability(f"lab-{arch}", f"a lab for {arch}", f"{arch} guests on KVM where this host has none")
        if in_lab():
            return replace(row, found="this is one", cure="None is needed: KVM runs guests here.")
        if arch == "x86_64" and arch != host_arch():
            return replace(row, found=f"there is none on {host_arch()}", cure="Use a host of that arch.")
        packages = self.capability("debian-packages")
        if not packages.present:
            found = f"its Linux and more are Debian's packages, which can't be fetched: {packages.found}"
            return replace(row, found=found, packages=packages.packages)
        try:
            version = self.qemu(arch).version
        except HostError:
            version = ()
        if version >= LAB_QEMU[arch]:
            return replace(row, found=f"QEMU {'.'.join(map(str, version))} emulates one", present=True)
        needed = ".".join(map(str, LAB_QEMU[arch]))
        return replace(row, found=f"QEMU {needed} of Debian's packages emulates one", present=True)


def _find_qemu(arch: str) -> QemuBinary:
    name = f"qemu-system-{arch}"
    install = f"Install {QEMU_PACKAGES[arch]}, or run `osv-harness doctor --install`."
    found = shutil.which(name)
    if found is None:
        raise HostError(f"{name} is missing.", install)
    return _examined(found, Path(found).stat().st_mtime_ns, name, install)


@cache
def _examined(found: str, changed: int, name: str, install: str) -> QemuBinary:
    """What the QEMU at the path says of itself, asked once; `changed` is when its file was changed."""
    words = _output(found, "-version")
    match = re.search(r"version (\d+(?:\.\d+)+)", words)
    if match is None:
        raise HostError(f"{name} told no version but: {words[:200]!r}.", install)
    version = tuple(int(part) for part in match[1].split("."))
    if version < MINIMUM_QEMU:
        needed = ".".join(map(str, MINIMUM_QEMU))
        raise HostError(f"{name} is {match[1]}, and {needed} or newer is needed.", "Install a newer QEMU.")
    machines = frozenset(line.split()[0] for line in _output(found, "-machine", "help").splitlines()[1:] if line)
    accelerators = frozenset(_output(found, "-accel", "help").split("\n", 1)[1].split())
    return QemuBinary(Path(found), version, machines, accelerators)


def _output(program: str, *arguments: str) -> str:
    """The output of a program. Raises `HostError` with its messages if it fails."""
    try:
        done = run_with_timeout([program, *arguments], 20)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"{program} can't be run: {error}", "Reinstall it.") from error
    if done.returncode:
        raise HostError(
            f"{program} {' '.join(arguments)} failed: {done.stderr.decode('utf-8', 'replace').strip()[:400]}",
            "Reinstall it.",
        )
    return done.stdout.decode("utf-8", "replace")
