"""Opens a database as a history: makes it durable, and migrates its tables to the newest schema."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from filelock import FileLock
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, inspect

from harness.core.errors import HarnessError
from harness.metrics.history.database_errors import ANOTHER_PLACE
from harness.metrics.history.schema import REVISIONS
from harness.metrics.history.url import is_file, shown

MIGRATIONS = Path(__file__).with_name("migrations")
LOCK_SECONDS = 900
"""How long a writer waits for another one, which may be importing a million samples."""

CACHE_KIB = 128 << 10
"""The most memory of SQLite's cache. It is large because imported records go anywhere into the indexes of ids."""

SORT_MIB = 64
"""The memory of each of PostgreSQL's sorts, beyond which it sorts on the server's disk."""

CONNECT_SECONDS = 10
WRITERS = 0x4F5376  # "OSv": the key of PostgreSQL's lock of all who write to one database's history


def opened(url: URL, lock_seconds: int = LOCK_SECONDS) -> Engine:
    """Open a history and migrate it to the newest schema; it is made if there is none.

    No connection outlives its use, so that a forked process shares none with its parent. Raises `HarnessError` for
    a database that a newer harness or another program made.
    """
    if is_file(url):
        folder = Path(url.database or "").parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise HarnessError(f"The folder {folder} can't be made: {error.strerror}.", ANOTHER_PLACE) from error
        engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": lock_seconds})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        engine = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": CONNECT_SECONDS})
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    with engine.connect() as connection:
        is_newest = _is_newest(connection, script)
    if not is_newest:
        _migrate(engine, config, script)
    return engine


@contextmanager
def writing(engine: Engine, lock_seconds: int = LOCK_SECONDS) -> Iterator[Connection]:
    """A transaction of the only writer. On return it is committed to the disk; after an error it is rolled
    back."""
    with engine.connect() as bare:
        connection = bare.execution_options(writing=True)
        with connection.begin():
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{lock_seconds}s'")
                connection.exec_driver_sql("SET LOCAL synchronous_commit = on")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS})")
            yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection for reading, set up for queries that read all their rows."""
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            # Rows are fetched a few at a time, which the planner takes for a wish to see only the first.
            connection.exec_driver_sql("SET LOCAL cursor_tuple_fraction = 1")
            connection.exec_driver_sql(f"SET LOCAL work_mem = '{SORT_MIB}MB'")
        yield connection


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are ours: Python's sqlite3 would begin some late
    cache = f"cache_size = -{CACHE_KIB}"
    for pragma in ("synchronous = FULL", "foreign_keys = ON", "recursive_triggers = ON", cache):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Begin a transaction; a writer takes the lock at once, because one that has read first may be refused
    without a wait."""
    writes: Any = connection.get_execution_options().get("writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _is_newest(connection: Connection, script: ScriptDirectory) -> bool:
    """Whether the schema is the newest. Raises `HarnessError` if it can't be migrated."""
    context = MigrationContext.configure(connection, opts={"version_table": REVISIONS})
    revision, head = context.get_current_revision(), script.get_current_head()
    url = connection.engine.url
    if revision is None:
        if is_file(url) and inspect(connection).get_table_names():
            raise HarnessError(f"{shown(url)} is not a history: it is another program's database.", ANOTHER_PLACE)
    elif revision not in {step.revision for step in script.walk_revisions()}:
        raise HarnessError(
            f"The history {shown(url)} was made by a newer harness: its tables are of step {revision}, "
            f"and this harness knows them up to {head}.",
            "Update this harness. An export of the newer one can't be imported here either.",
        )
    return revision == head


def _migrate(engine: Engine, config: Config, script: ScriptDirectory) -> None:
    """Run the missing migrations, all or none. If two processes try, one does it, and the other then finds it
    done."""
    if not is_file(engine.url):
        _migrate_in_turn(engine, config, script)
        return
    path = str(engine.url.database)
    try:
        Path(f"{path}.lock").touch()  # FileLock waits where it can't make the file
        with FileLock(f"{path}.lock", timeout=LOCK_SECONDS):
            with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as plain:
                # Kept in the file, and set in no transaction; two that set it at once could be refused.
                plain.execute("PRAGMA journal_mode = WAL")
            _migrate_in_turn(engine, config, script)
    except OSError as error:
        raise HarnessError(
            f"{path}.lock can't be locked: {error.strerror or 'another run holds it'}.", ANOTHER_PLACE
        ) from error


def _migrate_in_turn(engine: Engine, config: Config, script: ScriptDirectory) -> None:
    with writing(engine) as connection:
        if not _is_newest(connection, script):
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
