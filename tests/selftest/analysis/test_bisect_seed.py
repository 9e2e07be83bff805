"""Bisections by a seed: each boot of a build has a schedule of its own, and none is asked twice."""

import subprocess
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from simulated_commits import line

from harness.analysis.bisect.answer import BisectOutcome
from harness.analysis.bisect.journal import JournalFile, read
from harness.analysis.bisect.journal_records import Booted
from harness.analysis.bisect.model import Broken, Build, Built, Failure, Measure
from harness.analysis.bisect.session import Bisection
from harness.cli import main
from harness.core.errors import HarnessError, HostError
from harness.core.schedule import Schedule
from harness.kernels.osv.checkout import LANDMARKS

SEED = Schedule.parse("2c4s300t2100t9p")
MEASURE = Measure.test("tst-a.so", "failed: lost", str(SEED))


def test_schedules_near_one_differ_and_preempt_as_often() -> None:
    near = [SEED.near(number) for number in range(1, 1001)]
    assert len({SEED, *near}) == 1001
    assert near == [SEED.near(number) for number in range(1, 1001)]
    assert {(one.cpus, one.shift, len(one.turns)) for one in near} == {(2, 4, 2)}
    for place, turn in enumerate(SEED.turns):
        assert all(0.79 * turn < one.turns[place] < 1.21 * turn for one in near)
        assert len({one.turns[place] for one in near}) > 100
    assert len({Schedule(2, 4).near(number) for number in range(1, 1001)}) == 1000


@dataclass
class Seeded:
    """Simulated commits whose boots each number decides; the session that asks is killed after so many boots."""

    culprit: int
    rate: float
    most: int = 10**9
    asked: Counter[tuple[Build, int]] = field(default_factory=Counter)
    layouts: int = 1
    cached: tuple[Build, ...] = ()

    def build(self, key: Build) -> Built | Broken:
        return Built(f"{key}", 45.0)

    def boot(self, key: Build) -> float | Failure | Broken:
        raise AssertionError("A boot without a number.")

    def boot_numbered(self, key: Build, numbers: range) -> Generator[float | Failure, None, None]:
        for number in numbers:
            if self.asked.total() >= self.most:
                raise HostError("killed")
            self.asked[key, number] += 1
            fails = key.index >= self.culprit and np.random.default_rng([key.index, number]).random() < self.rate
            yield Failure("failed: lost") if fails else 0.0


@pytest.mark.parametrize(("culprit", "rate"), [(7, 0.2), (20, 0.9)])
def test_the_commit_is_found_and_no_number_is_asked_twice(culprit: int, rate: float, tmp_path: Path) -> None:
    world = Seeded(culprit, rate)
    with JournalFile(tmp_path / "whole.jsonl") as journal:
        answer = Bisection(line(20), MEASURE, world, journal).run()
    assert (answer.outcome, answer.culprits[0].points) == (BisectOutcome.FOUND, (culprit,))
    assert set(world.asked.values()) == {1} and world.asked.total() == answer.boots
    for key in {key for key, _ in world.asked}:
        numbers = sorted(number for one, number in world.asked if one == key)
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_killed_session_goes_on_with_the_next_number(tmp_path: Path) -> None:
    """Numbers give the same in every session, so that both journals have the same boots."""
    whole, torn = tmp_path / "whole.jsonl", tmp_path / "torn.jsonl"
    with JournalFile(whole) as journal:
        answer = Bisection(line(12), MEASURE, Seeded(5, 0.5), journal).run()
    asked: Counter[tuple[Build, int]] = Counter()
    kills = 0
    while True:
        world = Seeded(5, 0.5, most=9)
        with JournalFile(torn) as journal:
            try:
                again = Bisection(line(12), MEASURE, world, journal).run()
                break
            except HostError:
                kills += 1
            finally:
                asked += world.asked
    assert kills > 2, "hardly any session was killed"
    assert again == answer and set(asked.values()) == {1}
    boots = [[one for one in read(path) if isinstance(one, Booted)] for path in (whole, torn)]
    assert boots[0] == boots[1]


def test_a_journal_of_plain_boots_is_not_gone_on_with_by_a_seed(tmp_path: Path) -> None:
    with JournalFile(tmp_path / "journal.jsonl") as journal:
        Bisection(line(60), Measure.test("tst-a.so", "failed: lost"), Seeded(23, 0.2), journal)
        with pytest.raises(HarnessError, match="of another bisection"):
            Bisection(line(60), MEASURE, Seeded(23, 0.2), journal)


@pytest.fixture
def own_commits(tmp_path: Path) -> Path:
    """A checkout, as far as the harness looks at one, with two commits."""
    root = tmp_path / "osv"
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(root)]
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    for names in (LANDMARKS, ["tests/tst-a.cc"]):
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("one\n")
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    return root


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "tst-a.so"], "is no seed"),
        (["--seed", f"osv:qemu-ramfs/tst-a.so@{SEED}", "--test", "tst-a.so"], "--seed names the test"),
        (["--seed", f"osv:qemu-ramfs/tst-a.so@{SEED}", "--farm", "tls://127.0.0.1:1"], "on this host alone"),
        (["--seed", f"osv:qemu-rofs/tst-a.so@{SEED}"], "can't be made to do the same each time"),
        (["--seed", f"linux:qemu-ramfs/tst-a.so@{SEED}"], "no commits here"),
    ],
)
def test_mistakes_are_told(
    words: list[str], said: str, own_commits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = ["--state", str(tmp_path / "state.jsonl"), "--osv-root", str(own_commits)]
    assert main(["bisect", *words, "--good", "HEAD~1", *state]) == 2
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told
