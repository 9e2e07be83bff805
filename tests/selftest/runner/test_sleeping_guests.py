"""Guests that sleep for most of their time take no cpu from those that compute; nobody is beside one alone."""

import fcntl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from networks_here import soon

from harness.core.project import read
from harness.host.cache import Cache
from harness.host.cpu_slots import ALL_CPUS, cpu_slots
from harness.runner import catalog
from harness.runner.base import Program
from harness.runner.session import Session
from harness.runner.verdict import Outcome

LONGEST = 300.0  # seconds, on a busy host
NAP = Program("nap", "sleep 1", LONGEST)


@pytest.fixture
def apart(session: Session, tmp_path: Path) -> Session:
    """A session whose guests share cpus with nobody: these tests hold cpus while they wait for a guest, and
    another test's guest that is to be alone would wait for them with what that guest needs in hand."""
    cell = session.cell("linux:qemu-rofs")
    return Session(cache=Cache(tmp_path), images={cell: session.image(cell)})


def test_a_guest_that_sleeps_runs_while_all_cpus_are_taken(apart: Session) -> None:
    (image,) = apart.images.values()
    with ThreadPoolExecutor() as pool:
        with apart.cpu_slots(ALL_CPUS):
            sleeping = pool.submit(apart.run_on, image, replace(NAP, sleeps=True))
            computing = pool.submit(apart.run_on, image, NAP)
            assert sleeping.result(LONGEST).verdict.outcome is Outcome.PASSED
            assert not computing.done()
        assert computing.result(LONGEST).verdict.outcome is Outcome.PASSED


def test_a_guest_that_is_to_be_alone_waits_for_those_that_sleep(apart: Session) -> None:
    (image,) = apart.images.values()
    folder = apart.cache.root / "locks" / "sleeping"

    def waits() -> bool:
        with suppress(FileNotFoundError), (folder / "turn").open("rb") as turn:
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    with ThreadPoolExecutor() as pool:
        with cpu_slots(1, folder):
            alone = pool.submit(apart.run_on, image, NAP, alone=True)
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
