"""A hypervisor's process: it dies with the thread that started it, and its words are kept."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic

from harness.core.errors import HostError
from harness.core.text import printable
from harness.host.process.die_with_parent import die_with_parent
from harness.host.process.timeout import ran_and_waited
from harness.vm.base import ExitCause, ExitStatus, Vcpu

MOST_WORDS = 1 << 16  # bytes
SHOWN_WORDS = 1000  # letters


class Child:
    """One process. It dies with the thread that started it (PR_SET_PDEATHSIG), whatever kills that.

    `line` is its standard input and output where one is given; otherwise it has no input, and its output is kept
    with its errors. `given` are descriptors that it inherits besides. `stopped` says that the harness ended it.
    """

    def __init__(
        self, name: str, command: Sequence[str], line: socket.socket | None = None, given: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.command = tuple(command)
        self.stopped = False
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 (open for as long as the process runs)
        self._closed = False
        self.started = monotonic()
        try:
            self._process = subprocess.Popen(
                die_with_parent(command),
                stdin=line.fileno() if line else subprocess.DEVNULL,
                stdout=line.fileno() if line else self._words,
                stderr=self._words,
                pass_fds=given,
                start_new_session=True,
                env={**os.environ, **environment} if environment else None,
            )
        except OSError as error:
            self._words.close()
            raise HostError(f"setpriv can't be run: {error.strerror}.", "Install util-linux.") from error
        self.pid = self._process.pid

    def status(self, timeout: float = 0.0) -> int | None:
        """What it exited with, negative for a signal, or None if it still runs after `timeout` seconds."""
        pidfd = os.pidfd_open(self.pid) if self._process.poll() is None else None
        if pidfd is not None:
            try:
                select.select([pidfd], [], [], timeout)
            finally:
                os.close(pidfd)
        return self._process.poll()

    def end(self, status: int) -> str:
        """A status as words."""
        if status < 0:
            return f"{self.name} was ended by {signal.Signals(-status).name}"
        return f"{self.name} exited with {status}"

    def ending(self, status: int, words: Callable[[], str]) -> ExitStatus:
        """How its guest ended, where nothing but the status tells; `words` gives the reason of a failure."""
        said = self.end(status)
        if self.stopped:
            return ExitStatus(ExitCause.STOPPED, said)
        if status < 0:
            return ExitStatus(ExitCause.KILLED, said)
        return (
            ExitStatus(ExitCause.REFUSED, f"{said}: {words()}")
            if status
            else ExitStatus(ExitCause.POWERED_OFF, said)
        )

    def words(self) -> str:
        """What it wrote beside the guest's console, safe to show."""
        return tail_of(self._words.fileno())

    def kill(self) -> None:
        """End it now, as the harness wishes."""
        self.stopped = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def close(self) -> None:
        """End it if it still runs, and wait until it is gone."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._words.close()

    def vcpus(self, prefix: str) -> tuple[Vcpu, ...]:
        """Its vCPUs are the threads whose names begin with `prefix`; where those stand is not known."""
        found: list[Vcpu] = []
        for thread in sorted(Path(f"/proc/{self.pid}/task").glob("*"), key=lambda path: int(path.name)):
            with contextlib.suppress(OSError, ValueError):
                if (thread / "comm").read_text().startswith(prefix):
                    found.append(Vcpu(len(found), None, *ran_and_waited(self.pid, int(thread.name))))
        return tuple(found)


def tail_of(file: int) -> str:
    """The last of what was written to a file, as lines that are safe to show, joined."""
    size = os.fstat(file).st_size
    data = os.pread(file, MOST_WORDS, max(0, size - MOST_WORDS))
    lines = [printable(line).strip() for line in data.splitlines()]
    return "; ".join(line for line in lines if line)[-SHOWN_WORDS:]
