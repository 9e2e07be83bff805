"""The history gives back what it was given, changes nothing, and takes from others only what is sound."""

import io
import json
import multiprocessing
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from history_places import Postgresql, private_postgresql
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DatabaseError

from harness.cli import main
from harness.errors import HarnessError
from harness.history import lines
from harness.history.lines import line_of, records_in
from harness.history.place import place
from harness.history.records import Judged
from harness.history.schema import REVISIONS, TABLES
from harness.history.store import History, Imported
from harness.measure import Better, Document, Environment, Metric, Sample, Version
from harness.measure.environment import environment

WHERE = Environment("runner", "a cpu", 4, "performance", "kvm", "QEMU 7.2.22", "6.1.0", load=0.25)
VERSION = Version("c" * 40, "d" * 64, "v0.57.0-398", committed=1000.0)
METRIC = Metric("boot.seconds", "s")


def sample(**others: Any) -> Sample:
    given: dict[str, Any] = {
        "metric": METRIC, "value": 0.2, "cell": "linux:x86_64-qemu-rofs-all", "subject": "redis",
        "version": VERSION, "environment": WHERE, "run": "r", "taken": 5.0,
    }  # fmt: skip
    return Sample(**given | others)


def judged(**others: Any) -> Judged:
    given: dict[str, Any] = {
        "suite": "unit", "cell": "c", "test": "tst-a.so", "outcome": "passed", "expected": True, "reason": "",
        "seconds": 1.5, "version": VERSION, "environment": WHERE, "run": "r", "taken": 5.0,
    }  # fmt: skip
    return Judged(**given | others)


def document(**others: Any) -> Document:
    given: dict[str, Any] = {
        "kind": "load", "cell": "c", "subject": "redis", "body": {"seconds": [1, 2.5, None]}, "version": VERSION,
        "run": "r", "taken": 5.0,
    }  # fmt: skip
    return Document(**given | others)


reals = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters() | st.sampled_from("\0\x1b\\\"'\ud800\udfff\u202e[]%"), max_size=30)
names = st.from_regex(r"[A-Za-z0-9_+/-]{1,8}(\.[A-Za-z0-9_+/-]{1,8}){0,3}", fullmatch=True)
metrics = st.builds(Metric, names, words, st.sampled_from(Better), st.booleans())
versions = st.builds(Version, words, words, words, reals)
places = st.builds(Environment, words, words, st.integers(0, 4096), words, words, words, words, reals)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | reals | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=10,
)
samples = st.builds(Sample, metrics, reals, words, words, versions, places, words, reals, reals)
verdicts = st.builds(
    Judged, words, words, words, words, st.booleans(), words, reals, versions, places, words, reals
)
documents = st.builds(Document, words, words, words, st.dictionaries(words, values), versions, words, reals)


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
@given(a=samples, b=verdicts, c=documents)
def test_records_come_back_as_they_went_in(shared: History, a: Sample, b: Judged, c: Document) -> None:
    run = uuid4().hex
    a, b, c = (replace(record, run=run, id=uuid4().hex) for record in (a, b, c))
    assert shared.add([a, b, c]) == 3
    assert shared.samples(run=run, metric=a.metric.name, cell=a.cell, subject=a.subject) == [a]
    assert shared.judged(run=run, suite=b.suite, test=b.test) == [b]
    assert shared.documents(c.kind, run=run, subject=c.subject) == [c]
    assert shared.add([a, b, c, a]) == 0


@settings(max_examples=100, deadline=None)
@given(record=samples | verdicts | documents)
def test_records_go_through_a_line_of_plain_ascii(record: Sample | Judged | Document) -> None:
    line = line_of(record)
    assert all(32 <= byte < 127 for byte in line[:-1]) and line[-1:] == b"\n"
    assert list(records_in(io.BytesIO(line))) == [record]


def test_an_export_makes_the_same_history_elsewhere(new: Callable[[], str], file: str) -> None:
    there, again = io.BytesIO(), io.BytesIO()
    with History(new()) as one, History(file) as other:
        one.add([sample(taken=float(i)) for i in range(50)] + [judged(), document()])
        assert one.export(there) == 52
        assert other.import_(io.BytesIO(there.getvalue())) == Imported(52, 0)
        assert other.import_(io.BytesIO(there.getvalue())) == Imported(0, 52)
        other.add([sample(run="another")])
        assert other.export(again) == 53
        assert again.getvalue().startswith(there.getvalue().splitlines(keepends=True)[0])
        assert one.import_(io.BytesIO(again.getvalue())) == Imported(1, 52)
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
    shared.add([sample(run="kept", id="kept"), judged(run="kept", id="kept"), document(run="kept", id="kept")])
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
    with pytest.raises(HarnessError, match=r"made by a newer harness: its tables are of step 9999.*up to 0001"):
        History(url)


def test_a_new_history_may_be_opened_by_several_at_once(new: Callable[[], str]) -> None:
    url = new()
    words = "import sys; from harness.history.store import History; sys.stdin.read(); History(sys.argv[1])"
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


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (sample(value=float("nan")), "value is not finite"),
        (sample(spread=float("inf")), "spread is not finite"),
        (sample(value=10**400), "value is not finite"),
        (sample(value=True), "value is no number"),
        (sample(subject="x" * 501), "subject has more than 500 bytes"),
        (sample(subject="\0" * 100), "subject has more than 500 bytes"),
        (sample(id=""), "id is not 1 to 64"),
        (sample(environment=replace(WHERE, load=float("nan"))), "load is not finite"),
        (judged(expected=1), "expected is neither true nor false"),
        (document(body={"a": float("nan")}), "Out of range float values are not JSON compliant"),
        (document(body={"a": {1, 2}}), "body is not JSON"),
        (sample(version=Version([], "")), "can't be kept"),  # type: ignore[arg-type]
        ("a string", "a sample is no str"),
    ],
)
def test_what_cant_be_kept_is_refused_before_anything_is(file: str, wrong: Any, said: str) -> None:
    with History(file) as history:
        with pytest.raises(HarnessError, match=said):
            history.add([sample(), wrong])
        assert history.samples() == []


def changed(**others: Any) -> bytes:
    row = json.loads(line_of(sample())) | others
    return json.dumps({name: value for name, value in row.items() if value is not ...}).encode() + b"\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (line_of(sample())[:-9], "cut off"),
        (line_of(sample())[:-1], "cut off"),
        (b"\n", "is not JSON"),
        (b'{"a": \n', "is not JSON"),
        (b"\xff\xfe\n", "is not UTF-8 from byte 0"),
        (b"[" * 100_000 + b"]" * 100_000 + b"\n", "nested too deeply"),
        (b"[1]\n", "it is no object"),
        (changed(type="user"), "type is none of sample, judged, document"),
        (changed(type=[]), "type is none of"),
        (changed(schema=2), "it is of schema 2, and this harness knows 1"),
        (changed(schema=True), "it is of schema True"),
        (changed(extra=1), "unknown: 'extra'"),
        (changed(**{"\x1b[2J": 1}), r"unknown: '\\x1b\[2J'"),
        (changed(run=...), "missing: 'run'"),
        (changed(value="1"), "value is no number"),
        (changed(value=float("nan")), "NaN is not JSON"),
        (changed(value=0).replace(b'"value": 0', b'"value": 1e999'), "value is not finite"),
        (changed(value=0).replace(b'"value": 0', b'"value": ' + b"1" * 5000), "no record"),
        (changed(metric=METRIC.name), "a metric is no str"),
        (changed(metric={"name": "a b", "unit": "", "better": "lower", "exact": False}), "no metric's name"),
        (changed(metric={"name": "a", "unit": "", "better": "more", "exact": False}), "better is none of lower"),
        (changed(metric={"name": "a", "unit": "", "better": "lower", "exact": 0}), "exact is neither true"),
        (changed(id="../etc"), "id is not"),
        (changed(cell="x" * 10_000), "cell has more than 500 bytes"),
        (changed(cell=None), "cell is no string"),
    ],
)
def test_an_unsound_line_is_named_and_nothing_is_imported(file: str, line: bytes, said: str) -> None:
    whole = b"".join(line_of(sample()) for _ in range(1500))
    with History(file) as history:
        with pytest.raises(HarnessError, match=f"^Line 1501 .*{said}") as raised:
            history.import_(io.BytesIO(whole + line))
        assert raised.value.happened.isprintable() and len(raised.value.happened) < 500
        assert history.samples() == []


def test_a_line_without_an_end_is_not_read_into_memory(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINE_SIZE", 1 << 20)
    with History(file) as history, pytest.raises(HarnessError, match=r"Line 1 has more than 1 MiB\."):
        history.import_(io.BytesIO(b" " * (3 << 20)))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_a_line_says_it_is_a_record_or_is_named(data: st.DataObject) -> None:
    row = json.loads(line_of(data.draw(samples | verdicts | documents)))
    target = data.draw(st.sampled_from([row, *(value for value in row.values() if isinstance(value, dict))]))
    name = data.draw(st.sampled_from(sorted(target)) if target else words)
    target[name] = data.draw(values)
    line = json.dumps(row).encode() + b"\n"
    try:
        (record,) = records_in(io.BytesIO(line))
    except HarnessError as error:
        assert error.happened.startswith("Line 1 ") and error.happened.isprintable()
    else:
        assert list(records_in(io.BytesIO(line_of(record)))) == [record]


def test_numbers_are_compared_where_their_fingerprints_are_equal() -> None:
    exact, noisy = Metric("boot.instructions", "instructions", exact=True), Metric("boot.seconds", "s")

    def same(metric: Metric, **others: Any) -> bool:
        return WHERE.fingerprint(metric) == replace(WHERE, **others).fingerprint(metric)

    assert same(noisy, load=9.0) and same(exact, load=9.0)
    for other in ({"host": "x"}, {"cpu": "x"}, {"cpus": 5}, {"governor": "x"}, {"host_kernel": "x"}):
        assert not same(noisy, **other)
        assert same(exact, **other)
    for other in ({"accelerator": "tcg"}, {"emulator": "QEMU 9.0.0"}):
        assert not same(noisy, **other) and not same(exact, **other)


def test_fingerprints_are_the_same_after_the_history(empty: History) -> None:
    one, other = sample(), sample(environment=replace(WHERE, cpu="another", load=3.0))
    empty.add([one, other])
    kept = {row.id: row for row in empty.samples()}
    assert kept[one.id].series == one.series != other.series == kept[other.id].series


class FakeHost:
    """A host with QEMU 8.1.2."""

    def cpus(self) -> int:
        return 3

    def accelerator(self, arch: str) -> str:
        return {"x86_64": "kvm", "aarch64": "tcg"}[arch]

    def qemu(self, arch: str) -> Any:
        return type("Qemu", (), {"version": (8, 1, 2)})


@pytest.mark.parametrize(
    ("cpuinfo", "cpu"),
    [
        ("processor\t: 0\nmodel name\t: A CPU  @ 2.0 GHz\nflags\t\t: a b\n\nprocessor\t: 1\n", "A CPU  @ 2.0 GHz"),
        ("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n", "0x41 0xd0c"),
        ("", os.uname().machine),
    ],
)
def test_the_environment_is_read_from_this_machine(
    cpuinfo: str, cpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, words in (("CPUINFO", cpuinfo), ("GOVERNOR", "powersave\n")):
        (tmp_path / name).write_text(words)
        monkeypatch.setattr(f"harness.measure.environment.{name}", tmp_path / name)
    host: Any = FakeHost()
    found = environment(host, "x86_64")
    assert (found.cpu, found.cpus, found.governor) == (cpu, 3, "powersave")
    assert (found.accelerator, found.emulator) == ("kvm", "QEMU 8.1.2")
    assert (found.host, found.host_kernel) == (os.uname().nodename, os.uname().release)
    (tmp_path / "GOVERNOR").unlink()
    assert environment(host, "aarch64").governor == "none"
    assert environment(host, "aarch64").accelerator == "tcg"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:secret@127.0.0.1:1/db", "can't be reached"),
        ("postgresql://u:secret@host.invalid/db", "can't be reached"),
        ("postgresql://u:secret@host:port/db", "URL can't be read"),
        ("postgresql://u:a@secret@host/db", "more than one @"),
        ("postgresql:///db?host=/nowhere&password=secret", "can't be reached"),
        ("mysql://u:secret@host/db", "in no other database"),
        ("/proc/nowhere/history.sqlite", "can't be made"),
        ("/proc/version", "can't be locked"),
        (__file__, "no SQLite database"),
        ("/", "can't be opened"),
    ],
)
def test_a_history_that_cant_be_opened_is_an_error_with_a_cure(
    url: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["history", "runs", "--history", url]) == 2
    words = capsys.readouterr().err
    assert said in words.splitlines()[0] and words.splitlines()[1]
    assert "secret" not in words and "Traceback" not in words


def test_a_server_that_refuses_is_an_error_with_a_cure(server: Postgresql) -> None:
    with pytest.raises(HarnessError, match="does not exist"):
        History(server.url("nothing"))
    with pytest.raises(HarnessError, match=r"no password supplied|password authentication failed"):
        History(server.url("postgres", "locked").replace("locked@", "locked:secret@"))
    History(server.new().replace("postgres@", "postgres:unasked@")).close()


def test_another_programs_database_is_left_alone(file: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")
    before = Path(file).read_bytes()
    with pytest.raises(HarnessError, match="is another program's database"):
        History(file)
    assert Path(file).read_bytes() == before


def test_a_full_disk_is_an_error_and_what_was_there_stays(tiny_disk: Path) -> None:
    with History(tiny_disk / "history.sqlite") as history:
        first = sample()
        history.add([first])
        with pytest.raises(HarnessError, match="no space left"):
            history.add(sample() for _ in range(20_000))
        assert history.samples() == [first]
        assert history.add([sample()]) == 1


def test_a_read_only_disk_is_an_error(tiny_disk: Path) -> None:
    path = tiny_disk / "history.sqlite"
    History(path).close()
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(HarnessError, match=r"can't be (opened|written)"), History(path) as history:
        history.add([sample()])
    with pytest.raises(HarnessError, match=r"can't be (opened|written|locked)"):
        History(tiny_disk / "new.sqlite")


def test_a_folder_of_another_user_is_an_error(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    History(tmp_path / "history.sqlite").close()
    tmp_path.chmod(0o700)
    words = (
        "import os, sys; from harness.history.store import History; from harness.errors import HarnessError\n"
        "os.setuid(65534)\n"
        "for name in ('history.sqlite', 'new.sqlite', 'new/history.sqlite'):\n"
        "    try: History(sys.argv[1] + '/' + name)\n"
        "    except HarnessError as error: print(error.happened)\n"
    )
    done = subprocess.run([sys.executable, "-c", words, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.count("can't be opened") + done.stdout.count("can't be made") == 3


def test_the_default_is_a_private_folder_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSV_HARNESS_HISTORY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with History() as history:
        assert history.where == str(tmp_path / "osv-harness/history.sqlite")
    assert (tmp_path / "osv-harness").stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("OSV_HARNESS_HISTORY", str(tmp_path / "named"))
    assert History().where == str(tmp_path / "named")


def test_the_command_shows_text_as_text(
    file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSV_HARNESS_HISTORY", file)
    assert main(["history", "show"]) == main(["history", "runs"]) == 0
    assert "no such samples" in capsys.readouterr().out
    with History(file) as history:
        history.add([sample(subject="\x1b[2J[red]\u202eevil\x07", value=123456789.0, run="[bold]run\n")])
        history.add([sample(version=replace(VERSION, described=""), taken=1e300, value=0.123456789)])
    assert main(["history", "show", "--metric", "boot.*", "--last", "5"]) == main(["history", "runs"]) == 0
    said = capsys.readouterr().out
    assert r"[red]\u202eevil\x07" in said and "123,456,789" in said and "0.123457" in said
    assert "[bold]run" in said and "\x1b" not in said
    for url, told in (
        (file, file),
        ("postgresql://u:secret@host.invalid/db", "postgresql://u:***@host.invalid/db"),
    ):
        assert main(["history", "path", "--history", url]) == 0
        assert capsys.readouterr().out == f"{told}\n"


def test_the_command_merges_two_runners(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runners = [str(tmp_path / name) for name in ("one", "other")]
    exports = [tmp_path / f"{name}.jsonl" for name in ("one", "other")]
    for runner, export in zip(runners, exports, strict=True):
        with History(runner) as history:
            history.add([sample(), judged(), document()])
        assert main(["history", "export", str(export), "--history", runner]) == 0
    team = ["--history", str(tmp_path / "team")]
    capsys.readouterr()
    for counts in ("3 records new, 0 known", "0 records new, 3 known"):
        assert main(["history", "import", *map(str, exports), *team]) == 0
        assert capsys.readouterr().out.count(counts) == 2
    exports[0].write_bytes(exports[0].read_bytes()[:-5])
    assert main(["history", "import", str(exports[0]), *team]) == 2
    assert "one.jsonl: Line 3 is cut off" in capsys.readouterr().err
    assert main(["history", "export", str(tmp_path / "no/where"), *team]) == 2
    assert sorted(path.name for path in tmp_path.glob("*.jsonl*")) == ["one.jsonl", "other.jsonl"]
    assert not list(tmp_path.glob(".*"))
    assert main(["history", "export", *team]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
