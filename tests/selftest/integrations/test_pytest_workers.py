"""How many workers of xdist run in-guest tests, and which tests each begins with."""

import os
import subprocess
import sys
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
from harness.runner.session import Session

REPO = Path(__file__).parents[3]
CPUS = len(os.sched_getaffinity(0))
MORE = CPUS + min(CPUS, 4)


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
    ("tests", "wanted", "osv", "workers"),
    [
        (["tests/unit"], "", "/osv", MORE),
        (["tests/unit/test_guest.py", "tests/unit/test_host_driven.py"], "", "/osv", MORE),
        (["tests/unit"], "3", "/osv", None),
        (["tests/unit"], "", "", None),
        (["tests/unit", "tests/perf"], "", "/osv", None),
    ],
)
def test_guests_that_sleep_have_workers_of_their_own(
    tests: list[str], wanted: str, osv: str, workers: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """xdist decides where the user wants another number, where no OSv is named, and where other tests are."""
    monkeypatch.setenv(WANTED, wanted)
    monkeypatch.setenv("OSV_ROOT", osv)
    where = SimpleNamespace(dir=REPO)
    config = SimpleNamespace(args=tests, rootpath=REPO, invocation_params=where, getoption=lambda name: None)
    assert pytest_xdist_auto_num_workers(config) == workers  # type: ignore[arg-type]


def test_xdist_asks_for_as_many(session: Session) -> None:
    if session.osv_root is None:
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    words = ["tests/unit", "--cell", "osv:qemu-rofs", "-n", "auto", "-k", "chosen by nothing", "--forget"]
    environment = {name: value for name, value in os.environ.items() if name != WANTED}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=REPO, env=environment, capture_output=True, text=True
    )
    assert f"created: {MORE}/{MORE} workers" in done.stdout, done.stdout + done.stderr


BUILDS_NOTHING = """
from harness.kernels.linux.kernel import Linux

def pytest_configure(config):
    if hasattr(config, "workerinput"):
        Linux.build = lambda *given: 1 / 0
"""


def test_workers_use_the_image_that_was_built_before_they_began(tmp_path: Path) -> None:
    """A checkout that is edited meanwhile would be built again by them, and its tests were of two kernels."""
    (tmp_path / "builds_nothing.py").write_text(BUILDS_NOTHING)
    words = ["tests/unit/test_guest.py", "--cell", "linux:qemu-rofs", "-k", "stress-ng-zero", "-n", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "builds_nothing", *words, "--forget", "--runs", tmp_path, "-q"],
        cwd=REPO, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
