"""How many workers of xdist run in-guest tests, and which tests they begin with."""

import os
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

import pytest

from harness.core.cell import Cell
from harness.integrations.pytest_plugin.progress import SECONDS_OF_UNKNOWN
from harness.runner.base import Program
from harness.runner.ordering import side_by_side
from harness.runner.session import Session

IN_GUEST_TESTS = Path("tests/unit")
COUNT = "PYTEST_XDIST_WORKER_COUNT"
WANTED = "PYTEST_XDIST_AUTO_NUM_WORKERS"
MOST_MORE = 4


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """One for each cpu, and for in-guest tests of OSv some more, for guests that sleep: one that computes waits
    for a cpu (`harness.host.cpu_slots`)."""
    osv = config.getoption("--osv-root") or os.environ.get("OSV_ROOT")
    if os.environ.get(WANTED) or not osv or not only_in(config, IN_GUEST_TESTS):
        return None
    cpus = _cpus()
    return cpus + min(cpus, MOST_MORE)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where there are workers, have what is no in-guest test run among those, one here and one there in their
    third quarter: it builds images, is long, and would be last."""
    if COUNT not in os.environ:
        return
    guests: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        (guests if "guest_program" in getattr(item, "fixturenames", ()) else others).append(item)
    quarter = len(guests) / 4
    placed = [(float(place), item) for place, item in enumerate(guests)]
    placed += [(2 * quarter + place * quarter / len(others), item) for place, item in enumerate(others)]
    items[:] = [item for _, item in sorted(placed, key=itemgetter(0))]


def for_workers(session: Session, programs: Sequence[tuple[Cell, Program]]) -> list[tuple[Cell, Program]]:
    """In-guest tests in the order in which xdist's workers are given them; without workers as they are. It is the
    same in all of them."""
    if COUNT not in os.environ:
        return list(programs)
    known = {cell: session.expected_seconds(cell) for cell, _ in programs}
    seconds = [known[cell].get(program.name, SECONDS_OF_UNKNOWN) for cell, program in programs]
    sleeps = [program.sleeps for _, program in programs]
    return [programs[place] for place in side_by_side(seconds, sleeps, _cpus(), int(os.environ[COUNT]))]


def at_once() -> int:
    """How many in-guest tests can compute at the same time."""
    return min(int(os.environ.get(COUNT, "1")), _cpus())


def only_in(config: pytest.Config, folder: Path) -> bool:
    """Whether all tests that were named lie in that folder."""
    top = config.rootpath / folder
    return all(
        top in (path := (config.invocation_params.dir / arg.split("::")[0]).resolve(), *path.parents)
        for arg in config.args
    )


def _cpus() -> int:
    return len(os.sched_getaffinity(0))
