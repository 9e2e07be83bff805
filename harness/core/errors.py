"""The errors that a user may see: each says what was tried, what happened and what to do."""

import errno

from harness.core.text import printable_lines


class HarnessError(Exception):
    """An error of the harness, its host or its user; never of the kernel under test.

    `happened` is one sentence; `cure` tells the reader what to do. The command line and the pytest plugin print
    both, and no traceback. Both may hold other programs' output and file names, so they are made safe to show.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = ("\n".join(printable_lines(text)) for text in (message, hint))
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class CellError(HarnessError):
    """A cell, axis value or set that does not exist, or a cell that the rules forbid."""


class LaunchError(HarnessError):
    """A program that can't be launched in its cell's launch mode, because of how it is linked."""


class HostError(HarnessError):
    """Something that this host lacks or can't do: a program, a package, an accelerator, disk space."""


class CheckoutError(HarnessError):
    """An OSv checkout that is missing, is not OSv, or is incomplete."""


class BuildError(HarnessError):
    """A kernel or an image that could not be built. `log` is the path of the complete build log, if there is
    one."""

    def __init__(self, message: str, hint: str = "", log: str | None = None) -> None:
        super().__init__(message, hint)
        self.log = log


class HypervisorError(HarnessError):
    """A hypervisor that is missing, too old, rejected its arguments or died; with its own messages."""


_HINTS = {
    errno.ENOSPC: "Free some space there, or name another place.",
    errno.EDQUOT: "Free some of this user's quota there, or name another place.",
    errno.EACCES: "Let this user read and write there, or name another place.",
    errno.EPERM: "Let this user do that there, or name another place.",
    errno.EROFS: "Name a place that can be written to.",
    errno.ENOENT: "Make what is missing there, or name another place.",
    errno.ENOTDIR: "A part of the path is a file: name another place.",
    errno.EEXIST: "It is there and is something else: name another place.",
    errno.EMFILE: "Raise the limit of open files: ulimit -n.",
}
"""What a user may do, by the system's error number."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
"""What a write is refused with, of which Python does not say where to."""

_OF_TARGET = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a copy that concern its target."""


def of_system(error: OSError) -> HostError:
    """The system's error for its reader: where, what, and what to do. A file's name is made safe to show."""
    # If the disk of a copy's target is full, Python names the source first.
    named = error.filename2 if error.errno in _OF_TARGET and error.filename2 else error.filename
    where = ascii(str(named))[1:-1] if named else "What was read or written"
    why = error.strerror or str(error) or type(error).__name__
    return HostError(f"{where}: {why}.", _HINTS.get(error.errno or 0, "See to it on this host, and try again."))


def explained(error: HarnessError | OSError) -> str:
    """The error and what to do, as text without a traceback."""
    return str(of_system(error) if isinstance(error, OSError) else error)
