"""A bisection's journal: killed anywhere, the next session repeats no build and gives the same answer."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.bisect.answer import Answer, Check
from harness.analysis.bisect.journal import JournalFile, MemoryJournal, read
from harness.analysis.bisect.journal_records import (
    Answered,
    Began,
    Booted,
    Checked,
    Drifted,
    Failed,
    Finished,
    Opened,
    Planned,
    Record,
    from_json,
    to_json,
)
from harness.analysis.bisect.model import Broken, Build, Built, CommitRange, Effort, Failure, Kind, Measure, Plan
from harness.analysis.bisect.replay import replay_journal
from harness.analysis.bisect.session import Bisection
from harness.analysis.bisect.state import State
from harness.core.errors import HarnessError, HostError

NOISY = Measure("boot.wall", "s", layout=0.0)
EXACT = Measure("boot.instructions", "", Kind.EXACT, layout=0.0)
JOURNALS = Path(__file__).parents[1] / "data/journals"
COUNT, CULPRIT, BROKEN = 60, 23, (22, 45)


@dataclass
class Commits:
    """Simulated commits whose n-th boot gives the same number in every session; `full` is the disk, at a build."""

    journal: JournalFile | MemoryJournal
    noise: float = 0.01
    full: int = 0
    cached: tuple[Build, ...] = ()
    layouts: int = 1
    built: list[Build] = field(default_factory=list)

    def build(self, key: Build) -> Built | Broken:
        self.built.append(key)
        if len(self.built) == self.full:
            raise HostError("There is no space left.")
        return Broken("does not compile") if key.index in BROKEN else Built(f"{key}", 180.0)

    def boot(self, key: Build) -> float | Broken:
        before = sum(isinstance(one, Booted) and one.key == key for one in self.journal.records)
        dice = np.random.default_rng([key.index, before])
        return float((100.0 if key.index < CULPRIT else 104.0) * (1 + self.noise * dice.normal()))


def line() -> CommitRange:
    return CommitRange(tuple(f"{at:040x}" for at in range(COUNT + 1)))


def bisection(
    journal: JournalFile | MemoryJournal, measure: Measure = NOISY, jobs: int = 1, full: int = 0
) -> tuple[Bisection, Commits]:
    commits = Commits(journal, 0.0 if measure is EXACT else 0.01, full)
    return Bisection(line(), measure, commits, journal, Effort(jobs=jobs)), commits


def builds(records: list[Record]) -> Counter[Build]:
    """How often each build ended."""
    return Counter(one.key for one in records if isinstance(one, Finished | Failed))


def answered(path: Path, measure: Measure, jobs: int) -> Answer:
    """The answer of a session on this journal, from wherever it is."""
    with JournalFile(path) as journal:
        return bisection(journal, measure, jobs)[0].run()


def test_a_journal_torn_at_any_byte_has_all_whole_records(tmp_path: Path) -> None:
    """Every prefix is read as its whole lines (every 7th byte of long ones), and opening cuts off the rest."""
    path = tmp_path / "journal.jsonl"
    answered(path, EXACT, 1)
    whole, records = path.read_bytes(), read(path)
    header = whole.splitlines()[0]
    torn = tmp_path / "torn.jsonl"
    for size in range(len(whole) + 1):
        lines = whole[:size].count(b"\n")
        if 20 < size < len(header) - 20 or (size > 2 * len(header) and size % 7):
            continue
        torn.write_bytes(whole[:size])
        assert read(torn) == records[:lines]
        if size % 11 == 0 or lines == len(records):
            with JournalFile(torn) as journal:
                assert journal.records == records[:lines]
            assert torn.read_bytes() == whole[: whole[:size].rfind(b"\n") + 1]


@pytest.mark.parametrize(("measure", "jobs"), [(EXACT, 1), (EXACT, 3), (NOISY, 1), (NOISY, 3)])
def test_from_any_record_it_goes_on(
    measure: Measure, jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each record (of the many boots of a noisy number, after every 9th), with the next one torn."""
    path = tmp_path / "journal.jsonl"
    answer = answered(path, measure, jobs)
    lines = path.read_bytes().splitlines(keepends=True)
    monkeypatch.setattr(os, "fsync", lambda file: None)
    torn = tmp_path / "torn.jsonl"
    for count in range(len(lines)):
        if measure is NOISY and b"booted" in lines[count] and count % 9:
            continue
        torn.write_bytes(b"".join(lines[:count]) + lines[count][: len(lines[count]) // 2])
        known = read(torn)
        assert len(known) == count
        with JournalFile(torn) as journal:
            resumed, commits = bisection(journal, measure, jobs)
            assert resumed.run() == answer
        assert not set(builds(known)) & set(commits.built)
        assert set(builds(read(torn)).values()) == {1}
        if jobs == 1:
            assert torn.read_bytes() == b"".join(lines)


def test_a_kill_loses_no_build(tmp_path: Path) -> None:
    """A real process, killed ten times in the middle of builds and boots."""
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from test_bisect_journal import bisection
        from harness.analysis.bisect.journal import JournalFile
        journal = JournalFile(Path(sys.argv[1]))
        one, commits = bisection(journal)
        build, boot = commits.build, commits.boot
        def slow(call, seconds):
            def slowly(key):
                time.sleep(seconds)
                return call(key)
            return slowly
        commits.build, commits.boot = slow(build, 0.05), slow(boot, 0.003)
        print("ready", flush=True)
        print(one.run().culprits[0].points, flush=True)
    """)
    path, here = tmp_path / "journal.jsonl", Path(__file__).parent
    dice = np.random.default_rng(3)
    for kill in range(11):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(path), str(here)], stdout=subprocess.PIPE, cwd=here.parents[2]
        )
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        if kill < 10:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.02 + 0.1 * dice.random())
            os.kill(process.pid, signal.SIGKILL)
        said = process.stdout.read()
        process.stdout.close()
        process.wait()
    assert said == b"(22, 23)\n"
    records = read(path)
    assert set(builds(records).values()) == {1}
    alone = MemoryJournal()
    assert bisection(alone)[0].run() == Answer.from_json(records[-1].answer)  # type: ignore[union-attr]


def test_an_answered_journal_answers_again_and_builds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with JournalFile(path) as journal:
        answer = bisection(journal)[0].run()
    with JournalFile(path) as journal:
        again, commits = bisection(journal)
        assert again.run() == answer
        assert commits.built == []


def test_a_full_disk_in_a_build_leaves_the_state_usable(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with JournalFile(path) as journal:
        stopped, first = bisection(journal, EXACT, full=5)
        with pytest.raises(HostError, match="no space"):
            stopped.run()
    with JournalFile(path) as journal:
        resumed, second = bisection(journal, EXACT)
        assert resumed.run().culprits[0].points == (22, 23)
    assert second.built[0] == first.built[-1]
    assert not set(first.built[:-1]) & set(second.built)


def test_a_batch_keeps_what_was_built_beside_a_fault(tmp_path: Path) -> None:
    with JournalFile(tmp_path / "journal.jsonl") as journal:
        stopped, first = bisection(journal, EXACT, jobs=3, full=4)
        with pytest.raises(HostError):
            stopped.run()
        resumed, second = bisection(journal, EXACT, jobs=3)
        resumed.run()
        assert len(second.built) + len(first.built) == len({*first.built, *second.built}) + 1


def test_a_full_disk_for_the_journal_is_said_and_leaves_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.jsonl"
    write = os.write

    def half(file: int, data: bytes) -> int:
        if b"booted" in data and len(data) > 20:
            return write(file, data[:20])
        if data.startswith(b"key"):
            raise OSError(28, "No space left on device")
        return write(file, data)

    with JournalFile(path) as journal:
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(HarnessError, match="could not be written: No space"):
            bisection(journal, EXACT)[0].run()
        monkeypatch.undo()
        assert list(read(path)) == list(journal.records)
        assert bisection(journal, EXACT)[0].run().culprits[0].points == (22, 23)


def test_another_bisections_journal_is_refused(tmp_path: Path) -> None:
    with JournalFile(tmp_path / "journal.jsonl") as journal:
        bisection(journal, EXACT)
        with pytest.raises(HarnessError, match=r"another bisection, of boot\.instructions"):
            bisection(journal, NOISY)


def test_a_journal_of_one_host_is_no_others(tmp_path: Path) -> None:
    """What a farm's host measured is not gone on with here; one from before there were farms is."""
    path = tmp_path / "journal.jsonl"
    with JournalFile(path) as journal:
        opened = Bisection(line(), NOISY, Commits(journal, 0.01, 0), journal, host="one")
        Bisection(line(), NOISY, Commits(journal, 0.01, 0), journal, host="one")
        with pytest.raises(HarnessError, match="another bisection"):
            bisection(journal, NOISY)
    assert opened.state.range == line()
    row = json.loads(path.read_text())
    assert row.pop("host") == "one"
    first = from_json(row)
    assert isinstance(first, Opened) and first.host == ""


def test_two_sessions_do_not_share_a_journal(tmp_path: Path) -> None:
    with JournalFile(tmp_path / "j"), pytest.raises(HarnessError, match="Another session"):
        JournalFile(tmp_path / "j")
    JournalFile(tmp_path / "j").close()


def test_rubbish_in_the_middle_is_said(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with JournalFile(path) as journal:
        bisection(journal, EXACT)[0].run()
    lines = path.read_bytes().splitlines(keepends=True)
    for rubbish in (b"\x00\x00\n", b"{}\n", b'{"record":"began"}\n', b"[]\n"):
        path.write_bytes(b"".join([*lines[:3], rubbish, *lines[3:]]))
        with pytest.raises(HarnessError, match="Line 4"):
            JournalFile(path)


def test_checks_are_made_once(tmp_path: Path) -> None:
    made = []

    def parent(one: Bisection, answer: Answer) -> Check:
        made.append(answer.culprits[0].points)
        one.run_plan(Plan("parent", (Build(10),), ((Build(10), 3),)))
        return Check("parent", True, "again")

    def killed(one: Bisection, answer: Answer) -> Check:
        raise KeyboardInterrupt

    path = tmp_path / "journal.jsonl"
    with JournalFile(path) as journal, pytest.raises(KeyboardInterrupt):
        bisection(journal, EXACT)[0].run(checks=[("parent", parent), ("other", killed)])
    with JournalFile(path) as journal:
        answer = bisection(journal, EXACT)[0].run(checks=[("parent", parent), ("other", parent)])
    assert len(made) == 2
    assert [one.name for one in answer.checks] == ["parent", "other"]


KEYS = st.builds(Build, st.integers(0, 60), st.integers(0, 5))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
RECORDS = st.one_of(
    st.builds(Planned, st.builds(Plan, st.text(), st.tuples(KEYS), st.tuples(st.tuples(KEYS, st.integers(1, 9))))),
    st.builds(Began, KEYS),
    st.builds(Finished, KEYS, st.builds(Built, st.text(), FLOATS, st.booleans())),
    st.builds(Failed, KEYS, st.text()),
    st.builds(Booted, KEYS, FLOATS),
    st.builds(Drifted, FLOATS),
    st.builds(Checked, st.text(), st.sampled_from([True, False, None]), st.text()),
    st.just(Opened(line(), NOISY, Effort())),
    st.just(Opened(line(), NOISY, Effort(), host="one")),
    st.just(Answered({"outcome": "found"})),
)


@given(RECORDS)
@settings(deadline=None)
def test_records_go_to_json_and_back(record: Record) -> None:
    assert from_json(json.loads(json.dumps(to_json(record)))) == record


def test_the_state_is_that_of_its_records() -> None:
    journal = MemoryJournal()
    one, _ = bisection(journal)
    one.run()
    again = State.of(journal.records)
    assert vars(again) == vars(one.state)


@dataclass
class Later:
    """The commits of the journals of e4b2d9a (40, of which the 23rd changed it), as today's harness boots them:
    `boots` were recorded."""

    measure: Measure
    boots: int
    layouts = 1
    cached: tuple[Build, ...] = ()

    def build(self, key: Build) -> Built | Broken:
        return Built(f"{key.index}-{key.layout}", 180.0)

    def boot(self, key: Build) -> float | Failure | Broken:
        self.boots += 1
        dice, bad = np.random.default_rng([5, self.boots]), key.index >= 23
        if self.measure.kind is Kind.TEST:
            return Failure("crashed: X") if bad and dice.random() < 0.8 else 0.0
        return 100.0 + 5 * bad if self.measure.kind is Kind.EXACT else (100 + 8 * bad) * (1 + 0.02 * dice.normal())


@pytest.mark.parametrize(
    ("name", "measure"),
    [("test", Measure.test("tst-mmap.so")), ("exact", EXACT), ("noisy", NOISY)],
)
def test_a_journal_of_older_code_is_gone_on_with(name: str, measure: Measure, tmp_path: Path) -> None:
    """None of its builds is made again; a failure that it could not tell apart hides none, and is called none."""
    path = tmp_path / "journal.jsonl"
    path.write_bytes((JOURNALS / f"{name}-of-e4b2d9a.jsonl").read_bytes())
    before = read(path)
    boots = sum(isinstance(one, Booted) for one in before)
    world = Later(measure, boots)
    with JournalFile(path) as journal:
        answer = Bisection(
            CommitRange(tuple(f"{at:040x}" for at in range(41))), measure, world, journal, Effort()
        ).run()
    assert [one.points for one in answer.culprits] == [(23,)] and answer.warnings == ()
    built = Counter(one.key for one in read(path) if isinstance(one, Finished))
    assert set(built.values()) == {1} and built.keys() >= {one.key for one in before if isinstance(one, Finished)}
    assert world.boots - boots < 4 * boots, "what was measured counts for nothing"
    assert replay_journal(read(path)) == answer


def test_a_journal_of_other_loads_is_another_series(tmp_path: Path) -> None:
    """Journals of before it was recorded are of 3 s each."""
    app, path = Measure("app.redis.most.throughput", "requests/s", layout=0.0), tmp_path / "journal.jsonl"
    old = {**to_json(Opened(line(), app, Effort()))}
    del old["load"]
    path.write_text(json.dumps(old) + "\n")
    world = Later(app, 0)
    with JournalFile(path) as journal:
        with pytest.raises(HarnessError, match="loads took 3 s each"):
            Bisection(line(), app, world, journal, Effort(), load=5.0)
        Bisection(line(), app, world, journal, Effort(), load=3.0)
        with pytest.raises(HarnessError, match="another bisection"):
            Bisection(line(), NOISY, world, journal, Effort())
