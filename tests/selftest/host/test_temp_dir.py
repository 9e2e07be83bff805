"""Folders of ours go with the block that they are for, and with a process that is killed in it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.host.temp_dir import temporary_dir

KILLED = """
import os, signal, sys
from pathlib import Path
from harness.host.temp_dir import temporary_dir
with temporary_dir("mine-", Path(sys.argv[1])) as folder:
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_text("x")
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_folder_is_ones_own_and_goes_with_its_block(tmp_path: Path) -> None:
    with pytest.raises(KeyError), temporary_dir("mine-", tmp_path) as folder:
        (folder / "file").write_text("x")
        assert folder.stat().st_mode & 0o777 == 0o700
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_what_was_moved_out_of_a_folder_stays(tmp_path: Path) -> None:
    with temporary_dir("mine-", tmp_path) as folder:
        folder.rename(tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_folder_goes_with_a_process_that_is_killed(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.startswith(f"{tmp_path}/mine-"), done.stderr
    until = time.monotonic() + 60
    while list(tmp_path.iterdir()) and time.monotonic() < until:
        time.sleep(0.01)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_can_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError), temporary_dir("mine-", tmp_path / "missing"):
        pytest.fail("there is no such place")
