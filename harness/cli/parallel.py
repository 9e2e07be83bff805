"""Tests one after the other, or several at once in processes of their own, of which none outlives this one."""

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from harness.core.cell import Cell
from harness.core.errors import HostError
from harness.core.events import subscribed
from harness.kernels.prebuilt.kernel import Files
from harness.report.progress import Progress
from harness.runner.base import Program, Run
from harness.runner.session import Lab

PR_SET_PDEATHSIG = 1
"""Source: prctl(2)."""

_labs: list[Lab] = []
"""Of a process of ours: its one lab."""


def runs(lab: Lab, asked: Sequence[tuple[Cell, Program]], jobs: int) -> Generator[Run, None, None]:
    """The run of each test, in their order, as it comes; up to `jobs` run at once, if the host has cpus for them.

    Whoever takes no more of them closes it, which ends the tests that run. Raises what `Lab.run` raises.
    """
    if jobs == 1:
        for cell, program in asked:
            with subscribed(Progress()):
                yield lab.run(cell, program)
        return
    # Not forked: the history's thread and what it holds stay here.
    context = multiprocessing.get_context("spawn")
    words = (os.getpid(), Progress.began, lab.osv_root, lab.files, lab.arch)
    pool = ProcessPoolExecutor(jobs, context, _begin, words)
    try:
        with _interrupts_held():
            waiting = [pool.submit(_run, one) for one in asked]
        for one in waiting:
            yield one.result()
    except BrokenProcessPool as error:
        raise HostError(
            "A process that ran tests was killed; those without a verdict did not end.",
            "Look for `Out of memory` in this host's log, or run fewer at once: --jobs.",
        ) from error
    finally:
        # Nothing is cancelled: until CPython 3.12 a pool whose process dies stumbles over what was.
        for child in multiprocessing.active_children():
            child.kill()
        pool.shutdown()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes that are started meanwhile get no Ctrl-C before `_begin` ignores it; this one gets it then."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def _begin(parent: int, began: float, osv_root: Path | None, files: Files | None, arch: str | None) -> None:
    """Die with the process that started this one, whatever kills it; what Ctrl-C ends is its to say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was killed before
        os._exit(1)
    Progress.began = began
    _labs.append(Lab(osv_root, files=files, arch=arch))


def _run(asked: tuple[Cell, Program]) -> Run:
    with subscribed(Progress()):
        return _labs[0].run(*asked)
