"""The errors that a person may meet: each says what was tried, what happened and what to do."""


class HarnessError(Exception):
    """What the harness, its host or its user got wrong; never a fault of the kernel under test.

    `happened` is one sentence, `cure` tells the reader what to do about it.
    The command line and the pytest plugin print both and no traceback.
    """

    def __init__(self, happened: str, cure: str = "") -> None:
        super().__init__(happened)
        self.happened = happened
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.happened}\n  {self.cure}" if self.cure else self.happened


class CellError(HarnessError):
    """A cell, axis value or set that does not exist, or a cell that the rules forbid."""


class LaunchError(HarnessError):
    """A program that can't be launched in its cell's launch mode, for how it is linked."""


class HostError(HarnessError):
    """Something this host lacks or can't do: a program, a package, an accelerator, disk space."""


class CheckoutError(HarnessError):
    """An OSv checkout that is missing, is not OSv, or is incomplete."""


class BuildError(HarnessError):
    """A kernel or an image that could not be built. `log` is the path of the whole build log, if any."""

    def __init__(self, happened: str, cure: str = "", log: str | None = None) -> None:
        super().__init__(happened, cure)
        self.log = log


class HypervisorError(HarnessError):
    """A hypervisor that is missing, too old, refused its arguments or died on us; carries its own words."""
