"""slirp4netns, the way out of a guest's network: a process out here that makes its connections as its own.

It needs no rule and no device of the host's. The host's own loopback is not to be reached through it.
Source: slirp4netns(1).
"""

import os
import select
import shutil
import subprocess
import tempfile

from harness.core.errors import HostError
from harness.host.netns import UPLINK
from harness.host.process.die_with_parent import die_with_parent
from harness.host.requirements import SBIN_PATHS

PROGRAM = "slirp4netns"
READY_SECONDS = 20.0


class Slirp4netns:
    """One process, for the network of one other; it ends with this one, for it holds a pipe of ours too."""

    def __init__(self, pid: int) -> None:
        """Join the network of the process with this host's. Raises `HostError` in slirp4netns's words."""
        program = shutil.which(PROGRAM) or shutil.which(PROGRAM, path=":".join(SBIN_PATHS))
        if program is None:
            raise HostError(f"{PROGRAM} is missing.", f"Install the package {PROGRAM}.")
        ready, told = os.pipe()
        self._ours, theirs = os.pipe()
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 (open for as long as the process runs)
        options = ["--configure", "--disable-host-loopback", f"--ready-fd={told}", f"--exit-fd={theirs}"]
        try:
            self._process = subprocess.Popen(
                die_with_parent([program, *options, str(pid), UPLINK]),
                stdin=subprocess.DEVNULL,
                stdout=self._words,
                stderr=self._words,
                pass_fds=[told, theirs],
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._ours)
            self._words.close()
            raise HostError(f"setpriv can't be run: {error.strerror}.", "Install util-linux.") from error
        finally:
            os.close(told)
            os.close(theirs)
        with os.fdopen(ready, "rb", buffering=0) as said:
            came = select.select([said], [], [], READY_SECONDS)[0]
            if not (came and said.read(1)):
                words = self.words()
                self.close()
                raise HostError(f"{PROGRAM} gave the guest no way out: {words}", "Try `osv-harness doctor`.")

    def words(self) -> str:
        """What it said."""
        return os.pread(self._words.fileno(), 1 << 16, 0).decode("utf-8", "replace").strip()

    def close(self) -> None:
        """End it, and with it every connection that it holds."""
        self._process.kill()
        self._process.wait()
        os.close(self._ours)
        self._words.close()
