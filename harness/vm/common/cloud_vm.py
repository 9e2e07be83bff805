"""A machine in a cloud: started by its command-line tool, its serial output polled, removed whatever happens.

A cloud has no machine that is stopped before its first instruction, so `resume` starts it. Its console takes no
input, and of its end only the state in the cloud's list is known. One that no longer answers says nothing of that.
"""

import os
import socket
import threading
from collections.abc import Mapping
from time import monotonic, sleep
from typing import Protocol

from harness.core.errors import HypervisorError
from harness.core.text import one_line
from harness.host.process.reaper import Reaper
from harness.vm.base import ExitCause, ExitStatus, Vcpu

POLL_SECONDS = 5.0
AFTER_END = 3
"""How often the output is read after the machine's end: a cloud delivers the last of it late."""


class Instance(Protocol):
    """One machine as its cloud knows it; each method raises `HypervisorError` with the cloud's messages."""

    command: tuple[str, ...]

    def run(self) -> None:
        """Start it."""
        ...

    def output(self) -> bytes:
        """All its serial output, as far as the cloud still has it."""
        ...

    def state(self) -> str:
        """The cloud's name for its state; empty once it has ended."""
        ...

    def power_off(self) -> None:
        """Ask it to power off."""
        ...


class CloudVm:
    """One machine in a cloud. `reaper` removes all of it."""

    control: socket.socket | None = None
    debug: socket.socket | None = None

    def __init__(self, instance: Instance, reaper: Reaper) -> None:
        self._instance = instance
        self._reaper = reaper
        self._closed = threading.Event()
        self._stopped = False
        self._state = "not started"
        self._error = ""
        self.pid = os.getpid()  # no process of this host runs it
        self.started = monotonic()
        self.command = instance.command
        self.console, self._line = socket.socketpair()
        self._listener = threading.Thread(target=self._listen, daemon=True)

    def resume(self) -> None:
        self._instance.run()
        self._listener.start()

    def press_power_button(self) -> None:
        self._instance.power_off()

    def stop(self) -> None:
        self._stopped = True
        self._closed.set()
        self._reaper.close()

    def ports(self) -> Mapping[int, int]:
        return {}

    def wait_for_exit(self, timeout: float = 5.0) -> ExitStatus | None:
        deadline = monotonic() + timeout
        while self._state and not self._stopped:
            if monotonic() >= deadline:
                return None
            sleep(0.1)
        if self._stopped:
            return ExitStatus(ExitCause.STOPPED, "the harness removed it")
        if self._error:
            return ExitStatus(ExitCause.KILLED, f"the cloud did not say how it ended: {self._error}")
        return ExitStatus(ExitCause.POWERED_OFF, "the cloud says that it has ended")

    def vcpus(self) -> tuple[Vcpu, ...]:
        return ()

    def registers(self) -> str:
        return ""

    def hypervisor_error(self) -> str:
        return self._error

    def close(self) -> None:
        self._closed.set()
        self.console.close()  # else the listener might wait for a reader
        if self._listener.ident:
            self._listener.join()
        self._reaper.close()
        self._line.close()

    def _listen(self) -> None:
        """Pass on new output until the machine has ended and all its output was read."""
        known, left = b"", AFTER_END
        while left and not self._closed.is_set():
            try:
                said = self._instance.output()
                self._line.sendall(unheard(known, said))
                known = said
                state = self._instance.state()
            except (HypervisorError, OSError) as error:
                self._error = one_line(str(error))
                break
            left -= not state
            self._closed.wait(POLL_SECONDS)
        self._state = ""
        self._line.close()


def unheard(before: bytes, now: bytes) -> bytes:
    """The new part of the output. A cloud keeps only the last of it, so its start may be gone by now."""
    if now.startswith(before):
        return now[len(before) :]
    for length in range(min(len(before), len(now)), 0, -1):
        if before.endswith(now[:length]):
            return now[length:]
    return now
