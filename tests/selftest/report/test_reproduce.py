"""The line of `reproduce.txt`: pasted into a new shell it does the same run again."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import harness
from harness.integrations.ci.image_bundle import write_bundle
from harness.kernels.prebuilt.kernel import files_of
from harness.report import reproduce
from harness.runner.session import Session

BARE = {"HOME": os.environ["HOME"], "PATH": "/usr/bin:/bin"}
"""What a new shell has, and no more."""

SAME = ("cell", "test", "outcome", "status", "image")
NO_INIT = "console=ttyS0 panic=-1 init=/nothere rdinit=/nothere"


def pasted(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What comes of the line in a shell that knows nothing of the run, in another folder."""
    command = ["env", "-i", *(f"{name}={value}" for name, value in BARE.items()), "bash", "-c", line]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)


def verdicts(runs: Path) -> list[dict[str, object]]:
    """The verdicts that were kept there, in the order in which they were."""
    found = sorted(runs.glob("*/*/*/verdict.json"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(path.read_text()) for path in found]


def run_and_paste(words: Sequence[str], folder: Path, status: int, osv_root: Path | None = None) -> str:
    """Run a command, and the line that it leaves, which is returned: both end alike, and the evidence says it.

    The line is read from a run in a folder of its own, to which its words' paths are relative.
    """
    (elsewhere := folder / "elsewhere").mkdir()
    known = {name: os.environ[name] for name in ("PYTHONPATH", "OSV_HARNESS_CACHE") if name in os.environ}
    environment = BARE | known | ({"OSV_ROOT": str(osv_root)} if osv_root else {})
    command = [sys.executable, "-m", "harness.cli", *words, "--runs", "kept"]
    environment["PYTHONPATH"] = str(Path(harness.__file__).parents[1])
    first = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert first.returncode == status, first.stdout + first.stderr
    (left,) = (folder / "kept").glob("*/*/*/reproduce.txt")
    line = left.read_text()
    second = pasted(line, elsewhere)
    assert second.returncode == status, f"{line}{second.stdout}{second.stderr}"
    assert not list(elsewhere.iterdir())
    one, two = verdicts(folder / "kept")
    assert {name: one[name] for name in SAME} == {name: two[name] for name in SAME}
    assert re.sub(r"\d+", "", str(one["reason"])) == re.sub(r"\d+", "", str(two["reason"]))
    return line


def test_the_line_of_an_app(tmp_path: Path) -> None:
    words = ["app", "run", "nginx", "--cell", "linux:qemu-rofs", "--load", "steady", "--duration", "1"]
    line = run_and_paste(words, tmp_path, status=0)
    assert " --load steady --duration 1 " in line


@pytest.fixture
def packed(session: Session, tmp_path: Path) -> Path:
    """A kernel that is already built, in a folder with a name that a shell would split."""
    image = session.image(session.cell("linux:qemu-rofs"))
    folder = tmp_path / "an old kernel"
    write_bundle(image, session.kernel("linux").origin(image), folder)
    return folder


def test_the_line_of_a_kernel_that_is_already_built(packed: Path, tmp_path: Path) -> None:
    """It panics for want of an init, the first time and the second."""
    words = ["test", "linux:qemu-rofs", "stress-ng-nop", "--cmdline", NO_INIT]
    words += ["--kernel-file", f"{packed.name}/kernel", "--image-file", f"{packed.name}/disk"]
    run_and_paste(words, tmp_path, status=1)
    assert {told["outcome"] for told in verdicts(tmp_path / "kept")} == {"harness_error"}


@pytest.mark.parametrize(
    ("cell", "fork", "origin"),
    [
        ("osv:x86_64-qemu-rofs", [], "booted"),
        ("osv:x86_64-qemu-rofs", ["--fork"], "forked"),
        ("osv:x86_64-qemu-rofs/nvme", [], "booted"),
    ],
)
def test_the_line_of_a_checkout(
    session: Session, tmp_path: Path, cell: str, fork: list[str], origin: str
) -> None:
    if session.osv_root is None:
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    name = "tst-utimes.so"  # rofs can't change times: it ends with status 1
    root = session.osv_root.absolute()
    line = run_and_paste(["test", *fork, cell, name], tmp_path, status=1, osv_root=root)
    assert f"OSV_ROOT={root} " in line
    found = verdicts(tmp_path / "kept")
    assert {(told["outcome"], told["origin"]) for told in found} == {("failed", origin)}


def test_the_line_of_what_only_pytest_runs(session: Session, tmp_path: Path) -> None:
    """The item is asked for by its id, from the folder that its id begins at, whatever is in the id."""
    item = "tests/unit/test_guest.py::test_guest[linux:x86_64-qemu-rofs-all/stress-ng-nop]"
    root = Path(__file__).parents[3]
    done = pasted(reproduce.item_again(session, session.cell("linux:qemu-rofs"), root, item, tmp_path), tmp_path)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


def test_what_a_run_rests_on_is_in_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of programs, a cache, a checkout: as they are named, from whatever folder."""
    tools = tmp_path / "my tools"
    tools.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"my tools:/usr/bin:{tmp_path}/gone")
    monkeypatch.setenv("OSV_HARNESS_CACHE", "cache")
    session = Session(Path("osv"))
    cell = session.cell("osv:qemu-rofs+hide_symbols/nvme")
    line = reproduce.test_again(session, cell, "tst-a.so", Path("kept"))
    assert f"PATH='{tools}':\"$PATH\" " in line
    assert f"OSV_HARNESS_CACHE={tmp_path}/cache " in line and f"OSV_ROOT={tmp_path}/osv " in line
    assert f" test {cell} tst-a.so --runs {tmp_path}/kept" in line
    shown = pasted(f"{line.partition(' OSV_ROOT')[0]} printenv PATH", tmp_path)
    assert shown.stdout.strip() == f"{tools}:{BARE['PATH']}"


def test_a_line_of_a_lab_enters_a_lab_and_that_of_a_worker_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session()
    monkeypatch.setenv("OSV_HARNESS_LAB", "x86_64")
    line = reproduce.test_again(session, session.cell("linux:qemu-rofs"), "stress-ng-nop", None)
    assert line.endswith(" lab --arch x86_64 -- test linux:x86_64-qemu-rofs-all stress-ng-nop")
    assert reproduce.on_worker(line, "w\n1", "host").splitlines() == [
        "# It ran on the worker w 1 of host; this is for a shell there.", line
    ]  # fmt: skip


def test_files_are_named_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session = Session(files=files_of(Path("k"), None, "--rootfs=ramfs x", Path("m")))
    line = reproduce.test_again(session, session.cell("osv:qemu-ramfs"), "a.so", None)
    assert f"--kernel-file {tmp_path}/k --manifest {tmp_path}/m '--cmdline=--rootfs=ramfs x'" in line
    assert "OSV_ROOT" not in line
