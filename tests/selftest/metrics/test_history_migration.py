"""A history that an earlier harness wrote is read, and goes on: its file, its tables in PostgreSQL, its export."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from history_places import Postgresql, private_postgresql
from history_records import sample
from sqlalchemy import NullPool, create_engine, inspect, text

from harness.metrics.history.engine import MIGRATIONS
from harness.metrics.history.schema import REVISIONS
from harness.metrics.history.store import History, Imported
from harness.metrics.history.url import place
from harness.metrics.records import Commit

HISTORIES = Path(__file__).parents[1] / "data/histories"
OLD = HISTORIES / "step-0001.sql"
"""What `.dump` says of a file that commit e4b2d9a wrote: 73 samples, 24 verdicts, 2 documents."""

EXPORT = HISTORIES / "step-0001.jsonl"
"""The same history's export, in lines of schema 1."""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgresql]:
    with private_postgresql() as server:
        yield server


def _sqlite(path: Path) -> str:
    with sqlite3.connect(path) as connection:
        connection.executescript(OLD.read_text())
    return str(path)


def _postgresql(url: str) -> str:
    """The same rows in tables that the step of then makes; booleans are numbers in the dump."""
    engine = create_engine(place(url), poolclass=NullPool)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        lines = OLD.read_text().splitlines()
        rows = [line for line in lines if line.startswith("INSERT") and REVISIONS not in line]
        flags = {"metrics": ["exact"], "judged": ["expected"]}
        for table, names in flags.items():
            for name in names:
                connection.execute(text(f"ALTER TABLE {table} ALTER {name} TYPE integer USING {name}::integer"))
        order = ("metrics", "versions", "environments", "samples", "judged", "documents")
        for row in sorted(rows, key=lambda row: order.index(row.split('"')[1])):
            connection.exec_driver_sql(row.replace("%", "%%"))
        for table, names in flags.items():
            for name in names:
                connection.execute(text(f"ALTER TABLE {table} ALTER {name} TYPE boolean USING {name} = 1"))
        for table in order:
            key = "id" if table in order[:3] else "seq"
            last = f"(SELECT max({key}) FROM {table})"
            connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{table}', '{key}'), {last})"))
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a history as commit e4b2d9a left it."""
    if request.param == "sqlite":
        return _sqlite(tmp_path / "history.sqlite")
    new: Callable[[], str] = request.getfixturevalue("server").new
    return _postgresql(new())


def test_an_old_history_is_brought_up_to_date_and_goes_on(old: str, tmp_path: Path) -> None:
    engine = create_engine(place(old), poolclass=NullPool)
    assert "commits" not in inspect(engine).get_table_names()
    with History(old) as history, History(str(tmp_path / "other.sqlite")) as other:
        with EXPORT.open("rb") as export:
            assert history.import_(export) == Imported(0, 99)
            export.seek(0)
            assert other.import_(export) == Imported(99, 0)
        assert history.samples() == other.samples()
        assert history.judged() == other.judged() and history.documents() == other.documents()
        assert {(one.procedure, one.version.builder) for one in history.samples()} == {("", "")}
        first = history.samples(metric="boot.wall", cell="osv:x86_64-qemu-ramfs-all")[0]
        again = sample(
            metric=first.metric, version=first.version, environment=first.environment, procedure="memory=1024"
        )
        assert history.add([again, Commit("b", "a")]) == 2 and history.graph() == {"b": ("a",)}
        assert again in history.samples()
    with engine.connect() as connection:
        counts = [connection.scalar(text(f"SELECT count(*) FROM {name}")) for name in ("versions", "environments")]
    assert counts == [25, 2], "what was there is known again, and not kept twice"
