"""The command line `osv-harness`, as `harness.cli:main`."""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, by default this process's, and return its exit status."""
    from harness.cli.command_line import main as run

    return run(arguments)
