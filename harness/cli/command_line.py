"""The command line: `osv-harness COMMAND`. Each command is a module of `harness.cli.commands`.

What few lines need is imported by those who need it: at every press of a key for completion this starts anew.
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
from harness.cli.declaration import Chosen, Group, option
from harness.cli.options import Common
from harness.cli.streams import Unkept, complain, give_up, of_output, own_streams
from harness.core import project
from harness.core.errors import HarnessError
from harness.core.events import subscribed

FOLDER = Path(__file__).with_name("commands")
"""Of the commands' modules, which nothing here imports by itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, 1 where its answer is no, or 2 where it could not be answered."""
    with own_streams():
        return _answered(sys.argv[1:] if arguments is None else arguments)


def _answered(words: Sequence[str]) -> int:
    try:
        chosen = parsed(words)
        given: Common = chosen.arguments
        if given.project:
            project.choose(given.project)
        if given.osv_root and chosen.name in OF_KERNELS and not getattr(given, "kernel_file", None):
            from harness.kernels.osv.checkout import Checkout

            Checkout(given.osv_root)  # which is found wrong before anything is installed, built or fetched
        with subscribed(Unkept()):
            status = chosen.run()
        sys.stdout.flush()
    except HarnessError as error:
        complain(error)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        give_up(sys.stdout)  # whoever read it wants no more of it
        return 141
    except OSError as error:
        if os.environ.get("OSV_HARNESS_DEBUG"):
            raise
        told = of_output(error)
        give_up(sys.stdout)
        complain(told)
        return 2
    return status


def parsed(words: Sequence[str]) -> Chosen[Any]:
    """The function that a line asks for, and its arguments. Raises `HarnessError` with what is wrong with it.

    `--help` and `--version` have been answered, and end the process. So does a shell that asks for completions.
    """
    try:
        chosen = TOP.main(list(words), prog_name="osv-harness", standalone_mode=False)
    except click.Abort as error:
        raise KeyboardInterrupt from error
    except click.exceptions.NoArgsIsHelpError as error:
        raise SystemExit(_shown(error)) from error
    except click.UsageError as error:
        raise _of_usage(error) from error
    if not isinstance(chosen, Chosen):
        raise SystemExit(chosen)
    return chosen


def _shown(error: click.exceptions.NoArgsIsHelpError) -> int:
    """The help of a command that wants words and was given none."""
    error.show()
    return 2


def _of_usage(error: click.UsageError) -> HarnessError:
    """Of what click says, the sentence; and the nearest names, or where all are told."""
    path = error.ctx.command_path if error.ctx else "osv-harness"
    told = f"`{path} --help` tells what it takes."
    if isinstance(error, click.NoSuchCommand) and error.ctx and isinstance(error.ctx.command, click.Group):
        from harness.core.suggestions import did_you_mean

        wanted, known = error.command_name, error.ctx.command.list_commands(error.ctx)
        return HarnessError(f"There is no command {wanted!r}.", did_you_mean(wanted, known))
    if isinstance(error, click.NoSuchOption) and error.possibilities:
        return HarnessError(error.message, f"Did you mean {' or '.join(error.possibilities)}?")
    return HarnessError(error.format_message(), told)


class Top(Group):
    """All commands; each one's module is imported when it is asked for, and not for its name or summary."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command's name and summary, which its file begins with."""
        if cmd_name not in COMMANDS:
            return None
        source = (FOLDER / f"{cmd_name}.py").read_text(encoding="utf-8")
        summary = source.partition('"""')[2].partition("\n")[0].removesuffix('"""')
        return click.Command(cmd_name, help=summary, short_help=summary)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command itself. Raises click's error if there is none of that name."""
        name, found, rest = super().resolve_command(ctx, args)
        if found:
            found = import_module(f"{__package__}.{FOLDER.name}.{name}").command
        return name, found, rest


def _tell_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"osv-harness {harness.__version__}")
        ctx.exit()


TOP = Top("Says whether OSv still works, cell by cell.", Common)
TOP.params.append(
    option(
        "--version", is_flag=True, is_eager=True, expose_value=False, callback=_tell_version,
        help="tell it, and end",
    )
)  # fmt: skip
