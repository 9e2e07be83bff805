"""Seeds: the same run each time, whatever the host does; and tests of which there are none."""

import platform
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from history_records import VERSION, judged
from racing_program import LOSING, RACE

from benchmarks.hunting import planted
from benchmarks.hunting.hunts import hunt
from benchmarks.hunting.replays import busy_host, once
from harness.analysis.bisect.local_backend import BuildPool
from harness.analysis.bisect.model import Build, Failure
from harness.analysis.bisect.seed_backend import SeedBackend
from harness.analysis.hunt.budget import worthiest_first
from harness.analysis.hunt.debug import stopped_at_end
from harness.analysis.hunt.record import KIND, Hunted, hunts_of, standing_find
from harness.analysis.hunt.seed import Seed, check, seeded
from harness.analysis.hunt.shrinking import shrink
from harness.cli import main
from harness.cli.parallel import runs
from harness.core.errors import CellError
from harness.core.machine import Image
from harness.core.schedule import Schedule
from harness.kernels.rootfs.contents import Contents
from harness.metrics.history.store import History
from harness.metrics.records import Document
from harness.report.morning.flaky_tests import flaky_tests
from harness.report.morning.rates import chance_of_failure
from harness.runner.base import Program
from harness.runner.session import Session
from harness.runner.verdict import Outcome


def test_a_seed_is_written_and_read_back() -> None:
    seed = Seed("osv:qemu-ramfs", "tst-condvar.so", Schedule.drawn(7, 2))
    assert Seed.parse(str(seed)) == seed


@pytest.mark.parametrize("body", [{}, [], "a", None, {"first": "one"}, {"first": 1, "last": None}])
def test_a_document_of_another_form_tells_of_no_hunt(body: Any) -> None:
    whole = Hunted("osv:qemu-ramfs", "tst-a.so", 1, 3, 3, VERSION, 1.0)
    documents = [Document(KIND, "osv:qemu-ramfs", "tst-b.so", body, VERSION, "run", 2.0), whole.document("run")]
    assert hunts_of(documents) == {("osv:qemu-ramfs", "tst-a.so"): [whole]}


@pytest.mark.parametrize("text", ["", "tst-a.so", "osv:qemu-ramfs@2c3s0p", "osv:qemu-ramfs/tst-a.so"])
def test_what_is_no_seed_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", text]) == 2
    assert "is no seed" in capsys.readouterr().err


def test_guests_that_differ_each_time_are_not_hunted(session: Session) -> None:
    with pytest.raises(CellError, match="can't be made to do the same each time"):
        check(session, session.cell("linux:qemu-ramfs"), RACE)


def test_what_the_history_knows_as_flaky_is_hunted(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Linux's tests can't be hunted, so that each is told with the reason; others are not named."""
    rows = [
        judged(test=test, cell=cell, outcome="failed" if bad else "passed", expected=not bad, taken=night)
        for night in range(40)
        for cell, test, bad in (
            ("linux:x86_64-qemu-rofs-all", "stress-ng-nop", night % 5 == 3),
            ("linux:x86_64-qemu-rofs-all", "stress-ng-poll", night % 2 == 1),
            ("linux:x86_64-qemu-rofs-all", "stress-ng-cap", night > 30),
            ("linux:x86_64-qemu-rofs-all", "stress-ng-zero", False),
            ("osv:x86_64-qemu-rofs-all", "tst-pipe.so", night % 3 == 1),
        )
    ]
    assert list(flaky_tests(rows, "linux")) == ["stress-ng-poll", "stress-ng-nop"]
    with History(str(tmp_path / "h.sqlite")) as history:
        history.add(rows)
    words = ["hunt", "linux:qemu-ramfs", "stress-ng-n*", "--flaky", "--history", str(tmp_path / "h.sqlite")]
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert "can't be made to do the same each time" in said[0]
    assert said[1:] == ["Flaky, and to be hunted: none."]


def test_a_budget_goes_where_a_failure_is_likeliest_for_each_second() -> None:
    order = worthiest_first({"often": 0.4, "slow": 0.4, "seldom": 0.01}, {"often": 1.0, "slow": 4.0}, 100)
    assert sorted(order) == [(test, place) for test in ("often", "seldom", "slow") for place in range(100)]
    for test in ("often", "slow", "seldom"):
        assert [place for one, place in order if one == test] == list(range(100)), "not in their order"
    first = {test: order.index((test, 0)) for test in ("often", "slow", "seldom")}
    assert first["often"] == 0
    # after 60 schedules that passed, what fails often is worth no more than what is four times as slow
    assert 60 <= first["slow"] <= 62 and first["seldom"] > first["slow"]


def test_a_test_that_failed_lately_is_likelier_to_fail() -> None:
    lately, long_ago = ([False] * 30 + [True, False] * 4, [True, False] * 4 + [False] * 30)
    assert chance_of_failure(lately) > 5 * chance_of_failure(long_ago) > 0
    assert 0 < chance_of_failure([]) < 0.05


def test_a_find_stands_until_ten_times_as_many_schedules_have_passed() -> None:
    found = Hunted("c", "tst-a.so", 1, 40, 39, VERSION, 1.0, "c/tst-a.so@2c3s17t31p", "failed", "x", ("y",))
    later = [replace(found, first=41, last=440, passed=passed, seed="", taken=2.0) for passed in (399, 400)]
    assert [standing_find([found, one]) for one in later] == [found, None]
    assert standing_find([later[0]]) is None
    documents = [one.document("r") for one in (later[0], found)]
    assert hunts_of(documents) == {("c", "tst-a.so"): [found, later[0]]}


def test_a_night_tries_schedules_that_no_night_before_it_tried(session: Session, tmp_path: Path) -> None:
    if session.osv_root is None or platform.machine() != "x86_64":
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    test, url = "tst-eventfd.so", str(tmp_path / "h.sqlite")
    rows = [
        judged(test=test, cell="osv:x86_64-qemu-rofs-all", outcome="failed" if bad else "passed", expected=not bad,
               taken=night)
        for night in range(40) for bad in [night % 5 == 3]
    ]  # fmt: skip
    with History(url) as history:
        history.add(rows)
    words = ["hunt", "osv:x86_64-qemu-ramfs", "--flaky", "--seeds", "2", "--history", url, "--runs", str(tmp_path)]
    assert [main(words), main(words)] == [0, 0]
    with History(url) as history:
        ((where, hunts),) = hunts_of(history.documents(KIND)).items()
    assert where == ("osv:x86_64-qemu-ramfs-all", test)
    assert [(one.first, one.last, one.passed, one.seed) for one in hunts] == [(1, 2, 2, ""), (3, 4, 2, "")]
    assert all(one.version.commit for one in hunts)


def test_a_find_does_not_end_the_hunt_of_the_other_tests(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """tst-utimes.so fails by each schedule, which is expected: here it is not."""
    if session.osv_root is None or platform.machine() != "x86_64":
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    monkeypatch.setattr("harness.cli.commands.hunt.is_expected", lambda *words: False)
    words = ["hunt", "osv:x86_64-qemu-ramfs", "tst-utimes.so", "tst-hello.so", "--seeds", "3", "--simplify", "0"]
    assert main([*words, "--runs", str(tmp_path), "--keep-going"]) == 1
    said = capsys.readouterr()
    assert said.out.count("tst-utimes.so@") == 2, "a find, and how to run it again"
    assert said.out.splitlines()[-1] == "4 of 4 runs"
    assert "the last tst-hello.so: passed" in said.err


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


def image_of(name: str, session: Session, folder: Path, arch: str) -> Image:
    """OSv with the program of that name alone, compiled in the folder."""
    if session.osv_root is None or platform.machine() != "x86_64":
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    if not (compiler := shutil.which("gcc" if arch == "x86_64" else f"{arch}-linux-gnu-gcc")):
        pytest.skip(f"there is no C compiler for {arch}")
    source, made = Path(__file__).parents[1] / f"data/guest_programs/{name}.c", folder / f"{name}.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(source)], check=True)
    contents = Contents(("libc6",), (f"/{name}.so",), made={f"/{name}.so": made})
    return session.image_with(session.cell(f"osv:{arch}-qemu-ramfs"), contents)


def test_a_turn_of_the_first_vcpu_ends_in_favour_of_the_second(session: Session, tmp_path: Path) -> None:
    """Also where the second has had a turn since the last one ended; without the plugin QEMU 7.2 goes on with
    the first."""
    image = image_of("turns", session, tmp_path, "x86_64")
    run = session.run_on(image, seeded(Program("turns", "/turns.so", 60), Schedule.parse("2c5s1000t0p")))
    assert b"preempted 100 times of 100" in bytes(run.transcript.raw), run.verdict


@pytest.mark.parametrize(("arch", "draws"), [("x86_64", True), ("aarch64", False)])
def test_a_seeds_guest_draws_the_same_random_numbers(
    session: Session, tmp_path: Path, arch: str, draws: bool
) -> None:
    """On AArch64 it has none, and says so at once: it does not wait for them for ever."""
    image = image_of("random", session, tmp_path, arch)
    program = seeded(Program("random", "/random.so", 60), Schedule.drawn(1, 2))
    ran = [session.run_on(image, program) for _ in range(2)]
    assert {run.verdict.outcome for run in ran} == {Outcome.PASSED if draws else Outcome.FAILED}
    first, second = (re.findall(rb"\b[0-9a-f]{16} drawn", bytes(run.transcript.raw)) for run in ran)
    assert first == second and bool(first) == draws


def test_one_vcpu_loses_nothing(session: Session, racing: Image) -> None:
    assert lost(session, racing, "1c0s0p")[0] is Outcome.PASSED


class RaceBackend(SeedBackend):
    """Boots the race by seeds, of no commit."""

    def __init__(self, session: Session, image: Image) -> None:
        pool = cast(BuildPool, SimpleNamespace(cell=image.cell, commits=("HEAD",)))
        super().__init__(pool, RACE.name, Schedule.parse(LOSING), Build(0), runs)
        self.one = Session(session.osv_root, session.cache, images={image.cell: image})

    def _prepared(self, key: Build) -> tuple[Session, Program]:
        return self.one, RACE


def test_a_bisection_boots_by_seeds_at_once_what_they_are_one_by_one(session: Session, racing: Image) -> None:
    backend = RaceBackend(session, racing)
    measure = backend.measure()
    assert measure.schedule == LOSING
    assert measure.cause, "the seed is none any more"
    at_once = list(backend.boot_numbered(Build(0), range(1, 5)))
    assert at_once == [next(backend.boot_numbered(Build(0), range(number, number + 1))) for number in range(1, 5)]
    assert Failure(measure.cause) in at_once, "none near it fails as the seed does"


@pytest.fixture(scope="module")
def planted_races(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """OSv with the races that the benchmark hunts for."""
    if session.osv_root is None or platform.machine() != "x86_64":
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    if shutil.which("gcc") is None:
        pytest.skip("gcc is missing")
    return planted.image(session, "osv:qemu-ramfs", tmp_path_factory.mktemp("planted"))


def test_a_hunt_finds_a_use_after_free_and_its_seed_finds_it_again(session: Session, planted_races: Image) -> None:
    (race,) = planted.races(["use_after_free"])
    hunted = hunt(session, planted_races, race, seeds=30)
    assert hunted.found, "not in 30 seeds"
    assert once(session, planted_races, race, hunted.found)[0] is Outcome.FAILED


def test_the_seed_of_a_lost_wakeup_is_made_simpler(session: Session, planted_races: Image) -> None:
    (race,) = planted.races(["lost_wakeup"])
    started = Schedule.parse("2c4s788t1109t2149t59p")

    def fails(schedule: Schedule) -> bool:
        return race.was_lost(session.run_on(planted_races, seeded(race.program, schedule)))

    assert fails(started), "the seed is none any more: hunt for another"
    assert shrink(started, fails, 4).schedule != started


def test_gdb_finds_a_seed_where_it_ends(session: Session, planted_races: Image) -> None:
    if shutil.which("gdb") is None:
        pytest.skip("gdb is missing")
    (race,) = planted.races(["lost_update"])
    program = seeded(race.program, Schedule.parse("2c4s3050t26p"))
    with stopped_at_end(session, planted_races, program) as stopped:
        assert b"ended at" in bytes(stopped.guest.transcript.raw)
        words = ["gdb", "-batch", "-nx", str(planted_races.symbols), "-ex", f"target remote {stopped.socket}"]
        said = subprocess.run([*words, "-ex", "backtrace", "-ex", "kill"], capture_output=True, text=True)
        stopped.wait()
        assert stopped.guest.closed
    assert re.search(r"#0 .*osv::poweroff", said.stdout), said.stdout + said.stderr


@pytest.mark.parametrize("race", planted.races(), ids=lambda race: race.name)
def test_a_planted_race_is_lost_where_one_side_stands_still(race: planted.Race, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is missing")
    program, source = tmp_path / race.name, planted.HERE / "programs" / f"{race.name}.c"
    subprocess.run(["gcc", "-O1", "-pthread", "-DSTAND_STILL", "-o", str(program), str(source)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[1:]) == (1, [race.lost])


def test_an_unknown_race_is_told_with_those_that_are_known() -> None:
    with pytest.raises(CellError, match=r"no planted race abba") as caught:
        planted.races(["abba"])
    assert "lock_order" in str(caught.value)
