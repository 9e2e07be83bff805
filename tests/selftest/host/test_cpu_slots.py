"""Room on the host: shared by processes, given to each in its turn."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.host.cpu_slots import ALL_CPUS, cpu_slots


def one_who_waits(folder: Path) -> tuple[threading.Thread, threading.Event]:
    """A thread that will wait for one cpu, and whether it has had it."""
    got = threading.Event()

    def wait() -> None:
        with cpu_slots(1, folder):
            got.set()

    return threading.Thread(target=wait, daemon=True), got


def test_one_who_wants_all_is_not_passed_for_ever(tmp_path: Path) -> None:
    """Others take a cpu again as soon as they have given it back, until that one has had its turns."""
    done = threading.Event()

    def busy() -> None:
        while not done.is_set():
            with cpu_slots(1, tmp_path):
                done.wait(0.01)

    others = [threading.Thread(target=busy) for _ in range(4)]
    for other in others:
        other.start()
    try:
        for _ in range(5):
            with cpu_slots(ALL_CPUS, tmp_path):
                pass
    finally:
        done.set()
        for other in others:
            other.join()


def test_a_killed_holder_gives_its_cpus_back(tmp_path: Path) -> None:
    holds = (
        "import sys, time; from pathlib import Path; from harness.host.cpu_slots import ALL_CPUS, cpu_slots\n"
        "with cpu_slots(ALL_CPUS, Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", holds, tmp_path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        holder.kill()
    with cpu_slots(ALL_CPUS, tmp_path):
        pass


def test_a_folder_without_fifos_gives_cpus_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "freed").mkdir()
    waiting, got = one_who_waits(tmp_path)
    with cpu_slots(ALL_CPUS, tmp_path):
        waiting.start()
        assert not got.wait(0.1)
    assert got.wait(60)
    waiting.join()


def test_a_cpu_that_is_given_back_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for one does not look again by itself: here it would do so after the test's own limit."""
    monkeypatch.setattr("harness.host.cpu_slots.LOOK_AGAIN", 3600.0)
    waiting, got = one_who_waits(tmp_path)
    with cpu_slots(ALL_CPUS, tmp_path):
        waiting.start()
        while not (waiting.ident and sys._current_frames()[waiting.ident].f_code.co_name == "_wait"):
            time.sleep(0.01)
    assert got.wait(60)
    waiting.join()
