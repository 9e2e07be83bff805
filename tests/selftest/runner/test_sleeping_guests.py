"""Guests that sleep for most of their time take no cpu from those that compute; nobody is beside one alone."""

import fcntl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from networks_here import soon

from harness.core.project import read
from harness.host.cpu_slots import ALL_CPUS, cpu_slots
from harness.runner import catalog
from harness.runner.base import Program
from harness.runner.session import Session
from harness.runner.verdict import Outcome

LONGEST = 300.0  # seconds, on a busy host
NAP = Program("nap", "sleep 1", LONGEST)


def test_a_guest_that_sleeps_runs_while_all_cpus_are_taken(session: Session) -> None:
    cell = session.cell("linux:qemu-rofs")
    session.runner(cell).prepare()
    with ThreadPoolExecutor() as pool:
        with session.cpu_slots(ALL_CPUS):
            sleeping = pool.submit(session.run, cell, Program("nap", "sleep 1", LONGEST, sleeps=True))
            computing = pool.submit(session.run, cell, NAP)
            assert sleeping.result(LONGEST).verdict.outcome is Outcome.PASSED
            assert not computing.done()
        assert computing.result(LONGEST).verdict.outcome is Outcome.PASSED


def test_a_guest_that_is_to_be_alone_waits_for_those_that_sleep(session: Session) -> None:
    cell = session.cell("linux:qemu-rofs")
    image = session.image(cell)
    folder = session.cache.root / "locks" / "sleeping"

    def waits() -> bool:
        with suppress(FileNotFoundError), (folder / "turn").open("rb") as turn:
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    with ThreadPoolExecutor() as pool:
        with cpu_slots(1, folder):
            alone = pool.submit(session.run_on, image, NAP, None, True)
            assert soon(waits)
            assert not alone.done()
        assert alone.result(LONGEST).verdict.outcome is Outcome.PASSED


def test_a_test_of_osv_that_sleeps_does_so_by_either_name(session: Session) -> None:
    """As a shared object and as an executable."""
    if session.osv_root is None:
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    listed = {name.removesuffix(".so") for name in read(catalog.FOLDER / "osv.toml")["sleeping"]}
    for name in ("osv:qemu-rofs", "osv:qemu-rofs+pie"):
        programs = session.programs(session.cell(name))
        found = {program.name.removesuffix(".so") for program in programs if program.sleeps}
        assert found and found == listed & {program.name.removesuffix(".so") for program in programs}
