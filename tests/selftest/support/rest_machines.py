"""Firecracker and Cloud Hypervisor with a stand-in for their binary: their machines, and what is left of them."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from descriptors import descriptors
from executable import executable
from rest_standin import ECHO_PORT

from harness.core.cell import Cell
from harness.core.machine import Disk, Image, Machine
from harness.vm.base import Vm
from harness.vm.common.rest_client import Request
from harness.vm.registry import hypervisor

STANDIN = Path(__file__).with_name("rest_standin.py")
BINARIES = {"firecracker": "firecracker", "cloud_hypervisor": "cloud-hypervisor"}
SCHEMAS = {"firecracker": "firecracker-1.17", "cloud_hypervisor": "cloud-hypervisor"}
CREATES = {"firecracker": "/machine-config", "cloud_hypervisor": "/vm.create"}
MARK = "OSV_HARNESS_SELFTEST_MARK"


@dataclass(frozen=True)
class StandIn:
    """A hypervisor whose binary is the stand-in: its name, the machine to start, and what it was sent."""

    name: str
    machine: Machine
    log: Path

    def start(self) -> Vm:
        return hypervisor(self.name).start(self.machine)

    def sent(self) -> list[Request]:
        return [Request(*json.loads(line)) for line in self.log.read_text().splitlines()]


def maker(folder: Path) -> Callable[[str], Machine]:
    """Makes a machine with two disks and a network for the hypervisor that it is asked for."""
    kernel, first, second = (folder / name for name in ("kernel", "first.qcow2", "second"))
    kernel.write_bytes(b"\x7fELF")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(first), "1M"], check=True)
    second.write_bytes(b"as it was".ljust(1 << 16))

    def make(name: str) -> Machine:
        image = Image(
            Cell("osv", "x86_64", name, "rofs", "all"), kernel, "--rootfs=rofs", "digest", (Disk(first, "qcow2"),)
        )
        cmdline = "--rootfs=rofs --verbose /hello"
        return Machine(image, cmdline, 2, 256, network=True, forwards=(ECHO_PORT,), disks=(Disk(second),))

    return make


@contextmanager
def standing_in(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The stand-in as the first binary in PATH; when the test is over, nothing of it may be left."""
    if subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True).returncode:
        pytest.skip("this user may make no namespaces")
    machine = maker(folder)(name)
    programs, log = folder / "bin", folder / "log"
    programs.mkdir()
    words = [sys.executable, str(STANDIN), SCHEMAS[name], str(log)]
    executable(programs / BINARIES[name], f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv(MARK, str(folder))
    temporary = folder / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    before = descriptors()
    yield StandIn(name, machine, log)
    assert gone(folder), "a process is left"
    assert not list(temporary.iterdir())
    assert not descriptors().items() - before.items()  # an earlier test's may have been closed meanwhile


def plain_machine(folder: str, name: str) -> Machine:
    """A machine of the kernel that `maker` left in the folder, for another process to start."""
    kernel = Path(folder) / "kernel"
    image = Image(Cell("osv", "x86_64", name, "rofs", "all"), kernel, "--rootfs=rofs", "digest")
    return Machine(image, "--rootfs=rofs /hello", network=True, forwards=(ECHO_PORT,))


def gone(mark: Path) -> bool:
    """Whether no process with the mark in its environment is left; one that was killed takes a moment to go."""
    for _ in range(100):
        if not processes(f"{MARK}={mark}".encode(), "environ"):
            return True
        time.sleep(0.05)
    return False


def processes(word: bytes, where: str = "cmdline") -> set[int]:
    """The other processes that have the word in their command line or environment."""
    found = set()
    for path in Path("/proc").glob(f"[0-9]*/{where}"):
        with suppress(OSError):
            if any(part.endswith(word) for part in path.read_bytes().split(b"\0")):
                found.add(int(path.parent.name))
    return found - {os.getpid()}
