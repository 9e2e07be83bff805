"""A machine in a cloud: started by its tool or SDK, its serial output polled, removed whatever happens.

A cloud has no machine that is stopped before its first instruction, so `resume` starts it. Its console takes no
input, and of its end only the state in the cloud's list is known.

What the cloud fails to tell says nothing of the kernel: a poll that fails, a console of which some is missing, a
machine that the cloud itself ended. Each is an error of the hypervisor, with the cloud's words.
"""

import os
import socket
import threading
from collections.abc import Mapping
from time import monotonic
from typing import Protocol

from harness.core.errors import HypervisorError
from harness.core.events import publish
from harness.core.text import one_line
from harness.host.process.reaper import Reaper
from harness.vm.base import ExitCause, ExitStatus, Vcpu

POLL_SECONDS = 5.0
AFTER_END = 3
"""How often the output is read after the machine's end: a cloud delivers the last of it late."""
OVERLAP = 64
"""Bytes that two outputs have in common at least, if one continues the other; fewer may be equal by chance."""


class Instance(Protocol):
    """One machine as its cloud knows it; each method raises `HypervisorError` with the cloud's messages.

    `running` is the cloud's word for the state of a machine that runs.
    """

    name: str
    command: tuple[str, ...]
    running: str

    def run(self) -> None:
        """Start it."""
        ...

    def output(self) -> bytes:
        """All its serial output, as far as the cloud still has it; empty if it has none now."""
        ...

    def state(self) -> str:
        """The cloud's name for its state; empty once it has powered off. Raises `HypervisorError` if anything else
        has ended it."""
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
        self._ended = threading.Event()
        self._stopped = False
        self._removed = False
        self._state = ""  # not known yet
        self._error = ""
        self._heard = b""
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
        self._remove()
        self._ended.set()

    def ports(self) -> Mapping[int, int]:
        return {}

    def wait_for_exit(self, timeout: float = 5.0) -> ExitStatus | None:
        if not self._ended.wait(timeout):
            return None
        if self._stopped:
            return ExitStatus(ExitCause.STOPPED, "the harness removed it")
        if self._error:
            return ExitStatus(ExitCause.KILLED, self._error)
        return ExitStatus(ExitCause.POWERED_OFF, "the cloud says that it has powered off")

    def vcpus(self) -> tuple[Vcpu, ...]:
        return ()

    def registers(self) -> str:
        return ""

    def hypervisor_error(self) -> str:
        """Why nothing is known of the kernel, though the machine was not seen to end."""
        if self._error or self._ended.is_set():
            return self._error
        if self._state and self._state != self._instance.running:
            return f"the cloud does not run the machine: its state is {one_line(self._state)}"
        return "" if self._heard else "the cloud gave nothing of the machine's console"

    def close(self) -> None:
        self._closed.set()
        self.console.close()  # else the listener might wait for a reader
        if self._listener.ident:
            self._listener.join()
        self._remove()
        self._line.close()

    def _remove(self) -> None:
        """Remove it; who pays for it is told if it may still be there."""
        self._reaper.close()
        if not (self._removed or self._reaper.succeeded):
            publish("cloud.left", self._instance.name, "the cloud may still have what bears this name: remove it")
        self._removed = True

    def _listen(self) -> None:
        """Pass on new output until the machine has ended and all its output was read."""
        left, given = AFTER_END, False
        try:
            while left and not self._closed.wait(POLL_SECONDS):
                given = self._pass_on(self._instance.output())
                self._state = self._instance.state()
                left -= not self._state
            if not left and not given:
                raise HypervisorError("the machine has ended, and the cloud does not give its console")
        except HypervisorError as error:
            self._error = one_line(error.message)
        except Exception as error:  # whatever it is, it is no power-off
            self._error = one_line(f"{type(error).__name__}: {error}")
        self._ended.set()
        self._line.close()

    def _pass_on(self, output: bytes) -> bool:
        """Pass on what is new in the output; returns whether there is any output."""
        if not output:
            return False
        new = unheard(self._heard, output)
        if new is None:
            raise HypervisorError("some of the console is missing: the cloud did not keep it until it was asked")
        if new:
            self._heard = output
            self._line.sendall(new)
        return True


def unheard(before: bytes, now: bytes) -> bytes | None:
    """The new part of the output; None if some of it is missing in between.

    A cloud keeps only the last of it, so its start may be gone by now. It may also answer as it did some time ago.
    """
    if now.startswith(before) or before.startswith(now):
        return now[len(before) :]
    at = before.find(now[:OVERLAP]) if len(now) >= OVERLAP else -1
    while at >= 0:
        if now.startswith(before[at:]):
            return now[len(before) - at :]
        at = before.find(now[:OVERLAP], at + 1)
    return None
