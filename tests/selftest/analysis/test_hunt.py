"""Seeds: the same run each time, whatever the host does; and tests of which there are none."""

import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.analysis.hunt.seed import Seed, check, seeded
from harness.cli import main
from harness.core.errors import CellError
from harness.core.machine import Image
from harness.core.schedule import Schedule
from harness.host.process.die_with_parent import die_with_parent
from harness.kernels.rootfs.contents import Contents
from harness.runner.base import Program
from harness.runner.session import Session
from harness.runner.verdict import Outcome

SOURCE = Path(__file__).parents[1] / "data/guest_programs/race.c"
RACE = Program("race", "/race.so", 60)
LOSING = "3c5s46t57t7p"
"""A schedule in which additions are lost, on three vCPUs."""


def test_a_seed_is_written_and_read_back() -> None:
    seed = Seed("osv:qemu-ramfs", "tst-condvar.so", Schedule.drawn(7, 2))
    assert Seed.parse(str(seed)) == seed


@pytest.mark.parametrize("text", ["", "tst-a.so", "osv:qemu-ramfs@2c3s0p", "osv:qemu-ramfs/tst-a.so"])
def test_what_is_no_seed_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", text]) == 2
    assert "is no seed" in capsys.readouterr().err


def test_guests_that_differ_each_time_are_not_hunted(session: Session) -> None:
    with pytest.raises(CellError, match="can't be made to do the same each time"):
        check(session, session.cell("linux:qemu-ramfs"), RACE)


@pytest.fixture(scope="module")
def racing(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """OSv with the program that races."""
    if session.osv_root is None or platform.machine() != "x86_64":
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    if shutil.which("gcc") is None:
        pytest.skip("gcc is missing")
    program = tmp_path_factory.mktemp("race") / "race.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(program), str(SOURCE)], check=True)
    return session.image_with(
        session.cell("osv:qemu-ramfs"), Contents(("libc6",), (RACE.command,), made={RACE.command: program})
    )


@contextmanager
def busy_host() -> Iterator[None]:
    """Other work on each cpu."""
    work = [subprocess.Popen(die_with_parent([sys.executable, "-c", "while True: pass"])) for _ in range(2)]
    try:
        yield
        assert all(one.poll() is None for one in work), "it was not there"
    finally:
        for one in work:
            one.kill()
            one.wait()


def lost(session: Session, image: Image, schedule: str) -> tuple[Outcome, bytes]:
    """What became of the race by that schedule, and its whole console."""
    run = session.run_on(image, seeded(RACE, Schedule.parse(schedule)))
    return run.verdict.outcome, bytes(run.transcript.raw)


def test_a_seed_is_the_same_run_beside_other_work(session: Session, racing: Image) -> None:
    alone = lost(session, racing, LOSING)
    assert alone[0] is Outcome.FAILED, alone[1]
    with busy_host():
        assert [lost(session, racing, LOSING) for _ in range(3)] == [alone] * 3


def test_another_seed_is_another_run(session: Session, racing: Image) -> None:
    consoles = {lost(session, racing, f"2c5s46t{padding}p") for padding in range(4)}
    assert len(consoles) > 1


def test_one_vcpu_loses_nothing(session: Session, racing: Image) -> None:
    assert lost(session, racing, "1c0s0p")[0] is Outcome.PASSED
