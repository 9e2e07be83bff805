"""The command line `osv-harness COMMAND`. Each command is a module of `harness.cli.commands`.

Imports that few commands need are made inside functions: completion starts a new process at every press of a key.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

import harness
from harness.cli.command_names import COMMANDS, OF_KERNELS
from harness.cli.declaration import Group, Invocation, option
from harness.cli.options import Common
from harness.cli.streams import NotStoredPrinter, discard_stream, output_error, print_error, valid_streams
from harness.core import project
from harness.core.errors import HarnessError
from harness.core.events import subscribed

FOLDER = Path(__file__).with_name("commands")
"""The modules of the commands; nothing here imports them in advance."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0; 1 if its answer is no; 2 if it could not be answered."""
    with valid_streams():
        return _run_command(sys.argv[1:] if arguments is None else arguments)


def _run_command(args: Sequence[str]) -> int:
    try:
        invocation = parse(args)
        arguments: Common = invocation.arguments
        if arguments.project:
            project.choose(arguments.project)
        if arguments.osv_root and invocation.name in OF_KERNELS and not getattr(arguments, "kernel_file", None):
            from harness.kernels.osv.checkout import Checkout

            Checkout(arguments.osv_root)  # raises before anything is installed, built or fetched
        with subscribed(NotStoredPrinter()):
            status = invocation.run()
        sys.stdout.flush()
    except HarnessError as error:
        print_error(error)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        discard_stream(sys.stdout)  # its reader has closed it
        return 141
    except OSError as error:
        if os.environ.get("OSV_HARNESS_DEBUG"):
            raise
        failure = output_error(error)
        discard_stream(sys.stdout)
        print_error(failure)
        return 2
    return status


def parse(args: Sequence[str]) -> Invocation[Any]:
    """Parse a command line. Raises `HarnessError` with what is wrong with it.

    `--help`, `--version` and a shell's request for completions are answered, and end the process.
    """
    try:
        invocation = TOP.main(list(args), prog_name="osv-harness", standalone_mode=False)
    except click.Abort as error:
        raise KeyboardInterrupt from error
    except click.exceptions.NoArgsIsHelpError as error:
        raise SystemExit(_shown(error)) from error
    except click.UsageError as error:
        raise _usage_error(error) from error
    if not isinstance(invocation, Invocation):
        raise SystemExit(invocation)
    return invocation


def _shown(error: click.exceptions.NoArgsIsHelpError) -> int:
    """Show the help of a command that needs arguments and got none."""
    error.show()
    return 2


def _usage_error(error: click.UsageError) -> HarnessError:
    """The error for click's: its sentence, and the nearest names or where to find all of them."""
    path = error.ctx.command_path if error.ctx else "osv-harness"
    hint = f"`{path} --help` tells what it takes."
    if isinstance(error, click.NoSuchCommand) and error.ctx and isinstance(error.ctx.command, click.Group):
        from harness.core.suggestions import did_you_mean

        wanted, known = error.command_name, error.ctx.command.list_commands(error.ctx)
        return HarnessError(f"There is no command {wanted!r}.", did_you_mean(wanted, known))
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        return HarnessError(error.message, f"Did you mean {' or '.join(error.possibilities)}?")
    return HarnessError(error.format_message(), hint)


class Top(Group):
    """All commands. A command's module is imported to run it, but not for its name or summary."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which users meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command's name and its summary, which is the first line of its file."""
        if cmd_name not in COMMANDS:
            return None
        source = (FOLDER / f"{cmd_name}.py").read_text(encoding="utf-8")
        summary = source.partition('"""')[2].partition("\n")[0].removesuffix('"""')
        return click.Command(cmd_name, help=summary, short_help=summary)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Import the command itself. Raises click's error if there is none with that name."""
        name, found, rest = super().resolve_command(ctx, args)
        if found:
            found = import_module(f"{__package__}.{FOLDER.name}.{name}").command
        return name, found, rest


def _print_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"osv-harness {harness.__version__}")
        ctx.exit()


TOP = Top("Says whether OSv still works, cell by cell.", Common)
TOP.params.append(
    option(
        "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
        help="tell it, and end",
    )
)  # fmt: skip
