"""A harness whose machine runs in a cloud, until it is killed.

Run as `cloud_harness.py HYPERVISOR FOLDER`. It says its reaper's process id, and then that the console was read.
"""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from bootable_machine import maker

import harness.vm.common.cloud_vm
from harness.host.process.reaper import Reaper
from harness.vm.common.cloud_vm import CloudVm

ENDS_SECONDS = 120.0
READ = "the console was read"


class SaidReaper(Reaper):
    """Says its process id."""

    def __init__(self, command: list[str]) -> None:
        super().__init__(command)
        print(self._process.pid, flush=True)


def read(vm: CloudVm, wanted: bytes) -> bytes:
    """Everything that the console says, up to what is wanted."""
    said = b""
    while wanted not in said:
        more = vm.console.recv(4096)
        assert more, said
        said += more
    return said


def kill_at(step: str, search: str = "") -> tuple[Callable[[str], Any], Callable[[int], None]]:
    """A cloud's fault that kills the harness when it asks for the step, and who tells it whom to kill.

    What was asked for is carried out after that: once the request `search` of a reaper has come, if it is named.
    """
    victims: list[int] = []
    searched = threading.Event()

    def fault(name: str) -> None:
        if name == step and victims:
            os.kill(victims.pop(), signal.SIGKILL)
            assert not search or searched.wait(ENDS_SECONDS)
        elif name == search:
            searched.set()

    return fault, victims.append


def killed(name: str, folder: Path, started: Callable[[int], None]) -> None:
    """Run such a harness, which something else is to kill, and wait for the end of its reaper.

    `started` is told its process id.
    """
    command = [sys.executable, __file__, name, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout
        started(harness.pid)
        reaper = os.pidfd_open(int(harness.stdout.readline()))
        said = harness.stdout.read()
    try:
        assert harness.returncode == -signal.SIGKILL, "it was not killed"
        assert said in ("", f"{READ}\n")
        assert select.select([reaper], [], [], ENDS_SECONDS)[0], "the reaper still runs"
    finally:
        os.close(reaper)


def main(name: str, folder: Path) -> None:
    """Start the machine and listen to it."""
    harness.vm.common.cloud_vm.POLL_SECONDS = 0.05
    driver = import_module(f"harness.vm.{name}.driver")
    driver.Reaper = SaidReaper
    vm = driver.driver().start(maker(folder)(name))
    vm.resume()
    read(vm, b"\n")
    print(READ, flush=True)
    time.sleep(ENDS_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
