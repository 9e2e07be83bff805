"""Runs one command in a lab of its own, from the packages that it needs to the files that it wrote."""

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
from harness.integrations.nested_kvm.relay import NotUp, Relay
from harness.integrations.nested_kvm.results import bring, merge
from harness.integrations.nested_kvm.unpacked import debians_python
from harness.kernels.osv.checkout import Checkout
from harness.kernels.osv.toolchain import taken_from_host

PASSED = re.compile(r"LANG|LC_\w+|TERM|TZ|COLUMNS|NO_COLOR|PYTHONPATH|PYTEST_ADDOPTS|OSV_ROOT|OSV_HARNESS_\w+")
"""The variables that a lab's command inherits; no other, for some are secrets."""

MEMORY = 5120  # MiB
LEAST_MEMORY = 1536  # MiB
ATTEMPTS = 3
"""Labs that are started until a command begins in one: on a busy host some lose a cpu's timer interrupts."""

OWN = 512
"""MiB that QEMU needs beside the lab's memory: what it translates, and itself."""

MEMINFO = Path("/proc/meminfo")


def run(
    command: Sequence[str], arch: str, hardware: Hardware, checkout: Path | None, terminal: bool = False,
    sound: Iterable[Path] = (),
) -> int:  # fmt: skip
    """The status with which the command ended in a lab of `arch`, with its output on ours.

    `checkout` is OSv's, and `sound` are the entries of the cache that need not be read again. With `terminal` our
    terminal is the command's. What it wrote where it ran comes to where we are. Raises
    `HostError` or `BuildError` where there can be no lab, or it came to an end before its command.
    """
    check(arch, hardware)
    cache = Cache()
    qemu, linux = emulator(arch, Host(cache), cache), kernel(arch, cache)
    seen = _seen(command, arch, cache, checkout)
    found = {"checkouts": _states(checkout), "builders": _builders(arch), "python": sys.executable}
    handed = {**found, "sound": sorted(sound)}
    try:
        with temporary_dir("osv-harness-lab-") as scratch:
            out, initrd = scratch / "out", scratch / "initrd"
            out.mkdir()
            initramfs.write(initrd, linux, seen, command, _environment(arch, seen), terminal, handed)

            def vm() -> Vm:
                return Vm(qemu, arch, hardware, linux / "kernel", initrd, initramfs.tags(seen), out)

            for attempt in range(1, ATTEMPTS):
                with suppress(NotUp):
                    return _run_in(vm(), out, seen, terminal)
                publish("lab.again", "the lab did not come up", f"attempt {attempt + 1} of {ATTEMPTS}")
            return _run_in(vm(), out, seen, terminal)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise HostError(
            f"There is no space left in {os.environ.get('TMPDIR', '/tmp')}, where a lab keeps what it writes.",
            "Free some, or name another folder in TMPDIR.",
        ) from error


def check(arch: str, hardware: Hardware) -> None:
    """Raise `HostError` where no lab of the arch, or of this size, can be."""
    if in_lab():
        raise HostError("This is a lab, and there is none in a lab.", "Run the command as it is: KVM works here.")
    if arch not in BOARDS:
        raise HostError(f"There is no lab of {arch}.", f"There is one of {', '.join(BOARDS)}.")
    if arch not in DEBIANS and arch != host_arch():
        raise HostError(f"There is no lab of {arch} on a host of {host_arch()}.", "Use a host of that arch.")
    if hardware.memory < LEAST_MEMORY:
        raise HostError(f"A lab of {hardware.memory} MiB is too small.", f"Give --memory {LEAST_MEMORY} or more.")
    free = _free_memory()
    if hardware.memory + OWN > free:
        fits = max(0, free - OWN) // 256 * 256
        smaller = f"Give --memory {fits}, or end" if fits >= LEAST_MEMORY else "End"
        raise HostError(
            f"A lab of {hardware.memory} MiB has no room: this host has {free} MiB of memory free.",
            f"{smaller} what else uses memory here.",
        )


def fitting_memory() -> int:
    """MiB of memory of a lab, where none is asked for: less than is usual on a host with little of it free."""
    return max(LEAST_MEMORY, min(MEMORY, (_free_memory() - OWN) // 256 * 256))


def _free_memory() -> int:
    """MiB that can be used without swapping: the host's, or what is left of the cgroup's."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", MEMINFO.read_text(), re.MULTILINE)
    free = int(found[1]) // 1024 if found else sys.maxsize
    try:
        group = Path("/sys/fs/cgroup")
        left = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):  # none, or no limit
        return free
    return min(free, left >> 20)


def _seen(command: Sequence[str], arch: str, cache: Cache, checkout: Path | None) -> View:
    """What the lab is shown: this host's own system, or an unpacked one with its own Python."""
    system = debian_root(arch, cache) if arch in DEBIANS else None
    ours = code(cache, debians_python(cache)) if system else code(cache)
    return view(command, Path.cwd(), cache.root.absolute(), checkout, ours, system)


def _states(checkout: Path | None) -> Mapping[str, object]:
    """The state of the checkout, by its folder. One that can't be read is told of by who asks for it there."""
    if checkout is None:
        return {}
    with suppress(HarnessError):
        found = Checkout(checkout)
        return {str(checkout): {"state": asdict(found.state()), "committed": found.committed()}}
    return {}


def _builders(arch: str) -> Mapping[str, object]:
    """What of this host decides a kernel's bytes, by the arch of its cells; nothing where it has no compiler."""
    with suppress(HostError):
        return {arch: taken_from_host(Cell("osv", arch, "qemu", "rofs", "all"))}
    return {}


def _run_in(vm: Vm, out: Path, seen: View, terminal: bool) -> int:
    relay = Relay(vm, terminal)
    try:
        with closing(vm):
            status = relay.run()
    finally:
        _bring(out, seen)
    if relay.unsaved:
        raise HostError(
            f"The command ended with status {status}, and not all that it wrote came out: {relay.unsaved}.",
            f"Free some space in {out.parent.parent}, or name another folder in TMPDIR.",
        )
    return status


def _bring(out: Path, seen: View) -> None:
    if (out / "folder").is_dir():
        bring(out / "folder", seen.cwd)
    if (history := out / initramfs.HISTORY.name).exists():
        merge(history)


def _environment(arch: str, seen: View) -> Mapping[str, str]:
    """What the command finds in its environment."""
    kept = {name: value for name, value in os.environ.items() if PASSED.fullmatch(name)}
    tools = str(Path(sys.executable).parent)
    path = f"{tools}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    if arch in DEBIANS:
        path, kept["PYTHONPATH"] = PATH, str(PACKAGE.parent)
    kept.setdefault("COLUMNS", str(shutil.get_terminal_size((160, 24)).columns))
    return kept | {
        VARIABLE: arch,
        "PATH": path,
        "HOME": "/lab/home",
        "TMPDIR": "/lab/tmp",
        "PWD": str(seen.cwd),
        "OSV_HARNESS_CACHE": str(seen.writable[0]),
        "OSV_HARNESS_HISTORY": str(initramfs.HISTORY),
        project.VARIABLE: PROJECT,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
