"""Connects a guest's console with this terminal until the guest ends."""

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic
from typing import Any

from harness.core.text import printable
from harness.runner.guest import Guest
from harness.runner.osv.exit_tracer import ExitTracer

QUIT = b"\x1d"
FINAL_OUTPUT_SECONDS = 2.0
"""How long the console is read after the kernel gave up: it halts then, and its process does not end."""


def pass_through(guest: Guest, tracer: ExitTracer | None = None) -> bool:
    """Pass console output and keys on until the guest ends or Ctrl-] is pressed; returns whether it was.

    A terminal gets the guest's bytes unchanged, as from any serial terminal; a pipe or a file gets safe lines
    only. Without a person at the keys, a kernel that gave up is not waited for.
    """
    keys = sys.stdin.fileno() if sys.stdin.isatty() else None
    sources: list[Any] = [one for one in (guest.vm.console, keys, tracer) if one is not None]
    screen_output = _Screen()
    ends_at = inf
    while True:
        left = None if ends_at == inf else max(0.0, ends_at - monotonic())
        ready, _, _ = select.select(sources, [], [], left)
        if not ready:
            return False
        if keys in ready:
            typed = os.read(sys.stdin.fileno(), 1024)
            if QUIT in typed:
                return True
            os.write(guest.vm.console.fileno(), typed)
        if tracer in ready and tracer and not tracer.take():
            sources.remove(tracer)
        if guest.vm.console in ready:
            data = os.read(guest.vm.console.fileno(), 1 << 16)
            guest.monitor.feed(data)
            screen_output.put(data)
            if not data:
                return False
        gave_up = tracer.dead if tracer else bool(guest.monitor.faults())
        if gave_up and keys is None and ends_at == inf:
            ends_at = monotonic() + FINAL_OUTPUT_SECONDS


class _Screen:
    """Standard output: raw bytes for a terminal, else safe lines."""

    def __init__(self) -> None:
        self._rest = b""

    def put(self, data: bytes) -> None:
        """Show the data; empty data is the end."""
        if sys.stdout.isatty():
            os.write(sys.stdout.fileno(), data)
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data and self._rest:
            lines, self._rest = [self._rest], b""
        sys.stdout.writelines(printable(line) + "\n" for line in lines)
        sys.stdout.flush()


@contextmanager
def raw_terminal() -> Iterator[None]:
    """Put the terminal in raw mode inside the block."""
    if not sys.stdin.isatty():
        yield
        return
    saved = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)
