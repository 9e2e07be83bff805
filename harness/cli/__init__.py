"""The command line `osv-harness`, as `harness.cli:main`."""

from harness.cli.command_line import main

__all__ = ["main"]
