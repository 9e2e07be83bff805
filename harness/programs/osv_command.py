"""OSv's command line as OSv reads it: which programs it names, and how a word is written so that it stays one.

Source: OSv's core/commands.cc (loader_parse_cmdline, parse_command_line), libc/string/stresep.c.
"""

import re
from collections.abc import Sequence

from harness.errors import HarnessError
from harness.exit_tracer import TracedProgram

_WORD = re.compile(r'"(?P<quoted>(?:\\.|[^"])*)"|(?P<end>&!|[;&!])|(?P<plain>(?:\\.|[^ ;&!])+)')
_UNESCAPE = re.compile(r"\\(.)")


def environment_option(name: str, value: str) -> str:
    """The kernel's option that sets an environment variable, whatever is in its value.

    Raises `HarnessError` for what no option can hold.
    """
    if not name or "=" in name or "\0" in name + value:
        raise HarnessError(
            f"The environment variable {name!r} can't be given to OSv: {value!r}.",
            "A name is not empty and has no `=`; neither name nor value has a NUL.",
        )
    return "--env=" + re.sub(r"([\\\s])", r"\\\1", f"{name}={value}")


def programs_of(command: str) -> tuple[str, ...]:
    """The paths of the programs that a command names, in the order in which they are started."""
    paths, first = [], True
    for word in _WORD.finditer(command):
        if word["end"]:
            first = True
        elif first and not word[0].startswith("-"):  # before the first program stand the kernel's options
            text = word["quoted"] if word["quoted"] is not None else word["plain"]
            paths.append(_UNESCAPE.sub(r"\1", text))
            first = False
    return tuple(paths)


def own_programs(command: str, traced: Sequence[TracedProgram]) -> Sequence[TracedProgram]:
    """Those of the traced programs that the command names; the others came from the image's /init, before it.

    Where the paths don't tell, all of them.
    """
    wanted = programs_of(command)
    paths = tuple(program.path for program in traced)
    for count in range(min(len(wanted), len(paths)), 0, -1):
        if paths[-count:] == wanted[:count]:
            return traced[-count:]
    return traced
