"""The history gives back what it was given, in order, and changes nothing: on SQLite and on PostgreSQL."""

import io
import multiprocessing
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from history_places import Postgresql, private_postgresql
from history_records import (
    VERSION,
    WHERE,
    decisions,
    document,
    documents,
    judged,
    sample,
    samples,
    triage,
    verdicts,
)
from hypothesis import given, settings
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DatabaseError

from harness.core.errors import HarnessError
from harness.metrics.history.reader import Tally
from harness.metrics.history.records import Triage, VerdictRecord
from harness.metrics.history.schema import REVISIONS, TABLES
from harness.metrics.history.store import History, Imported
from harness.metrics.history.url import place
from harness.metrics.records import Commit, Document, Metric, Sample


@pytest.fixture(scope="module")
def server() -> Iterator[Postgresql]:
    with private_postgresql() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def new(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Makes URLs of histories that are not there yet."""
    if request.param == "sqlite":
        return lambda: str(tmp_path_factory.mktemp("history") / "history.sqlite")
    made: Callable[[], str] = request.getfixturevalue("server").new
    return made


@pytest.fixture(scope="module")
def shared(new: Callable[[], str]) -> Iterator[History]:
    """A history for tests that look at their own runs only."""
    with History(new()) as history:
        yield history


@pytest.fixture
def empty(new: Callable[[], str]) -> Iterator[History]:
    with History(new()) as history:
        yield history


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "history.sqlite")


@settings(max_examples=40, deadline=None)
@given(a=samples, b=verdicts, c=documents, d=decisions)
def test_records_come_back_as_they_went_in(
    shared: History, a: Sample, b: VerdictRecord, c: Document, d: Triage
) -> None:
    run, d = uuid4().hex, replace(d, id=uuid4().hex)
    a, b, c = (replace(record, run=run, id=uuid4().hex) for record in (a, b, c))
    before = shared.state()
    assert shared.add([a, b, c, d]) == 4
    assert shared.state() != before
    assert shared.triage()[-1] == d
    assert shared.samples(run=run, metric=a.metric.name, cell=a.cell, subject=a.subject) == [a]
    assert shared.judged(run=run, suite=b.suite, test=b.test) == [b]
    assert shared.documents(c.kind, run=run, subject=c.subject) == [c]
    assert shared.add([a, b, c, d, a]) == 0


def test_an_export_makes_the_same_history_elsewhere(new: Callable[[], str], file: str) -> None:
    there, again = io.BytesIO(), io.BytesIO()
    with History(new()) as one, History(file) as other:
        one.add([sample(taken=float(i)) for i in range(50)] + [judged(), document(), triage()])
        assert one.export(there) == 53
        assert other.import_(io.BytesIO(there.getvalue())) == Imported(53, 0)
        assert other.import_(io.BytesIO(there.getvalue())) == Imported(0, 53)
        assert other.triage() == one.triage() != []
        other.add([sample(run="another")])
        assert other.export(again) == 54
        assert again.getvalue().startswith(there.getvalue().splitlines(keepends=True)[0])
        assert one.import_(io.BytesIO(again.getvalue())) == Imported(1, 53)
        assert one.samples() == other.samples()
        assert one.export(io.BytesIO(), since=49.0) == 1


def test_another_record_of_the_same_id_is_refused_with_all_that_came_with_it(empty: History) -> None:
    first = sample()
    empty.add([first])
    for wrong in (replace(first, value=0.3), replace(first, version=replace(VERSION, commit="e"))):
        with pytest.raises(HarnessError, match=f"another sample with the id {first.id}"):
            empty.add([sample(), wrong])
    with pytest.raises(HarnessError, match="another document"):
        empty.add([document(id="one"), document(id="one", body={"seconds": [1, 2.5]})])
    assert empty.samples() == [first]
    assert empty.documents() == []


def test_what_python_calls_equal_is_the_same_record(empty: History) -> None:
    great = sample(value=2**60 + 1, version=replace(VERSION, committed=1000))
    pair = document(body={"pair": (1, 2), 3: 4})
    assert empty.add([great, pair]) == 2
    assert empty.add([great, pair, replace(great, value=float(2**60))]) == 0
    assert empty.documents()[0].body == {"pair": [1, 2], "3": 4}


def test_verdicts_are_told_by_the_order_in_which_they_came(empty: History) -> None:
    """Whatever their times say: what is new is what came after."""
    many = [judged(taken=float(100 - i), test=f"t{i}", run=f"r{i % 2}", expected=i % 3 > 0) for i in range(9)]
    empty.add([*many, sample(run="r1", cell="c", taken=92.5)])
    seen = empty.verdicts_after(0, most=4)
    assert [one for _, one in seen] == many[:4]
    assert [one for _, one in empty.verdicts_after(seen[-1][0])] == many[4:]
    last = empty.verdicts_before(most=2)
    assert [one for _, one in last] == many[:-3:-1]
    assert [one for _, one in empty.verdicts_before(last[-1][0], run="r0")] == many[6::-2]
    assert [one for _, one in empty.verdicts_before(expected=False)] == many[6::-3]
    assert empty.tallies(92.5) == [
        Tally("r0", "c", verdicts=4, expected=2, samples=0, first=94.0, last=100.0),
        Tally("r1", "c", verdicts=4, expected=3, samples=1, first=92.5, last=99.0),
    ]


def test_a_name_of_another_kind_may_be_the_same(empty: History) -> None:
    assert empty.add([sample(id="one"), judged(id="one"), document(id="one")]) == 3


def test_samples_come_in_the_order_of_their_commits(empty: History) -> None:
    def one(committed: float, taken: float, id: str) -> Sample:
        return sample(version=replace(VERSION, committed=committed), taken=taken, id=id)

    ordered = [one(0, 9, "z"), one(10, 1, "B"), one(10, 1, "a"), one(10, 2, "A"), one(20, 0, "_")]
    mixed = ordered.copy()
    random.Random(1).shuffle(mixed)
    empty.add(mixed)
    assert empty.samples() == ordered
    assert empty.samples(last=2) == ordered[-2:]
    assert empty.samples(since=2.0) == [ordered[0], ordered[3]]


def test_all_records_come_in_the_order_of_time_without_ids(empty: History) -> None:
    """Those of one moment in the order in which they came; unexpected verdicts keep their ids."""
    taken = [5.0, 1.0, 3.0, 1.0]
    numbers = [sample(taken=when, value=float(at), id=f"s{at}") for at, when in enumerate(taken)]
    said = [judged(taken=when, seconds=float(at), id=f"j{at}", expected=at > 1) for at, when in enumerate(taken)]
    empty.add([*numbers, *said])
    wanted = [1, 3, 2, 0]
    assert empty.samples_by_time() == [replace(numbers[at], id="") for at in wanted]
    assert [*empty.judged_by_time()] == [replace(said[at], id="" if at > 1 else f"j{at}") for at in wanted]
    assert [one.value for one in empty.samples_by_time(since=3.0)] == [2.0, 0.0]
    assert [one.seconds for one in empty.judged_by_time(since=3.0)] == [2.0, 0.0]


def test_a_table_of_verdicts_says_of_each_what_the_record_says(new: Callable[[], str]) -> None:
    """Whatever its texts have in them, and whatever the load of its host was."""
    odd = ["", "\n", "a\nb", "\\n", "\0", "\ud800", "é\x1b[31m", "passed"]
    dice = random.Random(4)
    told = [
        judged(
            suite=dice.choice(odd), cell=dice.choice(odd), test=dice.choice(odd), outcome=dice.choice(odd),
            reason=dice.choice(odd), run=dice.choice(odd), expected=dice.random() < 0.5, seconds=dice.random(),
            taken=dice.random(), environment=replace(WHERE, load=dice.random()), reuse_key=dice.choice(odd),
            version=replace(VERSION, commit=dice.choice("ab")),
        )
        for _ in range(200)
    ]  # fmt: skip
    with History(new()) as history:
        assert [*history.judged_by_time()] == []
        history.add(told)
        found = [*history.judged_by_time()]
    wanted = [replace(one, id="" if one.expected else one.id, reuse_key="") for one in told]
    assert found == sorted(wanted, key=lambda one: one.taken)


def test_a_metric_may_be_asked_for_by_its_beginning(empty: History) -> None:
    for name in ("boot.seconds", "boot.instructions", "bootstrap", "Boot.seconds", "memory.peak", "boot"):
        empty.add([sample(metric=Metric(name, "x"))])

    def found(pattern: str) -> set[str]:
        return {one.metric.name for one in empty.samples(metric=pattern)}

    assert found("boot.*") == {"boot.seconds", "boot.instructions"}
    assert found("boot*") == {"boot.seconds", "boot.instructions", "bootstrap", "boot"}
    assert found("boot") == {"boot"}
    assert len(found("*")) == 6
    assert found("b%") == found("none") == set()


def test_runs_are_counted(empty: History) -> None:
    older = replace(VERSION, commit="b", committed=1.0)
    empty.add(
        [sample(), sample(taken=1.0, version=older), judged(cell="d"), document(), sample(run="0", taken=2.0)]
    )
    first, second = empty.runs()
    assert (first.run, first.first, first.last, first.samples, first.judged) == ("r", 1.0, 5.0, 2, 1)
    assert first.documents == 1
    assert first.cells == ("c", "d", "linux:x86_64-qemu-rofs-all")
    assert first.commits == ("b", "c" * 40)
    assert second.run == "0"


@pytest.mark.parametrize("table", [table.name for table in TABLES.sorted_tables])
def test_nobody_changes_or_removes_a_row(shared: History, table: str) -> None:
    """By whatever program, for the database itself refuses."""
    one = sample(run="kept", id="kept", procedure="memory=1024")
    about = {"run": "kept", "id": "kept"}
    shared.add([one, judged(**about), document(**about), Commit("a" * 40, "b" * 40), triage(id="kept")])
    url = shared._url
    key = next(iter(TABLES.tables[table].primary_key)).name
    words = [f"DELETE FROM {table}", f"UPDATE {table} SET {key} = {key} + 1"]
    if url.get_backend_name() == "postgresql":
        words.append(f"TRUNCATE {table} CASCADE")
    engine = create_engine(url, poolclass=NullPool)
    for statement in words:
        with pytest.raises(DatabaseError, match="the history is append-only"), engine.begin() as connection:
            connection.execute(text(statement))
    assert len(shared.samples(run="kept")) == 1


def test_the_migrations_make_the_tables_that_the_code_knows(empty: History) -> None:
    with create_engine(empty._url, poolclass=NullPool).connect() as connection:

        def differ(_context: object, _inspected: object, _column: object, there: Any, known: Any) -> bool:
            """Types that are written alike are the same, with their collation."""
            return bool(there.compile(connection.dialect) != known.compile(connection.dialect))

        options = {"version_table": REVISIONS, "compare_type": differ}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), TABLES) == []


def test_a_history_of_a_newer_harness_is_left_alone(new: Callable[[], str]) -> None:
    url = new()
    History(url).close()
    with create_engine(place(url), poolclass=NullPool).begin() as connection:
        connection.execute(text(f"UPDATE {REVISIONS} SET version_num = '9999'"))
    with pytest.raises(HarnessError, match=r"made by a newer harness: its tables are of step 9999.*up to 0004"):
        History(url)


def test_a_new_history_may_be_opened_by_several_at_once(new: Callable[[], str]) -> None:
    url = new()
    words = "import sys; from harness.metrics.history.store import History; sys.stdin.read(); History(sys.argv[1])"
    openers = [
        subprocess.Popen([sys.executable, "-c", words, url], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    assert [opener.communicate(timeout=60)[1] for opener in openers] == [b""] * 4
    assert [opener.returncode for opener in openers] == [0] * 4


def test_a_fork_uses_the_history_too(empty: History) -> None:
    empty.add([sample()])
    child = multiprocessing.get_context("fork").Process(target=lambda: empty.add([sample(), sample()]))
    child.start()
    empty.add([sample()])
    child.join(60)
    assert child.exitcode == 0
    assert len(empty.samples()) == 4


def test_an_error_of_the_caller_undoes_all(empty: History) -> None:
    def some() -> Iterator[Sample]:
        yield from (sample() for _ in range(2500))
        raise RuntimeError("the measurement broke")

    with pytest.raises(RuntimeError):
        empty.add(some())
    assert empty.samples() == []


def test_fingerprints_are_the_same_after_the_history(empty: History) -> None:
    one, other = sample(), sample(environment=replace(WHERE, cpu="another", load=3.0))
    empty.add([one, other])
    kept = {row.id: row for row in empty.samples()}
    assert kept[one.id].series == one.series != other.series == kept[other.id].series
