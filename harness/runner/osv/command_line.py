"""OSv's command line as OSv parses it: the programs that it names, and the quoting of words.

Source: OSv's core/commands.cc (loader_parse_cmdline, parse_command_line), libc/string/stresep.c.
"""

import re
from collections.abc import Sequence

from harness.core.errors import HarnessError
from harness.runner.osv.exit_checkpoints import TracedProgram

_WORD = re.compile(r'"(?P<quoted>(?:\\.|[^"])*)"|(?P<end>&!|[;&!])|(?P<plain>(?:\\.|[^ ;&!])+)')
_PLAIN = re.compile(r"[\w./:=@%+,^~?*<>|#'()\[\]{}-]+", re.ASCII)
_NAMED = {"\a": "a", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", "\v": "v", "\\": "\\", '"': '"'}
_UNESCAPE = re.compile(r"\\(.)")


def environment_option(name: str, value: str) -> str:
    """The kernel's option that sets an environment variable to any value. Raises `HarnessError` for a value that
    no option can hold."""
    if not name or "=" in name or "\0" in name + value:
        raise HarnessError(
            f"The environment variable {name!r} can't be given to OSv: {value!r}.",
            "A name is not empty and has no `=`; neither name nor value has a NUL.",
        )
    return "--env=" + re.sub(r"([\\\s])", r"\\\1", f"{name}={value}")


def command_of(words: Sequence[str]) -> str:
    """The command line by which OSv starts one program with exactly these words.

    Words before the program that begin with `-` are the kernel's options. OSv takes what follows a `$` in a word
    as the name of a variable; that is set to the rest of the word. Raises `HarnessError` for what OSv's parser
    can't have in a word.
    """
    first = next((index for index, word in enumerate(words) if not word.startswith("-")), len(words))
    options = [re.sub(r"([\\\s])", r"\\\1", word) for word in words[:first]]
    for word in words[first:]:
        if not word.isascii() or "\0" in word:
            raise HarnessError(f"OSv's command line can't have the word {word!r}.", "Use ASCII without a NUL.")
        _, dollar, name = word.partition("$")
        if dollar and name and "=" not in name:
            options.append(environment_option(name, f"${name}"))
        elif dollar:
            raise HarnessError(
                f"OSv's command line can't have the word {word!r}: what follows a $ is a variable's name there.",
                "Pass it in a file.",
            )
    return " ".join([*options, *map(_quoted, words[first:])])


def _quoted(word: str) -> str:
    if _PLAIN.fullmatch(word):
        return word
    return '"' + "".join(f"\\{_NAMED[char]}" if char in _NAMED else char for char in word) + '"'


def programs_of(command: str) -> tuple[str, ...]:
    """The paths of the programs in a command, in the order in which they are started."""
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
    """The traced programs that the command names; others came from the image's /init. If the paths don't tell, all
    of them."""
    wanted = programs_of(command)
    paths = tuple(program.path for program in traced)
    for count in range(min(len(wanted), len(paths)), 0, -1):
        if paths[-count:] == wanted[:count]:
            return traced[-count:]
    return traced
