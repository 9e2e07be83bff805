"""What was acknowledged is there, whole and once, whoever is killed and whoever else writes.

OSV_HARNESS_KILLS says how many writers are killed on each database (default: 15;
docs/reference/history.md tells of 100).
This file is also the writer: a process of its own that adds batches and prints each one's number when it is kept.
"""

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from uuid import uuid4

import pytest
from history_places import Postgresql, private_postgresql

from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.store import History
from harness.metrics.records import Document, Environment, Metric, Sample, Version

KILLS = int(os.environ.get("OSV_HARNESS_KILLS", "15"))
SAMPLES = 40
"""Of a batch, which has a verdict and a document besides."""

LONGEST_LIFE = 0.25  # seconds until the kill
BATCHES = 10_000
"""More than a writer gets to: it would end by itself if its killer had died."""


def batch_of(run: str, number: int) -> list[Sample | VerdictRecord | Document]:
    """The records of one batch: the samples' subject is its number."""
    metric = Metric("boot.instructions", "instructions", exact=True)
    version = Version(f"{number:040x}", "0" * 64, committed=float(number))
    where = Environment("writer", "cpu", 2, "none", "tcg", "QEMU 7.2.22", "6.1.0", load=0.5)
    about = {"cell": "linux:x86_64-qemu-rofs-all", "version": version, "run": run, "taken": float(number)}
    samples = [
        Sample(metric, value=float(i), subject=str(number), environment=where, **about) for i in range(SAMPLES)
    ]
    judged = VerdictRecord("unit", test=str(number), outcome="passed", expected=True, reason="x" * 500,
                           seconds=1.0, environment=where, **about)  # fmt: skip
    document = Document("load", subject=str(number), body={"seconds": list(range(2000))}, **about)
    return [*samples, judged, document]


def write(url: str, run: str, batches: int) -> None:
    """The writer: waits for a line, then opens the history and adds batch after batch."""
    print("here", flush=True)
    sys.stdin.readline()
    with History(url) as history:
        for number in range(batches):
            history.add(batch_of(run, number))
            print(number, flush=True)


class Writer:
    """A writer's process, which is killed when the test's is."""

    def __init__(self, url: str, batches: int = BATCHES) -> None:
        self.run = uuid4().hex
        command = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, __file__, url, self.run, str(batches)]
        pipe = subprocess.PIPE
        # Without buffers of ours, `communicate` gets all that `readline` has left.
        self._process = subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe)
        self._told = 0

    def begin(self) -> None:
        """Let it open the history and write."""
        assert self._line() == b"here\n"
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    def wait_for_first(self) -> None:
        """Wait until it has acknowledged a batch: from then on it does nothing but add."""
        assert self._line() == b"0\n"
        self._told = 1

    def kill(self) -> int:
        """Kill it. Returns how many batches it has acknowledged."""
        self._process.kill()
        acknowledged, errors = self.end()
        assert errors == ""
        return acknowledged

    def end(self) -> tuple[int, str]:
        """Wait until it has ended. Returns how many batches it has acknowledged, and its errors."""
        acknowledged, errors = self._process.communicate(timeout=300)
        # The last number may be cut off; it was kept all the same, which is not asked here.
        return self._told + acknowledged.count(b"\n"), errors.decode()

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def whole_batches(history: History, run: str) -> int:
    """How many batches of the run are there; none is there in part, twice, or without the ones before it."""
    samples = Counter(int(sample.subject) for sample in history.samples(run=run))
    assert set(samples.values()) <= {SAMPLES}
    numbers = sorted(samples)
    assert numbers == list(range(len(numbers)))
    assert [int(judged.test) for judged in history.judged(run=run)] == numbers
    assert [int(document.subject) for document in history.documents(run=run)] == numbers
    return len(numbers)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgresql]:
    with private_postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def new(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes URLs of histories that are not there yet."""
    if request.param == "sqlite":
        return lambda: str(tmp_path / uuid4().hex / "history.sqlite")
    made: Callable[[], str] = request.getfixturevalue("server").new
    return made


def verify(url: str, request: pytest.FixtureRequest) -> None:
    """The database's own check of its tables and indexes."""
    if url.startswith("postgresql"):
        request.getfixturevalue("server").verify(url)
        return
    with closing(sqlite3.connect(url)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_killed_writers_lose_nothing_that_they_acknowledged(
    new: Callable[[], str], request: pytest.FixtureRequest
) -> None:
    """Four of five are killed while they add; one as it opens the history, which every other such one makes."""
    chance = random.Random()
    url = new()
    kept: dict[str, int] = {}
    told = in_mid_write = before_any = 0
    following = Writer(url)
    for count in range(KILLS):
        writer = following
        is_last_of_url = count % 10 == 9  # so that the next, a multiple of ten, has a new one
        next_url = new() if is_last_of_url else url
        following = Writer(next_url)  # it starts while this one works
        writer.begin()
        if count % 5:
            writer.wait_for_first()
        time.sleep(chance.uniform(0, LONGEST_LIFE))
        acknowledged = writer.kill()
        with History(url) as history:
            history.add([])  # waits for a server that is still at the dead one's last batch
            kept[writer.run] = whole_batches(history, writer.run)
            # One may have been kept and not told yet.
            assert acknowledged <= kept[writer.run] <= acknowledged + 1
            in_mid_write += kept[writer.run] > acknowledged
            before_any += not kept[writer.run]
            told += acknowledged
            if is_last_of_url:
                assert {run.run: run.judged for run in history.runs()} == {r: n for r, n in kept.items() if n}
        verify(url, request)
        if is_last_of_url:
            url, kept = next_url, {}
    following.kill()
    print(f"{KILLS} killed: {told} batches told, {in_mid_write} kept and not told, {before_any} before the first")


def test_two_writers_at_once_lose_nothing_and_add_nothing_twice(
    new: Callable[[], str], request: pytest.FixtureRequest
) -> None:
    """Both open a history that is not there yet."""
    url, batches = new(), 60
    writers = [Writer(url, batches) for _ in range(2)]
    for writer in writers:
        writer.begin()
    assert [writer.end() for writer in writers] == [(batches, "")] * 2
    with History(url) as history:
        assert [whole_batches(history, writer.run) for writer in writers] == [batches] * 2
        assert len(history.samples()) == 2 * batches * SAMPLES
    verify(url, request)


def test_a_server_that_is_killed_loses_nothing_that_it_acknowledged() -> None:
    """One of its own, for it starts the slower the more files it has."""
    with private_postgresql() as server:
        url = server.new()
        for delay in (0.0, 0.2, 0.4):
            writer = Writer(url)
            writer.begin()
            writer.wait_for_first()
            time.sleep(delay)
            server.kill()
            acknowledged, errors = writer.end()
            assert "HarnessError" in errors
            server.start()
            with History(url) as history:
                assert acknowledged <= whole_batches(history, writer.run) <= acknowledged + 1
        server.verify(url)


def test_a_writer_waits_for_a_long_import_of_another(new: Callable[[], str]) -> None:
    """It is not refused, and what it adds is there."""
    url = new()
    with History(url) as history:
        writer = Writer(url, 3)

        def slowly() -> Iterator[Sample | VerdictRecord | Document]:
            yield from batch_of("slow", 0)
            writer.begin()
            time.sleep(1.5)
            yield from batch_of("slow", 1)

        history.add(slowly())
        assert writer.end() == (3, "")
        assert whole_batches(history, "slow") == 2
        assert whole_batches(history, writer.run) == 3


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        write(sys.argv[1], sys.argv[2], int(sys.argv[3]))
