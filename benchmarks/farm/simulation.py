"""What the scheduler and the client cost, and that nothing is lost where members of the farm die."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.farm.members import RUN, TESTS
from harness.host.process.die_with_parent import die_with_parent
from harness.metrics.history.store import History

PROCESSES = 12
"""Processes among which the workers are divided."""
MEMBER = ("-m", "benchmarks.farm.members")
KILLED = 4
"""Of these are killed: a third of the workers."""


@dataclass(frozen=True, slots=True)
class Used:
    """Cpu seconds and the most memory, in MiB, of a process."""

    cpu: float
    memory: float


class _Member:
    """A process of the farm, which is killed when the stack is left, and dies with this process."""

    def __init__(self, stack: ExitStack, errors: Path, *words: str) -> None:
        command = die_with_parent([sys.executable, *words])
        said = stack.enter_context(errors.open("w"))
        self.popen = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, text=True
        )
        self._errors = errors
        stack.callback(self.popen.wait)
        stack.callback(self.popen.kill)

    def said(self, pattern: str) -> str:
        """Wait for a line with the pattern; returns its group."""
        assert self.popen.stdout
        for line in self.popen.stdout:
            if found := re.search(pattern, line):
                return found[1]
        raise RuntimeError(f"{self.popen.args} ended: {self._errors.read_text()[-2000:]}")

    def stored(self, wanted: int) -> int:
        """Wait until the client has stored so many verdicts; returns how many they are."""
        while (found := int(self.said(r"stored (\d+)"))) < wanted:
            pass
        return found

    def used(self) -> Used:
        """What it has used so far. Source: proc(5), `stat` and `status`."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.popen.pid}/status").read_text())
        ticks = int(fields[11]) + int(fields[12])
        return Used(ticks / os.sysconf("SC_CLK_TCK"), int(peak[1]) / 1024 if peak else 0.0)


def farm(workers: int, tasks: int, seconds: float) -> None:
    """Simulate a farm of so many workers and tasks, each of which waits so long. A third of the workers is killed
    after a quarter of the tasks, the client after half of them, and another goes on. Print what it came to."""
    cells = max(1, tasks // TESTS)
    with TemporaryDirectory(prefix="osv-harness-farm-") as name, ExitStack() as stack:
        folder = Path(name)
        scheduler = _Member(stack, folder / "scheduler", "-m", "harness.cli", "farm", "scheduler", "--port", "0")
        address = scheduler.said(r"the farm is at (\S+)")
        held = _workers(stack, folder, address, workers, seconds)
        idle, began = scheduler.used(), time.monotonic()
        history = folder / "history.sqlite"
        words = ("client", address, str(cells), str(history), str(folder / "runs"))
        client = _Member(stack, folder / "client-1", *MEMBER, *words)
        client.stored(cells * TESTS // 4)
        for one in held[:KILLED]:
            one.popen.kill()
        kept = client.stored(cells * TESTS // 2)
        client.popen.kill()
        client = _Member(stack, folder / "client-2", *MEMBER, *words)
        cost = json.loads(client.said(r'(\{"new".*\})'))
        wall, busy = time.monotonic() - began, scheduler.used()
        with History(str(history)) as store:
            verdicts = store.judged(run=RUN)
    different = len({(one.cell, one.test) for one in verdicts})
    print(f"{workers} workers, {cells * TESTS} tasks of {seconds:g} s: {wall:.0f} s")
    print(f"{len(verdicts)} verdicts of {different} tests, {kept} of them when the client died")
    print(f"not run: {cost['not_run']}")
    print("| | cpu ms a task | MiB before | MiB at most |")
    print("|---|---|---|---|")
    per_task = (busy.cpu - idle.cpu) / different * 1e3
    print(f"| scheduler | {per_task:.2f} | {idle.memory:.0f} | {busy.memory:.0f} |")
    print(f"| client | {cost['cpu'] / cost['new'] * 1e3:.2f} | | {cost['kib'] / 1024:.0f} |")


def _workers(stack: ExitStack, folder: Path, address: str, count: int, seconds: float) -> list[_Member]:
    """The processes of all workers, which have joined the farm."""
    share = -(-count // PROCESSES)
    held = []
    for first in range(0, count, share):
        words = ("workers", address, str(first), str(min(share, count - first)), str(seconds))
        held.append(_Member(stack, folder / f"workers-{first}", *MEMBER, *words))
    for one in held:
        one.said("(all work)")
    return held
