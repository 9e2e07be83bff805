"""How many workers of xdist run in-guest tests, and which tests each begins with."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.integrations.pytest_plugin.workers import (
    COUNT,
    WANTED,
    pytest_collection_modifyitems,
    pytest_xdist_auto_num_workers,
)

REPO = Path(__file__).parents[3]
CPUS = len(os.sched_getaffinity(0))


@dataclass(frozen=True, eq=False)
class Item:
    """What is asked of an item of pytest's."""

    name: int | str
    fixturenames: tuple[str, ...]


def items(guests: int, others: int) -> list[Item]:
    made = [Item(number, ("cell", "guest_program")) for number in range(guests)]
    return [*made, *(Item(f"other {number}", ("cell",)) for number in range(others))]


def begun(count: str, guests: int, others: int, monkeypatch: pytest.MonkeyPatch) -> list[str | int]:
    monkeypatch.delenv(COUNT, raising=False)
    if count:
        monkeypatch.setenv(COUNT, count)
    listed = items(guests, others)
    pytest_collection_modifyitems(listed)  # type: ignore[arg-type]
    return [one.name for one in listed]


def test_what_is_no_in_guest_test_does_not_come_last_where_there_are_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert begun("3", 8, 2, monkeypatch) == [0, 1, 2, 3, 4, "other 0", 5, "other 1", 6, 7]
    for count, guests in (("", 4), ("2", 0)):
        assert begun(count, guests, 3, monkeypatch) == [one.name for one in items(guests, 3)]


@pytest.mark.parametrize(
    ("tests", "wanted", "workers"),
    [
        (["tests/unit"], "", CPUS + min(CPUS, 4)),
        (["tests/unit/test_guest.py"], "", CPUS + min(CPUS, 4)),
        (["tests/unit"], "1", 1),
        (["tests/unit", "tests/perf"], "1", 1),
    ],
)
def test_guests_that_sleep_have_workers_of_their_own(tests: Sequence[str], wanted: str, workers: int) -> None:
    """As xdist says, unless the user wants another number."""
    words = [*tests, "--cell", "linux:qemu-rofs", "-n", "auto", "-k", "chosen by nothing", "--forget"]
    environment = {**os.environ, WANTED: wanted}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=REPO, env=environment, capture_output=True, text=True
    )
    found = re.search(r"created: \d+/(\d+) workers?", done.stdout)
    assert found, done.stdout + done.stderr
    assert int(found[1]) == workers


def test_xdist_decides_where_other_tests_are_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WANTED, raising=False)
    for named, more in ((["tests/unit"], CPUS + min(CPUS, 4)), (["tests/unit", "tests/perf"], None)):
        config = SimpleNamespace(args=named, rootpath=REPO, invocation_params=SimpleNamespace(dir=REPO))
        assert pytest_xdist_auto_num_workers(config) == more  # type: ignore[arg-type]
