"""Runs tests one after the other, or several at once in separate processes, none of which outlives this one."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from harness.core.cell import Cell
from harness.core.errors import HostError
from harness.core.events import subscribed
from harness.core.machine import Image
from harness.kernels.prebuilt.kernel import Files
from harness.report.progress import Progress
from harness.runner.base import Program, Run
from harness.runner.session import Session

PR_SET_PDEATHSIG = 1
"""Source: prctl(2)."""

_sessions: list[Session] = []
"""The session of a worker process; at most one."""


def runs(session: Session, tests: Sequence[tuple[Cell, Program]], jobs: int) -> Generator[Run, None, None]:
    """The runs of the tests, in their order, as they finish; up to `jobs` at once, if the host has cpus for them.

    Closing the generator ends the tests that still run. Raises what the session's `run` raises, and `SystemExit`
    at SIGTERM if there are several at once.
    """
    if jobs == 1:
        for cell, program in tests:
            with subscribed(Progress()):
                yield session.run(cell, program)
        return
    # Not forked: the history's thread and its locks must not be copied.
    context = multiprocessing.get_context("spawn")
    of_session = session.osv_root, session.files, session.arch, dict(session.images), session.fork
    initargs = os.getpid(), Progress.began, *of_session
    pool = ProcessPoolExecutor(jobs, context, _start_worker, initargs)
    try:
        with _interrupts_held():
            waiting = [pool.submit(_run, one) for one in tests]
        with _leaving_at_sigterm():
            for one in waiting:
                yield one.result()
    except BrokenProcessPool as error:
        raise HostError(
            "A process that ran tests was killed; those without a verdict did not end.",
            "Look for `Out of memory` in this host's log, or run fewer at once: --jobs.",
        ) from error
    finally:
        # Nothing is cancelled: before CPython 3.12 a pool whose process dies fails on cancelled futures.
        for child in multiprocessing.active_children():
            child.kill()
        pool.shutdown()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Block Ctrl-C for processes started in the block, until `_start_worker` ignores it; this process gets it
    afterwards."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


@contextmanager
def _leaving_at_sigterm() -> Iterator[None]:
    """Raise `SystemExit` at SIGTERM: if it killed this process, Python's process that keeps its semaphores would
    complain of those that are left."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _start_worker(
    parent: int, began: float, osv_root: Path | None, files: Files | None, arch: str | None,
    images: Mapping[Cell, Image], fork: bool,
) -> None:  # fmt: skip
    """Die with the parent, whatever kills it. Ctrl-C is ignored: the parent handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent was killed before prctl
        os._exit(1)
    Progress.began = began
    _sessions.append(Session(osv_root, files=files, arch=arch, images=images, fork=fork))


def _run(tests: tuple[Cell, Program]) -> Run:
    with subscribed(Progress()):
        return _sessions[0].run(*tests)
