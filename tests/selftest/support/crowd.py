"""Busy processes that starve what shares one cpu of the host with them."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SPINS = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"


@contextmanager
def crowd(size: int = 3) -> Iterator[list[subprocess.Popen[bytes]]]:
    """This process, what it starts, and so many busy ones, on one cpu: the same for all tests, of which one at a
    time has a crowd. Each busy one is in a session of its own, for sessions share a cpu as equals
    (sched_autogroup)."""
    before = os.sched_getaffinity(0)
    with Path(__file__).open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        os.sched_setaffinity(0, {min(before)})
        busy = [subprocess.Popen([sys.executable, "-c", SPINS], start_new_session=True) for _ in range(size)]
        try:
            yield busy
        finally:
            os.sched_setaffinity(0, before)
            for one in busy:
                one.kill()
                one.wait()
