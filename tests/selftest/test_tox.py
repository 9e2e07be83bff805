"""Tox: any name is an environment, and it says which cell it is and which of its tests it runs."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from io import StringIO
from pathlib import Path

import pexpect
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tox(tmp_path: Path) -> str:
    found = shutil.which("tox")
    if found is None:
        pytest.skip("tox is not in PATH (./ready puts it there)")
    return found


def _commands(tox: str, name: str, work: Path) -> str:
    asked = [tox, "config", "--workdir", str(work), "-e", name, "-k", "commands"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("TOX", "PYTEST"))}
    done = subprocess.run(asked, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    config = configparser.RawConfigParser()
    config.read_string(done.stdout)
    return config[f"testenv:{name}"]["commands"]


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("qemu-rofs", "tests/unit --cell qemu-rofs "),
        ("aarch64-qemu-zfs", "tests/unit --cell aarch64-qemu-zfs "),
        ("qemu_microvm-rofs-virtio_mmio", "tests/unit --cell qemu_microvm-rofs-virtio_mmio "),
        ("qemu-rofs-hide_symbols", "tests/unit --cell qemu-rofs-hide_symbols "),
        ("qemu-rofs-apps", "tests/apps --cell qemu-rofs "),
        ("aarch64-qemu-rofs-perf", "tests/perf --cell aarch64-qemu-rofs "),
        ("qemu-rosf", "tests/unit --cell qemu-rosf "),
    ],
)
def test_a_name_runs_the_tests_of_its_cell(tox: str, tmp_path: Path, name: str, run: str) -> None:
    assert run in _commands(tox, name, tmp_path)


@pytest.mark.parametrize(
    ("name", "program"), [("self", "pytest tests/selftest"), ("lint", "ruff"), ("types", "mypy"), ("lab", "--lab")]
)
def test_other_names_keep_their_meaning(tox: str, tmp_path: Path, name: str, program: str) -> None:
    commands = _commands(tox, name, tmp_path)
    assert program in commands
    assert "tests/unit" not in commands


def test_a_name_that_tox_can_not_have_says_how_to_write_it(tox: str, tmp_path: Path) -> None:
    asked = [tox, "config", "--workdir", str(tmp_path), "-e", "qemu-rofs+debug"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "qemu-rofs-hide_symbols" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


RED = "\x1b[31m"
SLOW = """
import sys, time, pytest

@pytest.fixture
def guest():
    yield
    time.sleep(1.5)
    print("the guest is gone", flush=True)

def test_done():
    pass

def test_long(guest):
    print("progress is made", file=sys.stderr, flush=True)
    print("the test sleeps", flush=True)
    time.sleep(300)
"""


def _asked(tox: str, work: Path, words: list[str], command: str) -> list[str]:
    """A tox that runs a command of ours as an environment's, without installing anything for it."""
    given = {"commands_pre": "", "allowlist_externals": sys.executable, "commands": f"{sys.executable} {command}"}
    name = f"testenv:{words[words.index('-e') + 1]}"
    overrides = [word for key, value in given.items() for word in ("-x", f"{name}.{key}={value}")]
    return [tox, "run", "--workdir", str(work), *overrides, *words]


def _environment() -> dict[str, str]:
    """The tests' own, less what would be told to tox or to another pytest."""
    settings = ("TOX", "PYTEST", "OSV_ROOT", "FORCE_COLOR", "NO_COLOR")
    return {key: value for key, value in os.environ.items() if not key.startswith(settings)} | {"TERM": "xterm"}


def test_ctrl_c_in_tox_leaves_pytest_its_summary_and_progress_is_not_red(tox: str, tmp_path: Path) -> None:
    (tmp_path / "test_slow.py").write_text(SLOW)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    session = f"-m pytest -s -c {tmp_path}/pytest.ini {tmp_path}"
    program, *words = _asked(tox, tmp_path / "work", ["-e", "qemu-rofs"], session)
    shown = StringIO()
    with pexpect.spawn(program, words, cwd=ROOT, env=_environment(), timeout=120, encoding="utf-8") as terminal:
        terminal.logfile_read = shown
        for _ in range(2):  # by two ways through tox, in any order
            terminal.expect(["progress is made", "the test sleeps"])
        terminal.sendintr()
        terminal.expect("the guest is gone")
        terminal.expect(r"1 passed[^\n]* in ")
        terminal.expect(pexpect.EOF)
    assert terminal.exitstatus
    assert "progress is made" in shown.getvalue() and RED in shown.getvalue()
    assert not re.search(f"{re.escape(RED)}[^\n]*progress is made", shown.getvalue())


@pytest.mark.parametrize(("status", "told"), [(0, ""), (1, "qemu is lacking")])
def test_the_doctor_of_ready_speaks_of_what_is_lacking_alone(
    tox: str, tmp_path: Path, status: int, told: str
) -> None:
    (line,) = [line for line in (ROOT / "ready").read_text().splitlines() if line.startswith("tox run ")]
    (tmp_path / "doctor.py").write_text(f"print({told!r}, end='')\nraise SystemExit({status})\n")
    asked = _asked(tox, tmp_path / "work", shlex.split(line)[2:], str(tmp_path / "doctor.py"))
    done = subprocess.run(asked, cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stdout + done.stderr
    assert "congratulations" not in done.stdout + done.stderr
    assert told in done.stdout if told else not done.stdout.strip()


def test_every_package_that_is_asked_for_is_held_to_a_version() -> None:
    """Those for the harness's own tests too: what is checked must not depend on the day."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["dev"]])
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    held = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert len(held) == len(lines)
    for one in asked:
        assert one.specifier.contains(held[canonicalize_name(one.name)]), one
