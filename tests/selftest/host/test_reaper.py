"""A reaper removes what was left, and what its parent's tools still make after that one's death."""

import os
import select
import subprocess
import sys
from pathlib import Path

from harness.host.process.reaper import Reaper

KILLED = """
import os, signal, subprocess, sys
from harness.host.process.reaper import Reaper
reaper = Reaper(["rm", sys.argv[1]])
subprocess.Popen(["sh", "-c", "read _; touch $0", sys.argv[1]], pass_fds=reaper.inherited())
print(reaper._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_tool_makes_after_its_parent_was_killed_is_removed(tmp_path: Path) -> None:
    """The tool makes it only when it is told, after the kill."""
    made = tmp_path / "made"
    command = [sys.executable, "-c", KILLED, str(made)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin and parent.stdout
        reaper = os.pidfd_open(int(parent.stdout.readline()))
        assert parent.wait() < 0
        assert not select.select([reaper], [], [], 0.5)[0], "it did not wait for the tool"
        parent.stdin.write("make it\n")
        parent.stdin.flush()
        assert select.select([reaper], [], [], 60)[0]
        os.close(reaper)
    assert not made.exists()


def test_once_it_is_closed_no_tool_inherits_it(tmp_path: Path) -> None:
    (tmp_path / "left").touch()
    reaper = Reaper(["rm", str(tmp_path / "left")])
    assert reaper.inherited()
    reaper.close()
    assert not reaper.inherited()
    assert not (tmp_path / "left").exists()
