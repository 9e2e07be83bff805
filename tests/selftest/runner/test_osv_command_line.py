"""OSv's command line as OSv reads it."""

import pytest

from harness.core.errors import HarnessError
from harness.runner.osv.command_line import environment_option, own_programs, programs_of
from harness.runner.osv.exit_checkpoints import TracedProgram


@pytest.mark.parametrize(
    ("command", "paths"),
    [
        ("/a.so", ("/a.so",)),
        ("/a.so x y", ("/a.so",)),
        ("/a.so; /b.so 1", ("/a.so", "/b.so")),
        ("/a.so;/b.so", ("/a.so", "/b.so")),
        ("/a.so & /b.so &! /c.so", ("/a.so", "/b.so", "/c.so")),
        ("/a.so &", ("/a.so",)),
        ("/a.so ! /b.so", ("/a.so", "/b.so")),
        ('"/a b.so" "; /no.so" ; /c.so', ("/a b.so", "/c.so")),
        (r"/a\;b.so; /c.so", ("/a;b.so", "/c.so")),
        (r"--env=A=b\ /c.so --verbose /d.so", ("/d.so",)),
        ("", ()),
    ],
)
def test_which_programs_a_command_names(command: str, paths: tuple[str, ...]) -> None:
    assert programs_of(command) == paths


def traced(*paths: str) -> list[TracedProgram]:
    return [TracedProgram(index, path) for index, path in enumerate(paths)]


@pytest.mark.parametrize(
    ("command", "started", "own"),
    [
        ("/a", ["/a"], [0]),
        ("/a; /b", ["/a", "/b"], [0, 1]),
        ("/a", ["/init", "/a"], [1]),
        ("/a", ["/a", "/a"], [1]),
        ("/a; /b", ["/init", "/a"], [1]),  # the second was not reached
        ("/a", ["/init"], [0]),  # the paths don't tell: all count
        ("$A", ["/init", "/a"], [0, 1]),
        ("/a", [], []),
    ],
)
def test_which_of_the_started_programs_are_the_commands(command: str, started: list[str], own: list[int]) -> None:
    assert [program.application for program in own_programs(command, traced(*started))] == own


def test_an_environment_value_stays_one_word() -> None:
    assert environment_option("A", 'b c\td"\\') == '--env=A=b\\ c\\\td"\\\\'


@pytest.mark.parametrize(("name", "value"), [("", "a"), ("A=B", "c"), ("A", "b\0c")])
def test_what_no_option_can_hold_is_refused(name: str, value: str) -> None:
    with pytest.raises(HarnessError, match="can't be given to OSv"):
        environment_option(name, value)
