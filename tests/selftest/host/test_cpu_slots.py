"""Room on the host: shared by processes, given to each in its turn."""

import subprocess
import sys
import threading
from pathlib import Path

from harness.host.cpu_slots import ALL_CPUS, cpu_slots


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
