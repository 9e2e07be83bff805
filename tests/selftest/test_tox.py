"""Tox: any name is an environment, and it says which cell it is and which of its tests it runs."""

import configparser
import os
import shutil
import subprocess
import tomllib
from pathlib import Path

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


def test_every_package_that_is_asked_for_is_held_to_a_version() -> None:
    """Those for the harness's own tests too: what is checked must not depend on the day."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["dev"]])
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    held = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert len(held) == len(lines)
    for one in asked:
        assert one.specifier.contains(held[canonicalize_name(one.name)]), one
