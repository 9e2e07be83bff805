"""The command line: `osv-harness COMMAND`. Each command is a module of `harness.commands`."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from rich.console import Console

from harness import commands, project
from harness.errors import HarnessError, of_system
from harness.kernels.osv_checkout import Checkout
from harness.matrix import did_you_mean


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, 1 where its answer is no, or 2 where it could not be answered."""
    try:
        chosen = parsed(sys.argv[1:] if arguments is None else arguments)
        if chosen.project:
            project.choose(chosen.project)
        if chosen.osv_root and chosen.of_kernels and not getattr(chosen, "kernel_file", None):
            Checkout(chosen.osv_root)  # which is found wrong before anything is installed, built or fetched
        status: int = chosen.run(chosen)
        sys.stdout.flush()
    except HarnessError as error:
        _tell(error)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output wants no more of it; nor may Python try to flush the rest at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if os.environ.get("OSV_HARNESS_DEBUG"):
            raise
        # Nor may Python try to flush the rest at exit, where standard output is what failed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _tell(of_system(error))
        return 2
    return status


def _tell(error: HarnessError) -> None:
    console = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
    console.print(error.happened, style="bold red", markup=False)
    if error.cure:
        console.print(error.cure, markup=False)


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """The parsed arguments; what follows ` -- ` is the command of those commands that take one."""
    if words and not words[0].startswith("-") and words[0] not in commands.COMMANDS:
        raise HarnessError(f"There is no command {words[0]!r}.", did_you_mean(words[0], commands.COMMANDS))
    cut = words.index("--") if "--" in words else len(words)
    top = parser(words[0] if words and words[0] in commands.COMMANDS else None)
    chosen, left = top.parse_known_args(words[:cut])
    if left and (unknown := _taken_too(left, chosen)):
        _check_command_is_marked(words[:cut], unknown, chosen)
        top.error(f"unrecognized arguments: {' '.join(unknown)}")
    rest = list(words[cut + 1 :])
    if rest and not hasattr(chosen, "command"):
        top.error(f"this command runs no other: {' '.join(rest)}")
    chosen.command = rest
    return chosen


def _taken_too(left: list[str], chosen: argparse.Namespace) -> list[str]:
    """Give words after options to the list that `more` names, for argparse ends one at an option; what is left."""
    if not hasattr(chosen, "more"):
        return left
    getattr(chosen, chosen.more).extend(word for word in left if not word.startswith("-"))
    return [word for word in left if word.startswith("-")]


def _check_command_is_marked(words: Sequence[str], left: list[str], chosen: argparse.Namespace) -> None:
    """Raise `HarnessError` with the line as it should be, where the words of a command stand before ` -- `."""
    if not hasattr(chosen, "command") or left[0].startswith("-"):
        return
    own = list(words)
    for word in reversed(left):
        del own[len(own) - 1 - own[::-1].index(word)]
    right = shlex.join(["osv-harness", *own, "--", *left])
    raise HarnessError(f"The command to run, {shlex.join(left)}, follows ` -- `.", f"Write: {right}")


def _version() -> str:
    try:
        return metadata.version("osv-harness")
    except metadata.PackageNotFoundError:
        return "that is not installed"


class Parser(argparse.ArgumentParser):
    """A parser of a command, or of a part of one: the options that all have may stand anywhere."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.add_argument(
            "--osv-root", type=Path, metavar="DIR", default=argparse.SUPPRESS,
            help="an OSv checkout (default: OSV_ROOT); without one the kernel is linux",
        )  # fmt: skip
        self.add_argument(
            "--project", type=Path, metavar="DIR", default=argparse.SUPPRESS,
            help="the folder with your own matrix.toml, expectations.toml, apps/ (default: the current one)",
        )  # fmt: skip


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser of all commands, or of one; parsed arguments carry the command's function as `run`."""
    top = Parser(prog="osv-harness", description="Says whether OSv still works, cell by cell.")
    named = os.environ.get("OSV_ROOT")
    top.add_argument("--version", action="version", version=f"osv-harness {_version()}")
    top.set_defaults(osv_root=Path(named) if named else None, project=None)
    subparsers = top.add_subparsers(metavar="COMMAND", required=True)
    for name in [only] if only else commands.COMMANDS:
        module = import_module(f"{commands.__name__}.{name}")
        summary = (module.__doc__ or "").partition("\n")[0]
        command = subparsers.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
        command.set_defaults(run=module.run, of_kernels=name in commands.OF_KERNELS)
    return top
