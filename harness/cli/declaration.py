"""How a command is declared: a class of typed arguments, each field a parameter of click, and a function of it.

    @dataclass
    class Arguments(Common):
        cell: CELL
        again: Annotated[bool, option("--again", is_flag=True, help="…")]

    @declare(__doc__)
    def command(arguments: Arguments) -> int: ...

click parses; what it makes of a line is `Chosen`, which runs later, outside of click's own handling of errors.
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
class Chosen(Generic[A]):
    """A function, and the arguments that a line has for it."""

    function: Run[A]
    arguments: A

    @property
    def name(self) -> str:
        """The command's, which is that of its module."""
        return self.function.__module__.rpartition(".")[2]

    def run(self) -> int:
        """The status: 0, 1 where the answer is no. Raises what the command raises."""
        return self.function(self.arguments)


def option(*names: str, **settings: Any) -> click.Option:
    """An option by its names; commands that have an option of the same meaning share the object."""
    return click.Option(names, **settings)


def argument(name: str, **settings: Any) -> click.Argument:
    """What a line has beside options, by its place."""
    return click.Argument([name], **settings)


def parameters(of: type) -> list[click.Parameter]:
    """The parameters of a class of arguments, its own before those of its bases. Raises `TypeError` for a field
    that has none, or one of another name."""
    found: dict[str, click.Parameter] = {}
    for one in of.__mro__:
        for field, hint in inspect.get_annotations(one).items():
            declared = [part for part in get_args(hint)[1:] if isinstance(part, click.Parameter)]
            if [part.name for part in declared] != [field]:
                raise TypeError(f"{one.__name__}.{field} is declared as {[part.name for part in declared]}")
            found.setdefault(field, declared[0])
    return list(found.values())


def declare(text: str | None, name: str | None = None) -> Callable[[Run[A]], click.Command]:
    """A command from the function that does it: its one argument's class says what may be given to it."""

    def made(function: Run[A]) -> click.Command:
        (hint,) = (one.annotation for one in inspect.signature(function).parameters.values())

        def choose(**given: Any) -> Chosen[A]:
            return Chosen(function, hint(**given))

        known = parameters(hint)
        cls = Running if any(isinstance(one, Rest) for one in known) else Command
        return cls(name, callback=choose, params=known, help=_paragraph(text), context_settings=SETTINGS)

    return made


class Group(click.Group):
    """Commands with a word in common: `app run`, `app ls`."""

    def __init__(self, text: str | None, arguments: type) -> None:
        super().__init__(params=parameters(arguments), help=_paragraph(text), context_settings=SETTINGS)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are declared."""
        return list(self.commands)

    def verb(self, name: str, text: str) -> Callable[[Run[A]], click.Command]:
        """Declare one of them by its function."""

        def made(function: Run[A]) -> click.Command:
            one = declare(text, name=name)(function)
            self.add_command(one)
            return one

        return made


class Command(click.Command):
    """A command whose line a shell may ask about while it is being written."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse them; where a shell asks for the value of an option that ends the line, what stands before it."""
        options = [one for one in self.params if isinstance(one, click.Option) and not one.is_flag]
        valued = {name for one in options for name in one.opts}
        if ctx.resilient_parsing and args and args[-1] in valued:
            args = args[:-1]
        return super().parse_args(ctx, args)


class Rest(click.Argument):
    """The words of a command that is to be run: they follow ` -- `, and are left as they are."""

    def __init__(self, text: str) -> None:
        super().__init__(["command"], nargs=-1, type=click.UNPROCESSED, help=text)

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Nothing: no parser is to look at them."""

    def get_usage_pieces(self, ctx: click.Context) -> list[str]:
        """How a line has them."""
        return ["[-- COMMAND...]"]


class Running(Command):
    """A command that runs another."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what stands before ` -- `. Raises `HarnessError` with the line as it should be, where the words
        of a command stand there."""
        cut = args.index("--") if "--" in args else len(args)
        own, words = args[:cut], args[cut + 1 :]
        try:
            left = super().parse_args(ctx, list(own))
        except click.UsageError as error:
            found = _left_over(self, ctx, own)
            if found and not (isinstance(error, click.NoSuchOption) and error.option_name not in found):
                raise _unmarked(ctx, own, found) from error
            raise
        ctx.params["command"] = tuple(words)
        return left


def _left_over(one: click.Command, ctx: click.Context, words: Sequence[str]) -> list[str]:
    """The words that are neither this command's options nor its arguments, if a command may begin there."""
    parser = one.make_parser(ctx)
    parser.ignore_unknown_options = True
    _, left, _ = parser.parse_args(list(words))
    return left if left and not left[0].startswith("-") else []


def _unmarked(ctx: click.Context, words: Sequence[str], left: Sequence[str]) -> HarnessError:
    own = list(words)
    for word in reversed(left):
        del own[len(own) - 1 - own[::-1].index(word)]
    right = shlex.join([*ctx.command_path.split(), *own, "--", *left])
    return HarnessError(f"The command to run, {shlex.join(left)}, follows ` -- `.", f"Write: {right}")


def _paragraph(text: str | None) -> str:
    """The first line, which says what a command does; a docstring's others are for those who read the code."""
    return (text or "").partition("\n")[0]
