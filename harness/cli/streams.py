"""The three standard streams of a command: some may be closed, or lead to a full disk."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from harness.core.errors import NO_ROOM, HarnessError, HostError, of_system
from harness.core.events import NOT_STORED, Event


@contextmanager
def valid_streams() -> Iterator[None]:
    """Replace closed streams by /dev/null: else the next file that is opened would take their place.

    A standard error that can't be written is discarded at the end, or Python would exit with its own status.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    try:
        yield
    finally:
        try:
            sys.stderr.flush()
        except OSError:
            discard_stream(sys.stderr)


def discard_stream(stream: TextIO) -> None:
    """Send further output to /dev/null, so that Python's flush at exit does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def output_error(error: OSError) -> HostError:
    """The system's error for its reader; names standard output if that could not be written."""
    if error.errno in NO_ROOM and error.filename is None and not _is_writable():
        return HostError(
            f"Standard output can't be written: {error.strerror}.", "Free some space where it leads to."
        )
    return of_system(error)


def _is_writable() -> bool:
    try:
        sys.stdout.flush()  # the rest of the last write, if it is buffered
        os.write(sys.stdout.fileno(), b"\n")
    except (OSError, ValueError):
        return False
    return True


def print_error(error: HarnessError) -> None:
    """Print on standard error what happened and what to do, as far as it can be written."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
    with suppress(OSError):
        console.print(error.message, style="bold red", markup=False)
        if error.hint:
            console.print(error.hint, markup=False)


class NotStoredPrinter:
    """A subscriber that reports once for each thing that it could not be stored; the run goes on."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, event: Event) -> None:
        """Report it, if the event is of that kind."""
        if event.kind == NOT_STORED and event.about not in self._told:
            self._told.add(event.about)
            print_error(HostError(f"Not kept: {event.about}. {event.detail}"))
