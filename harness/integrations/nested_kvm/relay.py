"""Passes on the output of a lab's command, and waits for its end."""

import os
import select
import shutil
import sys
import termios
import tty
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from harness.core.errors import HostError
from harness.core.events import publish
from harness.core.text import printable
from harness.host.process.timeout import CpuFairTimeout
from harness.integrations.nested_kvm.machine import Vm

BOOT = 120.0
"""Seconds of the lab's own time within which its command must start; on a free host it takes 7 to 10."""

STALL = "kthread timer wakeup didn't happen"
"""Linux's message if a cpu no longer gets timer interrupts: seen in 2 of 30 boots, at load 14 on 2 cores."""

PANIC = "Kernel panic - not syncing"
"""Why Linux died. The trace that follows may be longer than what is kept of the console."""

INTERRUPT_SECONDS = 20.0
"""Seconds that a command has to end after Ctrl-C."""

CONSOLE_LINES = 40
MOST_BYTES = 1 << 16  # bytes read at once, or kept of a line
STREAMS = {"stdout": 1, "stderr": 2, "terminal": 1}


class LabNotUpError(HostError):
    """The lab's command did not start; another lab may come up."""


class Relay:
    """Connects a running lab with this process's standard streams.

    `release` is the lab's kernel once its command has started. `unsaved` says what could not be copied out.
    """

    def __init__(self, vm: Vm, terminal: bool) -> None:
        """`terminal` gives the command our terminal."""
        self.release = ""
        self.unsaved = ""
        self._vm = vm
        self._keys = [sys.stdin.fileno()] if terminal else []
        self._open = dict(vm.lines)
        self._rest = dict.fromkeys(vm.lines, b"")
        self._console: deque[str] = deque(maxlen=CONSOLE_LINES)
        self._panic = ""
        self._status: int | None = None
        self._stalled = False

    def run(self) -> int:
        """Return the command's status. Raises `LabNotUpError` if it does not start, `HostError` if the lab ends
        before it, `KeyboardInterrupt` if it does not end after Ctrl-C."""
        self._wait_until_up()
        with self._raw_terminal():
            try:
                self._relay_until(self._has_ended)
            except KeyboardInterrupt:
                # The command may have evidence to write; a second Ctrl-C ends the lab at once.
                self._vm.send("signal INT")
                self._relay_until(self._has_ended, INTERRUPT_SECONDS)
            self._drain()
        if self._status is None:
            raise KeyboardInterrupt
        return self._status

    def _wait_until_up(self) -> None:
        timeout = CpuFairTimeout(self._vm.process.pid, BOOT)
        while not self.release:
            left = timeout.seconds()
            if left == 0.0 or self._stalled:
                happened = "stalled as it came up" if self._stalled else f"did not come up in {BOOT:.0f} s"
                failure = self._failure(f"The lab {happened}")
                raise LabNotUpError(failure.message, failure.hint)
            self._relay_until(lambda: bool(self.release) or self._stalled, left)

    def _has_ended(self) -> bool:
        return self._status is not None

    def _relay_until(self, done: Callable[[], bool], seconds: float | None = None) -> None:
        """Pass on what arrives until `done`, or for `seconds`. Raises `HostError` if the lab ends."""
        deadline = None if seconds is None else monotonic() + seconds
        pidfd = os.pidfd_open(self._vm.process.pid)
        try:
            while not done():
                left = None if deadline is None else max(0.0, deadline - monotonic())
                ready, _, _ = select.select([*self._open.values(), pidfd, *self._keys], [], [], left)
                if not ready:
                    return
                for name, line in list(self._open.items()):
                    if line in ready:
                        self._read(name)
                if self._keys and self._keys[0] in ready:
                    self._forward_keys()
                if pidfd in ready:
                    self._drain()
                    if not done():
                        end = self._vm.process.describe(self._vm.process.wait(1.0))
                        raise self._failure(f"The lab came to an end before its command did: {end}")
        finally:
            os.close(pidfd)

    def _drain(self) -> None:
        """Pass on what is still unread."""
        while ready := select.select([*self._open.values()], [], [], 0)[0]:
            for name, line in list(self._open.items()):
                if line in ready:
                    self._read(name)

    def _read(self, name: str) -> None:
        try:
            data = self._open[name].recv(MOST_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            del self._open[name]
        if name in STREAMS:
            self._show(name, data)
            return
        *lines, rest = (self._rest[name] + data).split(b"\n")
        self._rest[name] = rest[-MOST_BYTES:]
        for line in lines:
            if name == "console":
                self._console.append(printable(line))
                self._stalled = self._stalled or STALL.encode() in line
                if PANIC.encode() in line and not self._panic:
                    self._panic = self._console[-1]
            else:
                self._handle_message(line.decode("utf-8", "replace"))

    def _handle_message(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "up":
            self.release = rest
            publish("vm.up", rest)
        elif word == "unsaved":
            self.unsaved = printable(rest)
        elif word == "ended" and rest.isdigit():
            self._status = int(rest)

    def _show(self, name: str, data: bytes) -> None:
        """Pass on bytes unchanged; a terminal that is not the command's own gets safe lines."""
        stream = STREAMS[name]
        if name == "terminal" or not os.isatty(stream):
            _write(stream, data)
            return
        *lines, rest = (self._rest[name] + data).split(b"\n")
        if not data and rest:
            lines, rest = [*lines, rest], b""
        self._rest[name] = rest[-MOST_BYTES:]
        _write(stream, "".join(f"{printable(line)}\n" for line in lines).encode())

    def _forward_keys(self) -> None:
        typed = os.read(self._keys[0], 1024)
        if typed:
            self._vm.lines["terminal"].sendall(typed)
        else:
            self._keys = []

    def _failure(self, what: str) -> HostError:
        output = self._vm.qemu_output()
        first = [self._panic] if self._panic and self._panic not in self._console else []
        console = "".join(f"\n  {line}" for line in (*first, *self._console))
        return HostError(
            f"{what}{f' ({output})' if output else ''}. The last lines of its Linux:{console or ' none.'}",
            "If it tells of a want of memory, or of SIGKILL, give more with --memory, or end what else runs.",
        )

    @contextmanager
    def _raw_terminal(self) -> Iterator[None]:
        """Pass keys on as they are pressed, and give the command's terminal the size of ours."""
        if not self._keys:
            yield
            return
        columns, rows = shutil.get_terminal_size()
        self._vm.send(f"size {rows} {columns}")
        saved = termios.tcgetattr(sys.stdin)
        try:
            tty.setraw(sys.stdin)
            yield
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)


def _write(stream: int, data: bytes) -> None:
    while data:
        data = data[os.write(stream, data) :]
