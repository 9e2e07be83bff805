"""A child process that does not outlive its parent, and whose output is kept."""

import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from harness.core.close_on_error import close_on_error
from harness.core.errors import HostError, of_system
from harness.core.text import printable_lines
from harness.host.process.die_with_parent import die_with_parent

TAIL_BYTES = 1 << 16
TAIL_LETTERS = 1000


class SupervisedProcess:
    """One child process. The kernel kills it when the thread that started it ends in any way (PR_SET_PDEATHSIG).

    Messages call it `name`. It leads a process group, which is killed as a whole when it is closed; after its end
    it stays a zombie until then, so that no other process gets its pid. It inherits the descriptors `fds`. Its
    standard error goes to its log, and so does its standard output if `stdout` is no descriptor.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, stdin: int = subprocess.DEVNULL, stdout: int | None = None,
        fds: Sequence[int] = (), environment: Mapping[str, str] | None = None, cwd: Path | None = None,
    ) -> None:  # fmt: skip
        """Start it. Raises `HostError` if it can't be, as without setpriv; `wait` and the log report a missing
        program."""
        self.name = name
        self.command = tuple(command)
        self.started = monotonic()
        self._closed = False
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (open for as long as the process runs)
        command_line = die_with_parent(command)
        with close_on_error(self._log):
            try:
                self._process = subprocess.Popen(
                    command_line, stdin=stdin, stdout=self._log if stdout is None else stdout,
                    stderr=self._log, pass_fds=fds, env=environment, cwd=cwd, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                told = of_system(error)
                missing = isinstance(error, FileNotFoundError) and error.filename == command_line[0]
                hint = "Install the package util-linux." if missing else told.hint
                raise HostError(f"{name} can't be started: {told.message}", hint) from error
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait(self, timeout: float = 0.0) -> int | None:
        """Its exit status, negative for the signal that killed it; None if it still runs after `timeout` seconds.
        After `close` it has always ended."""
        if self._closed:
            return self._process.returncode
        pidfd = os.pidfd_open(self.pid)
        try:
            ended = select.poll()
            ended.register(pidfd, select.POLLIN)
            if not ended.poll(timeout * 1000):
                return None
        finally:
            os.close(pidfd)
        # WNOWAIT leaves the zombie, for `close` may have to kill what is left of the group.
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        assert found
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def describe(self, status: int | None) -> str:
        """How it ended, as a phrase, from what `wait` returned."""
        if status is None:
            return f"{self.name} did not end in time"
        if status < 0:
            return f"{self.name} was ended by {signal.Signals(-status).name}"
        return f"{self.name} exited with {status}"

    def last_words(self, timeout: float = 0.0) -> str:
        """How it ended, or that it did not within `timeout` seconds, and the end of its log."""
        return ": ".join(part for part in (self.describe(self.wait(timeout)), self.log_tail()) if part)

    def output(self) -> str:
        """Its whole log, not made safe to show."""
        # Not by seeking: the position is shared with the process, which may be writing.
        log = self._log.fileno()
        return os.pread(log, os.fstat(log).st_size, 0).decode("utf-8", "replace")

    def log_tail(self) -> str:
        """The end of its log, as `tail_of` returns it."""
        return tail_of(self._log.fileno())

    def interrupt(self) -> None:
        """Send it SIGINT."""
        if not self._closed:
            os.kill(self.pid, signal.SIGINT)

    def kill(self) -> None:
        """Kill it and everything that it started in its process group."""
        with suppress(ProcessLookupError):  # another thread may be closing it
            if not self._closed:
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill it if it still runs, and wait until it has ended; a second call does nothing."""
        if self._closed:
            return
        self.kill()
        self._process.wait()
        self._closed = True
        self._log.close()


def tail_of(file: int) -> str:
    """The last non-empty lines of a file, joined and safe to show: at most `TAIL_LETTERS` letters."""
    size = os.fstat(file).st_size
    data = os.pread(file, TAIL_BYTES, max(0, size - TAIL_BYTES))
    lines = [line.strip() for line in printable_lines(data)]
    return "; ".join(line for line in lines if line)[-TAIL_LETTERS:]
