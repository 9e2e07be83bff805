"""A farm of real dask processes on loopback: a scheduler, workers, and what each of them says."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

HARNESS = (sys.executable, "-c", "import sys; from harness.cli import main; sys.exit(main())")
LONG = 600.0  # seconds; only a farm that hangs needs them
T = TypeVar("T")


class Process:
    """One of the farm's. It dies with the test run, and says its words in a file."""

    def __init__(self, words: Path, *arguments: str, path: str | None = None) -> None:
        self.words = words
        settings = os.environ if path is None else {**os.environ, "PATH": path}
        with words.open("w") as file:
            self.popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *HARNESS, *arguments],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                env={name: value for name, value in settings.items() if name != "OSV_ROOT"},
            )  # fmt: skip

    def said(self, pattern: str) -> re.Match[str]:
        """Wait until it says so."""
        return until(lambda: re.search(pattern, self.words.read_text()), self)

    def guests(self) -> list[int]:
        """The processes that it started and that run."""
        tasks = Path(f"/proc/{self.popen.pid}/task").glob("*/children")
        try:
            return [int(pid) for task in tasks for pid in task.read_text().split() if is_hypervisor(int(pid))]
        except (FileNotFoundError, ProcessLookupError):
            return []


def until(asked: Callable[[], T | None], *needed: Process) -> T:
    """What is asked for as soon as it is there; fails with their words if the processes end before that."""
    deadline = time.monotonic() + LONG
    while not (found := asked()):
        for process in needed:
            assert process.popen.poll() is None, process.words.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def is_hypervisor(pid: int) -> bool:
    try:
        return "qemu-system" in Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode()
    except OSError:
        return False


@contextmanager
def farm(
    folder: Path, workers: Mapping[str, Sequence[str]], *options: str, paths: Mapping[str, str] = {}
) -> Iterator[tuple[str, Process, dict[str, Process]]]:
    """A scheduler and its workers, by name with what each leaves to others and where it finds programs; all are
    killed at the end."""
    with ExitStack() as stack:

        def started(name: str, *arguments: str) -> Process:
            process = Process(folder / f"{name}.txt", "farm", *arguments, *options, path=paths.get(name))
            stack.callback(process.popen.wait)
            stack.callback(process.popen.kill)
            return process

        scheduler = started("scheduler", "scheduler", "--port", "0", "--patience", "2")
        address = scheduler.said(r"the farm is at (t(?:cp|ls)://127.0.0.1:\d+)\n")[1]
        there = {}
        for name, without in workers.items():
            less = [word for capability in without for word in ("--without", capability)]
            there[name] = started(name, "worker", address, "--name", name, *less)
        for process in there.values():
            process.said(r"works for ")
        yield address, scheduler, there
