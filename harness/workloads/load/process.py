"""Generators as processes: started so that they die with us, watched for the cpu time they get and wait for."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Self

BUSY = 0.9
"""The share of its time in which a thread runs or waits for a cpu, above which it has no room for more."""

STARVED = 0.1
"""The share of its time above which a thread that waits for a cpu, and half as long as it runs, is starved."""


class GeneratorProcess:
    """One generator. It dies with the thread that started it (PR_SET_PDEATHSIG), whatever kills that."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        stdout: int | None = None,
        fds: Sequence[int] = (),
    ) -> None:
        """Raises `FileNotFoundError` if setpriv is missing; a missing generator is in `words`."""
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 (open for as long as the process runs)
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command],
            env=environment,
            # Where no configuration file of the generator's lies.
            cwd=Path(__file__).parent,
            stdin=subprocess.DEVNULL,
            stdout=self._words if stdout is None else stdout,
            stderr=self._words,
            pass_fds=fds,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._words.close()

    def wait(self, timeout: float) -> int | None:
        """Its exit status (negative: the signal that ended it), or None if it still runs after so many seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout)
        return None

    def interrupt(self) -> None:
        """Ask it to end and to say what it has."""
        self._process.send_signal(signal.SIGINT)

    def words(self) -> str:
        """What it printed that nothing else reads, without the wrapper's name."""
        # Not by seeking: the position is shared with the process, which may be writing.
        said = os.pread(self._words.fileno(), os.fstat(self._words.fileno()).st_size, 0)
        return said.decode("utf-8", "replace").replace("setpriv: ", "").strip()

    def end(self) -> str:
        """How it ended and its last words, for a person."""
        status = self.wait(1.0)
        if status is None:
            how = "did not end in time"
        elif status < 0:
            how = f"was killed by {signal.Signals(-status).name}"
        else:
            how = f"ended with status {status}"
        return ": ".join(part for part in (how, self.words()[-2000:]) if part)


@dataclass(frozen=True, slots=True)
class Use:
    """The shares of its time in which the busiest thread ran, and in which it waited for a cpu to run on."""

    ran: float = 0.0
    waited: float = 0.0
    known: bool = True

    @property
    def limit(self) -> str:
        """Why the generator could not do more, if so."""
        if not self.known:
            return "how much cpu time the generator got could not be read"
        if self.ran + self.waited <= BUSY and self.waited <= max(self.ran / 2, STARVED):
            return ""
        return (
            f"the generator's busiest thread ran for {self.ran:.0%} of the time and waited for a cpu for "
            f"{self.waited:.0%}"
        )


class Watch:
    """How much cpu time the threads of processes get, between the first and the last look.

    Source: Linux, Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat, in nanoseconds.
    """

    def __init__(self) -> None:
        self._first: dict[Path, tuple[float, int, int]] = {}
        self._last: dict[Path, tuple[float, int, int]] = {}

    def look(self, pids: Sequence[int]) -> None:
        """Read what the threads of these processes have had until now; those that have ended keep their last."""
        for pid in pids:
            for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError, ValueError):
                    ran, waited, _ = file.read_text().split()
                    self._last[file] = (monotonic(), int(ran), int(waited))
                    self._first.setdefault(file, self._last[file])

    def use(self) -> Use:
        """Of the thread that was nearest to having no room."""
        uses = []
        for file, (until, ran, waited) in self._last.items():
            since, ran_before, waited_before = self._first[file]
            if until - since > 0.1:
                span = (until - since) * 1e9
                uses.append(Use((ran - ran_before) / span, (waited - waited_before) / span))
        return max(uses, key=lambda use: use.ran + use.waited, default=Use(known=False))
