"""Declares commands: a class of typed arguments, whose fields are parameters of click, and a function.

    @dataclass
    class Arguments(Common):
        cell: CELL
        again: Annotated[bool, option("--again", is_flag=True, help="…")]

    @declare(__doc__)
    def command(arguments: Arguments) -> int: ...

click parses a line into an `Invocation`, which runs afterwards, outside of click's error handling.
"""

import inspect
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args

import click

from harness.core.errors import HarnessError

A = TypeVar("A")
Run = Callable[[A], int]

SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True}


@dataclass(frozen=True, slots=True)
class Invocation(Generic[A]):
    """A parsed command line: the function of the command, and its arguments."""

    function: Run[A]
    arguments: A

    @property
    def name(self) -> str:
        """The command's name, which is that of its module."""
        return self.function.__module__.rpartition(".")[2]

    def run(self) -> int:
        """Run it; returns 0, or 1 if the answer is no. Raises what the command raises."""
        return self.function(self.arguments)


def option(*names: str, **settings: Any) -> click.Option:
    """An option by its names. Options with the same meaning in several commands share one object."""
    return click.Option(names, **settings)


def argument(name: str, **settings: Any) -> click.Argument:
    """A positional argument."""
    return click.Argument([name], **settings)


def parameters(of: type) -> list[click.Parameter]:
    """The parameters of a class of arguments, its own before those of its bases. Raises `TypeError` for a field
    without a parameter, or with a parameter of another name."""
    found: dict[str, click.Parameter] = {}
    for base in of.__mro__:
        for field, hint in inspect.get_annotations(base).items():
            declared = [part for part in get_args(hint)[1:] if isinstance(part, click.Parameter)]
            if [part.name for part in declared] != [field]:
                raise TypeError(f"{base.__name__}.{field} is declared as {[part.name for part in declared]}")
            found.setdefault(field, declared[0])
    return list(found.values())


def declare(text: str | None, name: str | None = None) -> Callable[[Run[A]], click.Command]:
    """Make a command of a function: the class of the function's argument declares the parameters."""

    def decorate(function: Run[A]) -> click.Command:
        (hint,) = (one.annotation for one in inspect.signature(function).parameters.values())

        def invoke(**given: Any) -> Invocation[A]:
            return Invocation(function, hint(**given))

        params = parameters(hint)
        cls = RunnerCommand if any(isinstance(one, CommandWords) for one in params) else Command
        return cls(name, callback=invoke, params=params, help=_paragraph(text), context_settings=SETTINGS)

    return decorate


class Group(click.Group):
    """Commands with a common word: `app run`, `app ls`."""

    def __init__(self, text: str | None, arguments: type) -> None:
        super().__init__(params=parameters(arguments), help=_paragraph(text), context_settings=SETTINGS)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of their declaration."""
        return list(self.commands)

    def subcommand(self, name: str, text: str) -> Callable[[Run[A]], click.Command]:
        """Declare a subcommand by its function."""

        def decorate(function: Run[A]) -> click.Command:
            one = declare(text, name=name)(function)
            self.add_command(one)
            return one

        return decorate


class Command(click.Command):
    """A command that supports completion of an incomplete command line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse. For completion, an option at the end whose value is missing is dropped."""
        options = [one for one in self.params if isinstance(one, click.Option) and not one.is_flag]
        valued = {name for one in options for name in one.opts}
        if ctx.resilient_parsing and args and args[-1] in valued:
            args = args[:-1]
        return super().parse_args(ctx, args)


class CommandWords(click.Argument):
    """The words of a command to run: they follow ` -- ` and are not parsed."""

    def __init__(self, text: str) -> None:
        super().__init__(["command"], nargs=-1, type=click.UNPROCESSED, help=text)

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Does nothing: no parser may see them."""

    def get_usage_pieces(self, ctx: click.Context) -> list[str]:
        """How the usage line shows them."""
        return ["[-- COMMAND...]"]


class RunnerCommand(Command):
    """A command that runs another command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what precedes ` -- `. Raises `HarnessError` with the corrected line if a command's words precede
        it."""
        cut = args.index("--") if "--" in args else len(args)
        own, words = args[:cut], args[cut + 1 :]
        try:
            rest = super().parse_args(ctx, list(own))
        except click.UsageError as error:
            extra = _extra_words(self, ctx, own)
            if extra and not (isinstance(error, click.NoSuchOption) and error.option_name not in extra):
                raise _missing_separator(ctx, own, extra) from error
            raise
        ctx.params["command"] = tuple(words)
        return rest


def _extra_words(one: click.Command, ctx: click.Context, words: Sequence[str]) -> list[str]:
    """The words that are neither options nor arguments of this command, if a command may begin there."""
    parser = one.make_parser(ctx)
    parser.ignore_unknown_options = True
    _, rest, _ = parser.parse_args(list(words))
    return rest if rest and not rest[0].startswith("-") else []


def _missing_separator(ctx: click.Context, words: Sequence[str], rest: Sequence[str]) -> HarnessError:
    own = list(words)
    for word in reversed(rest):
        del own[len(own) - 1 - own[::-1].index(word)]
    right = shlex.join([*ctx.command_path.split(), *own, "--", *rest])
    return HarnessError(f"The command to run, {shlex.join(rest)}, follows ` -- `.", f"Write: {right}")


def _paragraph(text: str | None) -> str:
    """The first line, which says what a command does; the rest of the docstring is for readers of the code."""
    return (text or "").partition("\n")[0]
