"""Removes what would outlive a process of ours: files, and machines in a hypervisor or a cloud.

A reaper waits for the end of its input, which comes when it is closed or when its parent is gone, however that
ended, and when no process that inherited the other end is left. Then it runs its command. It does not die with its
parent: that is its purpose.
"""

import contextlib
import subprocess
from collections.abc import Sequence

from harness.core.errors import HostError

LONGEST = 120.0  # seconds


class Reaper:
    """Runs a command once, when it is closed or this process has ended."""

    def __init__(self, command: Sequence[str]) -> None:
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", 'PATH=$PATH:/usr/bin:/bin; cat > /dev/null; exec "$@"', "reaper", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise HostError(f"sh can't be run: {error.strerror}.") from error

    def inherited(self) -> tuple[int, ...]:
        """The descriptors that a tool inherits which may still create what is to be removed, though its parent is
        killed: the reaper then waits for the tool's end. None once it is closed."""
        pipe = self._process.stdin
        return () if pipe is None or pipe.closed else (pipe.fileno(),)

    @property
    def succeeded(self) -> bool:
        """Whether its command has run, and succeeded."""
        return self._process.returncode == 0

    def close(self) -> None:
        """Run the command now and wait for it; a second call does nothing."""
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LONGEST)
