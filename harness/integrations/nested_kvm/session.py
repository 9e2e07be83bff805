"""Runs one command in a new lab: fetches the packages, starts the VM, copies the files that the command wrote."""

import errno
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path

from harness.core import project
from harness.core.arch import host_arch
from harness.core.cell import Cell
from harness.core.errors import HarnessError, HostError
from harness.core.events import publish
from harness.host.cache import Cache
from harness.host.host import Host
from harness.host.in_lab import VARIABLE, in_lab
from harness.host.temp_dir import temporary_dir
from harness.integrations.nested_kvm import initramfs
from harness.integrations.nested_kvm.code import PACKAGE, code
from harness.integrations.nested_kvm.debian_root import DEBIANS, PATH, debian_root
from harness.integrations.nested_kvm.emulator import emulator
from harness.integrations.nested_kvm.host_view import PROJECT, View, view
from harness.integrations.nested_kvm.kernel import kernel
from harness.integrations.nested_kvm.machine import BOARDS, Hardware, Vm
from harness.integrations.nested_kvm.relay import LabNotUpError, Relay
from harness.integrations.nested_kvm.results import copy_results, merge_history
from harness.integrations.nested_kvm.unpacked import debians_python
from harness.kernels.osv.checkout import Checkout
from harness.kernels.osv.toolchain import taken_from_host

INHERITED = re.compile(r"LANG|LC_\w+|TERM|TZ|COLUMNS|NO_COLOR|PYTHONPATH|PYTEST_ADDOPTS|OSV_ROOT|OSV_HARNESS_\w+")
"""The variables that a lab's command inherits. No others: some are secrets."""

MEMORY = 5120  # MiB
LEAST_MEMORY = 1536  # MiB
ATTEMPTS = 3
"""How many labs are started until a command starts in one: on a busy host some lose a cpu's timer interrupts."""

QEMU_OVERHEAD = 512
"""MiB that QEMU needs besides the lab's memory, for translated code and itself."""

MEMINFO = Path("/proc/meminfo")


def run(
    command: Sequence[str], arch: str, hardware: Hardware, checkout: Path | None, terminal: bool = False,
    verified: Iterable[Path] = (),
) -> int:  # fmt: skip
    """Run a command in a lab of `arch`, with its output on ours; returns its status.

    `checkout` is OSv's. `sound` are the entries of the cache that need no second check. `terminal` gives the
    command our terminal. Files that it wrote to its working folder are copied to ours. Raises `HostError` or
    `BuildError` if there can be no lab, or if it ends before its command.
    """
    check(arch, hardware)
    cache = Cache()
    qemu, linux = emulator(arch, Host(cache), cache), kernel(arch, cache)
    shown = _lab_view(command, arch, cache, checkout)
    facts = {"checkouts": _states(checkout), "builders": _builders(arch), "python": sys.executable}
    host_facts = {**facts, "sound": sorted(verified)}
    try:
        with temporary_dir("osv-harness-lab-") as scratch:
            out, initrd = scratch / "out", scratch / "initrd"
            out.mkdir()
            initramfs.write(initrd, linux, shown, command, _environment(arch, shown), terminal, host_facts)

            def vm() -> Vm:
                return Vm(qemu, arch, hardware, linux / "kernel", initrd, initramfs.tags(shown), out)

            for attempt in range(1, ATTEMPTS):
                with suppress(LabNotUpError):
                    return _run_in(vm(), out, shown, terminal)
                publish("lab.again", "the lab did not come up", f"attempt {attempt + 1} of {ATTEMPTS}")
            return _run_in(vm(), out, shown, terminal)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise HostError(
            f"There is no space left in {os.environ.get('TMPDIR', '/tmp')}, where a lab keeps what it writes.",
            "Free some, or name another folder in TMPDIR.",
        ) from error


def check(arch: str, hardware: Hardware) -> None:
    """Raise `HostError` if no lab of this arch or size is possible."""
    if in_lab():
        raise HostError("This is a lab, and there is none in a lab.", "Run the command as it is: KVM works here.")
    if arch not in BOARDS:
        raise HostError(f"There is no lab of {arch}.", f"There is one of {', '.join(BOARDS)}.")
    if arch not in DEBIANS and arch != host_arch():
        raise HostError(f"There is no lab of {arch} on a host of {host_arch()}.", "Use a host of that arch.")
    if hardware.memory < LEAST_MEMORY:
        raise HostError(f"A lab of {hardware.memory} MiB is too small.", f"Give --memory {LEAST_MEMORY} or more.")
    free = _free_memory()
    if hardware.memory + QEMU_OVERHEAD > free:
        fits = max(0, free - QEMU_OVERHEAD) // 256 * 256
        smaller = f"Give --memory {fits}, or end" if fits >= LEAST_MEMORY else "End"
        raise HostError(
            f"A lab of {hardware.memory} MiB has no room: this host has {free} MiB of memory free.",
            f"{smaller} what else uses memory here.",
        )


def default_memory() -> int:
    """The default memory of a lab in MiB: less than usual if the host has little free."""
    return max(LEAST_MEMORY, min(MEMORY, (_free_memory() - QEMU_OVERHEAD) // 256 * 256))


def _free_memory() -> int:
    """MiB usable without swapping: the host's, or what the cgroup has left."""
    facts = re.search(r"^MemAvailable:\s+(\d+) kB", MEMINFO.read_text(), re.MULTILINE)
    free = int(facts[1]) // 1024 if facts else sys.maxsize
    try:
        group = Path("/sys/fs/cgroup")
        left = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):  # none, or no limit
        return free
    return min(free, left >> 20)


def _lab_view(command: Sequence[str], arch: str, cache: Cache, checkout: Path | None) -> View:
    """What the lab sees: this host's system, or an unpacked one with its own Python."""
    system = debian_root(arch, cache) if arch in DEBIANS else None
    package = code(cache, debians_python(cache)) if system else code(cache)
    return view(command, Path.cwd(), cache.root.absolute(), checkout, package, system)


def _states(checkout: Path | None) -> Mapping[str, object]:
    """The state of the checkout, by its folder. A checkout that can't be read is reported by who asks for it in
    the lab."""
    if checkout is None:
        return {}
    with suppress(HarnessError):
        facts = Checkout(checkout)
        return {str(checkout): {"state": asdict(facts.state()), "committed": facts.committed()}}
    return {}


def _builders(arch: str) -> Mapping[str, object]:
    """What of this host determines a kernel's bytes, by arch; empty if it has no compiler."""
    with suppress(HostError):
        return {arch: taken_from_host(Cell("osv", arch, "qemu", "rofs", "all"))}
    return {}


def _run_in(vm: Vm, out: Path, shown: View, terminal: bool) -> int:
    relay = Relay(vm, terminal)
    try:
        with closing(vm):
            status = relay.run()
    finally:
        _copy_results(out, shown)
    if relay.unsaved:
        raise HostError(
            f"The command ended with status {status}, and not all that it wrote came out: {relay.unsaved}.",
            f"Free some space in {out.parent.parent}, or name another folder in TMPDIR.",
        )
    return status


def _copy_results(out: Path, shown: View) -> None:
    if (out / "folder").is_dir():
        copy_results(out / "folder", shown.cwd)
    if (history := out / initramfs.HISTORY.name).exists():
        merge_history(history)


def _environment(arch: str, shown: View) -> Mapping[str, str]:
    """The environment of the command."""
    variables = {name: value for name, value in os.environ.items() if INHERITED.fullmatch(name)}
    tools = str(Path(sys.executable).parent)
    path = f"{tools}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    if arch in DEBIANS:
        path, variables["PYTHONPATH"] = PATH, str(PACKAGE.parent)
    variables.setdefault("COLUMNS", str(shutil.get_terminal_size((160, 24)).columns))
    return variables | {
        VARIABLE: arch,
        "PATH": path,
        "HOME": "/lab/home",
        "TMPDIR": "/lab/tmp",
        "PWD": str(shown.cwd),
        "OSV_HARNESS_CACHE": str(shown.writable[0]),
        "OSV_HARNESS_HISTORY": str(initramfs.HISTORY),
        project.VARIABLE: PROJECT,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
