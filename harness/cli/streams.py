"""The three streams that a command is started with: some may be closed, or lead to a full disk."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from harness.core.errors import NO_ROOM, HarnessError, HostError, of_system
from harness.core.events import UNKEPT, Event


@contextmanager
def own_streams() -> Iterator[None]:
    """Have closed ones read nothing and write nowhere: else the next file that is opened takes their place.

    What standard error took no more of is given up at the end, for Python would end with a status of its own.
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
            give_up(sys.stderr)


def give_up(stream: TextIO) -> None:
    """Write no more to it, where Python would try to flush the rest at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def of_output(error: OSError) -> HostError:
    """The system's error for its reader, with standard output by its name if that was what took no more."""
    if error.errno in NO_ROOM and error.filename is None and not _takes_more():
        return HostError(
            f"Standard output can't be written: {error.strerror}.", "Free some space where it leads to."
        )
    return of_system(error)


def _takes_more() -> bool:
    try:
        sys.stdout.flush()  # what is left of the last attempt, where it is buffered
        os.write(sys.stdout.fileno(), b"\n")
    except (OSError, ValueError):
        return False
    return True


def complain(error: HarnessError) -> None:
    """Say on standard error what happened and what to do, as far as that takes it."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
    with suppress(OSError):
        console.print(error.happened, style="bold red", markup=False)
        if error.cure:
            console.print(error.cure, markup=False)


class Unkept:
    """A subscriber that says of each thing once that it could not be kept; a run goes on without it."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, event: Event) -> None:
        """Say it, if the event is of such a thing."""
        if event.kind == UNKEPT and event.about not in self._told:
            self._told.add(event.about)
            complain(HostError(f"Not kept: {event.about}. {event.detail}"))
