"""Runs slirp4netns, which connects a guest's network to the outside: a process on the host that makes the guest's
connections as its own.

It needs no rule and no device on the host. The host's own loopback cannot be reached through it. Source:
slirp4netns(1).
"""

import os
import select
import shutil
from contextlib import ExitStack

from harness.core.errors import HostError
from harness.host.netns import UPLINK
from harness.host.process.supervised import SupervisedProcess
from harness.host.requirements import SBIN_PATHS

PROGRAM = "slirp4netns"
READY_SECONDS = 20.0


class Slirp4netns:
    """One process, for the network of one other; it ends with this process, because it holds a pipe of ours."""

    def __init__(self, pid: int) -> None:
        """Connect the network of the process with this host's. Raises `HostError` with slirp4netns's message."""
        program = shutil.which(PROGRAM) or shutil.which(PROGRAM, path=":".join(SBIN_PATHS))
        if program is None:
            raise HostError(f"{PROGRAM} is missing.", f"Install the package {PROGRAM}.")
        ready, ready_end = os.pipe()
        ours, theirs = os.pipe()
        options = ["--configure", "--disable-host-loopback", f"--ready-fd={ready_end}", f"--exit-fd={theirs}"]
        with os.fdopen(ready, "rb", buffering=0) as ready_pipe, ExitStack() as held:
            held.callback(os.close, ours)
            try:
                command = [program, *options, str(pid), UPLINK]
                process = held.enter_context(SupervisedProcess(PROGRAM, command, fds=[ready_end, theirs]))
            finally:
                os.close(ready_end)
                os.close(theirs)
            came = select.select([ready_pipe], [], [], READY_SECONDS)[0]
            if not (came and ready_pipe.read(1)):
                why = process.log_tail()
                raise HostError(f"{PROGRAM} gave the guest no way out: {why}", "Try `osv-harness doctor`.")
            self._held = held.pop_all()

    def close(self) -> None:
        """Stop it, with every connection that it holds."""
        self._held.close()
