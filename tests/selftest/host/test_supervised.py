"""Supervised processes end with their parent, at every moment of its life, and with them what they started."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.errors import HostError
from harness.host.process.cpu_time import times_of
from harness.host.process.supervised import SupervisedProcess

SLOW_SETPRIV = """#!/bin/sh
exec 9>"$OSV_HARNESS_SELFTEST/alive"
read -r _ < "$OSV_HARNESS_SELFTEST/gate"
exec {setpriv} "$@"
"""
"""Holds `alive` open, as all do that it becomes, and waits at `gate` before it ties anything to its parent."""

GENERATORS = ("wrk", "locust")

LOAD = """
import sys
from harness.workloads.load.run import load_from, run
tool = {tool!r}
sys.executable = "locust"
row = {{"tool": tool, "user": "http", "users": 1, "duration": 60.0, "requests": [{{"path": "/"}}]}}
run(load_from("x", row), "127.0.0.1", 1)
"""
STARTS = {
    "command": """
from harness.host.process.supervised import SupervisedProcess
SupervisedProcess("sleep", ["sleep", "60"]).wait(60)
""",
    "forwards": """
import os
from harness.vm.network.port_forwarding import forward
forward(os.getpid(), [80]).process.wait(60)
""",
    "wrk": LOAD.format(tool="wrk"),
    "locust": LOAD.format(tool="locust"),
}
"""Programs that start a process and wait for it."""


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Has setpriv wait for the test; gives the end of `alive` that is at its end once none of them runs."""
    real = subprocess.check_output(["sh", "-c", "command -v setpriv"], text=True).strip()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/setpriv").write_text(SLOW_SETPRIV.format(setpriv=real))
    (tmp_path / "bin/setpriv").chmod(0o755)
    for name in GENERATORS:  # in place of the real ones, which end by themselves: nobody serves them
        (tmp_path / "bin" / name).write_text("#!/bin/sh\nexec sleep 60\n")
        (tmp_path / "bin" / name).chmod(0o755)
    for name in ("alive", "gate"):
        os.mkfifo(tmp_path / name)
    monkeypatch.setenv("OSV_HARNESS_SELFTEST", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    alive = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    yield alive
    os.close(alive)


@pytest.mark.parametrize("start", STARTS)
def test_a_child_whose_parent_is_killed_before_it_is_tied_does_not_run(
    start: str, slow: int, tmp_path: Path
) -> None:
    """SIGKILL after fork and before prctl, which then would tie it to whoever adopted it."""
    with (
        subprocess.Popen([sys.executable, "-c", STARTS[start]]) as harness,
        (tmp_path / "gate").open("w") as gate,  # opens once a child waits there
    ):
        harness.kill()
        harness.wait()
        gate.write("go\n")
    ended = select.poll()
    ended.register(slow, select.POLLIN | select.POLLHUP)
    assert ended.poll(20_000) == [(slow, select.POLLHUP)], "a child runs on without a parent"


def test_what_a_process_started_goes_with_it_also_when_it_ended_before(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    with SupervisedProcess("sh", ["sh", "-c", "sleep 60 & exit 3"], fds=[theirs]) as process:
        os.close(theirs)
        assert process.wait(20) == 3
        assert times_of(process.pid) == {}, "the times of a zombie are taken for those of one that waits"
        assert not select.select([ours], [], [], 0)[0], "what it started does not run any more"
    assert select.select([ours], [], [], 20)[0] and os.read(ours, 1) == b""
    os.close(ours)


def test_its_end_and_its_last_words_are_told_safely() -> None:
    with SupervisedProcess("sh", ["sh", "-c", r"printf 'one\n\n\033[31mtwo\200\n' >&2; kill -9 $$"]) as process:
        assert process.wait(20) == -9
        assert process.last_words() == r"sh was ended by SIGKILL: one; two\x80"
    assert process.wait() == -9
    with SupervisedProcess("cat", ["cat"], stdin=subprocess.PIPE) as process:
        assert process.wait() is None and process.last_words() == "cat did not end in time"
    process.kill()  # does nothing: its pid may be another's by now
    with SupervisedProcess("it", ["/no/such/program"]) as process:
        assert process.wait(20) == 127 and "/no/such/program" in process.log_tail()


def test_without_setpriv_nothing_starts_and_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(HostError, match="It can't be started: setpriv") as caught:
        SupervisedProcess("It", ["true"])
    assert "util-linux" in caught.value.hint
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_a_folder_that_is_not_there_is_named_and_nothing_is_to_be_installed(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="It can't be started") as caught:
        SupervisedProcess("It", ["true"], cwd=tmp_path / "gone")
    assert f"{tmp_path}/gone: No such file or directory" in caught.value.message
    assert "util-linux" not in caught.value.hint
