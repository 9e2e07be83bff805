"""The command line as it is declared: typed, once, in 80 columns; and what a shell is offered in the writing."""

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from shutil import which
from types import UnionType
from typing import Any, get_args, get_origin

import click
import pexpect
import pytest

from harness.cli import commands, main
from harness.cli.command_line import TOP, parse
from harness.cli.command_names import COMMANDS
from harness.cli.declaration import Group, parameters
from harness.cli.options import Common, HistoryUrl
from harness.core.errors import HarnessError
from harness.kernels.osv.checkout import LANDMARKS

TOP_FOLDER = Path(__file__).parents[3]
COLUMNS = 80


def _modules() -> Iterator[Any]:
    for name in COMMANDS:
        yield import_module(f"{commands.__name__}.{name}")


def _all(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, subcommand in command.commands.items():
            yield from _all(subcommand, (*path, name))


EVERY = [row for module in _modules() for row in _all(module.command, (module.__name__.rpartition(".")[2],))]
CLASSES = [
    found for module in _modules() for _, found in inspect.getmembers(module, inspect.isclass)
    if issubclass(found, Common)
]  # fmt: skip


def test_an_option_of_one_meaning_is_one_object() -> None:
    """Or, where commands mean something else by the same name, each object says so in words of its own."""
    objects: dict[tuple[str, str | None], set[int]] = {}
    for _, command in EVERY:
        for one in command.params:
            if isinstance(one, click.Option):
                objects.setdefault((one.opts[0], one.help), set()).add(id(one))
    several = {name for (name, _), ids in objects.items() if len(ids) > 1}
    assert several <= {"--duration", "--farm", "--port"}, "with another default, or none"
    (history,) = (meta for meta in get_args(HistoryUrl) if isinstance(meta, click.Option))
    assert sum(history in command.params for _, command in EVERY) > 8


@pytest.mark.parametrize("of", CLASSES, ids=lambda of: f"{of.__module__.rpartition('.')[2]}.{of.__name__}")
def test_the_type_of_a_field_is_that_of_its_parameter(of: type) -> None:
    """What click makes of a line is what the checker of types believes of it."""
    hints = {name: hint for one in reversed(of.__mro__) for name, hint in inspect.get_annotations(one).items()}
    for one in parameters(of):
        kind = get_args(hints[one.name])[0]
        is_several = one.nargs == -1 or one.multiple
        optional = isinstance(kind, UnionType) and type(None) in get_args(kind)
        assert is_several == (get_origin(kind) is tuple), one.name
        can_be_none = not (one.required or is_several) and one.to_info_dict()["default"] is None
        assert optional == can_be_none, one.name


@pytest.mark.parametrize("path", [path for path, _ in EVERY], ids=" ".join)
def test_every_word_is_explained(path: tuple[str, ...]) -> None:
    (command,) = (one for known, one in EVERY if known == path)
    assert command.help
    assert [one.name for one in command.params if not getattr(one, "help", None)] == []


@pytest.mark.parametrize("path", [(), *(path for path, _ in EVERY)], ids=" ".join)
def test_help_fits_a_terminal_of_80_columns(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    with pytest.raises(SystemExit) as caught:
        main([*path, "--help"])
    assert not caught.value.code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"Usage: {' '.join(('osv-harness', *path))}")
    assert max(map(len, lines)) <= COLUMNS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tset"], "Did you mean test"),
        (["app", "rnu", "nginx"], "Did you mean run?"),
        (["test", "qemu-rofs", "--jsn"], "Did you mean --json"),
        (["history", "show", "--metrik", "x"], "Did you mean --metric?"),
        (["boot", "--cpu", "2", "qemu-rofs"], "--cpus"),
        (["boot"], "`osv-harness boot --help`"),
        (["matrix", "--format", "yaml"], "'table', 'json', 'github'"),
        (["ci", "github", "--", "x"], "unexpected extra argument (x)"),
    ],
)
def test_a_wrong_word_is_told_with_the_nearest(words: list[str], said: str) -> None:
    with pytest.raises(HarnessError) as caught:
        parse(words)
    assert said in str(caught.value)


def test_options_of_all_commands_may_stand_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    monkeypatch.setenv("OSV_ROOT", str(other))
    assert parse(["cache", "ls"]).arguments.osv_root == other
    for words in (["--osv-root", str(one), "app", "ls"], ["app", "--osv-root", str(one), "ls"],
                  ["app", "ls", "--osv-root", str(one)],
                  ["--osv-root", str(other), "app", "ls", "--osv-root", str(one)]):  # fmt: skip
        assert parse(words).arguments.osv_root == one
    monkeypatch.setenv("OSV_ROOT", "")
    assert parse(["matrix"]).arguments.osv_root is None


def test_the_words_of_a_command_are_left_as_they_are() -> None:
    asked = parse(["boot", "qemu-rofs", "--", "sh", "-c", "a  b", "--", "--cpus", "0"]).arguments
    assert asked.command == ("sh", "-c", "a  b", "--", "--cpus", "0") and asked.cpus == 1


def test_the_names_of_commands_import_none_of_them() -> None:
    """Statistics take a second to import, which nobody waits for who asks for the version, or presses a key."""
    code = "import sys\nfrom harness.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    slow = ("scipy", "numpy", "sqlalchemy", "harness.runner.session")
    code += f"print([name for name in sys.modules if name in {slow}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=TOP_FOLDER, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert sorted(re.findall(r"^  ([a-z]+) +[A-Z]", done.stdout, re.MULTILINE)) == sorted(COMMANDS)


def test_a_class_with_a_field_of_another_name_is_refused() -> None:
    class Wrong(Common):
        histori: HistoryUrl

    with pytest.raises(TypeError, match="histori is declared as"):
        parameters(Wrong)
    assert isinstance(TOP, Group)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout, as far as the harness looks at one, with a test and a tag."""
    root = tmp_path / "osv"
    for name in (*LANDMARKS, "tests/tst-brandnew.cc"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(root)]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "the: subject"], ["tag", "v9.9"]):
        subprocess.run([*git, *words], check=True)
    return root


def offered(shell: str, words: str, at: int, environment: dict[str, str]) -> list[str]:
    """What the shell is told, from a process of our own."""
    asked = {"_OSV_HARNESS_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)}
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli"], env=os.environ | environment | asked, cwd=TOP_FOLDER, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert not done.stderr
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "at", "wanted", "unwanted"),
    [
        ("osv-harness te", 1, {"test", "tests"}, {"boot"}),
        ("osv-harness app r", 2, {"run"}, {"ls"}),
        ("osv-harness test qemu-r", 2, {"qemu-rofs", "qemu-ramfs"}, {"qemu-zfs"}),
        ("osv-harness test linux:qemu-rofs+p", 2, {"linux:qemu-rofs+pie"}, set()),
        ("osv-harness test linux : qemu-rofs+p", 4, {"qemu-rofs+pie"}, set()),
        ("osv-harness test qemu-rofs tst-b", 3, {"tst-brandnew.so"}, {"tst-mmap.so"}),
        ("osv-harness tests linux:qemu-rofs stress-ng-no", 3, {"stress-ng-nop"}, {"tst-brandnew.so"}),
        ("osv-harness app run ngi", 3, {"nginx"}, {"redis"}),
        ("osv-harness app run redis --load ", 5, {"steady", "most"}, {"redis"}),
        ("osv-harness compare a b --metric boot.i", 5, {"boot.instructions"}, {"boot.wall"}),
        ("osv-harness bisect --metric app.nginx.most.th", 3, {"app.nginx.most.throughput"}, set()),
        ("osv-harness bisect --good v9", 3, {"v9.9"}, {"HEAD"}),
        ("osv-harness perf qemu-rofs --only mem", 4, {"memory", "memory-used"}, {"size"}),
        ("osv-harness matrix --set nigh", 3, {"nightly"}, set()),
        ("osv-harness report --format ", 3, {"html", "openmetrics"}, set()),
        ("osv-harness test --his", 2, {"--history"}, {"--json"}),
    ],
)
def test_a_shell_is_offered_what_there_is(
    words: str, at: int, wanted: set[str], unwanted: set[str], checkout: Path
) -> None:
    found = {line.partition(",")[2] for line in offered("bash", words, at, {"OSV_ROOT": str(checkout)})}
    assert wanted <= found and not unwanted & found


def test_a_broken_matrix_ends_no_line_that_is_being_written(tmp_path: Path) -> None:
    (tmp_path / "matrix.toml").write_text("[axis")
    assert offered("bash", "osv-harness test q", 2, {"OSV_HARNESS_PROJECT": str(tmp_path)}) == []


SHELLS = {
    "bash": ("--norc", "--noprofile", "-i"),
    "zsh": ("-f", "-i"),
    "fish": ("--no-config", "-i"),
}
"""Shells, and the words by which none of its user's own files are read."""


@pytest.mark.parametrize("shell", list(SHELLS))
def test_a_shell_completes_a_cells_name_over_its_colon_and_a_commit(
    shell: str, tmp_path: Path, checkout: Path
) -> None:
    """At a terminal, as README says it is switched on, by pressing the key."""
    if which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (program := tmp_path / "bin/osv-harness").parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={TOP_FOLDER} exec {sys.executable} -m harness.cli "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{program.parent}:{os.environ['PATH']}", "PS1": "$ ", "TERM": "dumb", "OSV_ROOT": str(checkout),
        "HOME": str(tmp_path), "ZDOTDIR": str(tmp_path),
    }  # fmt: skip
    environment.pop("XDG_CONFIG_HOME", None)
    at = pexpect.spawn(
        shell, list(SHELLS[shell]), env=environment, encoding="utf-8", timeout=120, dimensions=(40, 200)
    )
    for line in _switched_on(shell):
        at.sendline(line)
    at.sendline("bind 'set enable-bracketed-paste off'; echo re''ady" if shell == "bash" else "echo re''ady")
    at.expect(r"ready\r?\n")
    leave = "\x03" if shell == "fish" else "\x15"
    for typed, completed in (("test linux:qemu-ra", "linux:qemu-ramfs"), ("bisect --bad v9", "--bad v9.9")):
        at.send(f"osv-harness {typed}\t")
        at.expect_exact(completed)
        at.send(leave)
    at.sendline("exit")
    at.expect(pexpect.EOF)
    at.close()


def _switched_on(shell: str) -> list[str]:
    """The lines of README that do it."""
    readme = (TOP_FOLDER / "README.md").read_text()
    found = [word for word in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", readme) if f"{shell}_source" in word]
    found += [line for line in readme.splitlines() if line.startswith("eval") and f"{shell}_source" in line]
    assert found, f"README does not say how {shell} completes"
    return found
