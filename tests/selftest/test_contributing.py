"""CONTRIBUTING.md: each diff in it adds one file and one row to a copy of the package, which then has it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
KINDS = ("A hypervisor", "A filesystem of linux", "An app", "A metric")
Harness = Callable[..., str]


def diff_of(kind: str) -> str:
    """The diff under that heading."""
    section = PAGE.partition(f"### {kind}\n")[2].partition("\n### ")[0]
    (found,) = re.findall(r"^```diff\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def with_added(tmp_path: Path) -> Callable[[str], Harness]:
    """The harness's command in an empty folder, of a copy of the package to which a diff was applied."""
    copied, here = tmp_path / "copy", tmp_path / "here"
    here.mkdir()
    shutil.copytree(ROOT / "harness", copied / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {name: value for name, value in os.environ.items() if name != "OSV_ROOT"}
    environment |= {"PYTHONPATH": str(copied), "OSV_HARNESS_HISTORY": str(tmp_path / "history.sqlite")}

    def harness(*words: str, status: int = 0) -> str:
        asked = [sys.executable, "-m", "harness.cli", *words]
        done = subprocess.run(asked, cwd=here, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def applied(kind: str) -> Harness:
        words = ["git", "apply", "--verbose", "-"]
        done = subprocess.run(words, cwd=copied, input=diff_of(kind), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return harness

    return applied


@pytest.mark.parametrize("kind", KINDS)
def test_a_diff_adds_one_file_and_at_most_one_row(kind: str) -> None:
    files = re.findall(r"^--- (?:a/)?(\S+)\n\+\+\+ b/(\S+)\n", diff_of(kind), re.MULTILINE)
    new = [path for before, path in files if before == "/dev/null"]
    changed = [path for before, path in files if before == path]
    assert len(new) == 1 and not (ROOT / new[0]).exists()
    assert len(changed) <= 1 and all(path.endswith(".toml") for path in changed)
    assert not re.search(r"^-(?!-- )", diff_of(kind), re.MULTILINE), "nothing is taken away"
    assert len(re.findall(r"^@@ ", diff_of(kind), re.MULTILINE)) == len(files), "a row is in one place"


def test_a_hypervisor_is_in_the_matrix_and_boots(with_added: Callable[[str], Harness]) -> None:
    harness = with_added("A hypervisor")
    (row,) = [line for line in harness("matrix", "x86_64-qemu_pc-rofs-all").splitlines() if "qemu_pc" in line]
    assert "runs here" in row
    said = harness("boot", "linux:x86_64-qemu_pc-rofs", "--", "cat", "/sys/class/dmi/id/product_name")
    assert "i440FX" in said, "the machine is the one that the driver names"


def test_a_filesystem_of_linux_is_in_the_matrix_and_is_mounted(with_added: Callable[[str], Harness]) -> None:
    harness = with_added("A filesystem of linux")
    (row,) = [line for line in harness("matrix", "x86_64-qemu-ext2-all").splitlines() if "ext2" in line]
    assert "runs here" in row
    (row,) = [line for line in harness("matrix", "osv:x86_64-qemu-ext2-all").splitlines() if "ext2" in line]
    assert "invalid" in row, "it is no filesystem of OSv's"
    written = "grep ' / ' /proc/mounts && echo kept > /root/file && cat /root/file"
    said = harness("boot", "linux:x86_64-qemu-ext2", "--", "sh", "-c", written)
    assert " / ext2 rw" in said and "kept" in said


def test_an_app_is_listed_and_passes(with_added: Callable[[str], Harness]) -> None:
    harness = with_added("An app")
    assert "a power of two" in harness("app", "ls")
    assert "passed" in harness("app", "run", "dc", "--cell", "linux:x86_64-qemu-rofs")


def test_a_metric_is_listed_and_measured(with_added: Callable[[str], Harness]) -> None:
    harness = with_added("A metric")
    listed = [line.split() for line in harness("perf", "--list", "linux:x86_64-qemu-rofs").splitlines()]
    assert ["boot.console", "B"] in [words[:2] for words in listed]
    shown = harness("perf", "linux:x86_64-qemu-rofs", "--only", "console")
    (row,) = [line for line in shown.splitlines() if line.startswith("boot.console")]
    assert re.search(r"[1-9]", row), "a boot prints something"
    told = harness("history", "export")
    assert '"boot.console"' in told, "the number is kept as any other's is"
