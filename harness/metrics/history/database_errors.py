"""Explains the errors of a database: what happened, and what to do about it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from harness.core.errors import HarnessError
from harness.core.text import printable_lines
from harness.metrics.history.url import is_file, shown

ANOTHER_PLACE = "Name another place in OSV_HARNESS_HISTORY, or with --history."

OF_SQLITE = (
    ("SQLITE_NOTADB", "is not a history: it is no SQLite database", ANOTHER_PLACE),
    ("SQLITE_CORRUPT", "is damaged", "Move it away and import an export, or copy a backup there."),
    ("SQLITE_FULL", "can't grow: there is no space left", "Free some space there. Nothing was half written."),
    ("SQLITE_READONLY", "can't be written to", f"Let this user write to the file and its folder. {ANOTHER_PLACE}"),
    ("SQLITE_PERM", "can't be opened", f"Let this user write to the file and its folder. {ANOTHER_PLACE}"),
    ("SQLITE_CANTOPEN", "can't be opened", f"Let this user write to the file and its folder. {ANOTHER_PLACE}"),
    ("SQLITE_BUSY", "was held by another run all the time", "See what runs: `fuser` names who has the file open."),
    ("SQLITE_IOERR", "can't be read or written", "See to its disk: is it full, failing, or a network's?"),
)
"""The error's message and its cure, by the beginning of SQLite's name of the error."""

OF_POSTGRESQL = (
    ("28", "lets this user not in", "Check the user and its password: in the URL, PGPASSWORD or ~/.pgpass."),
    ("3D", "does not exist", "Make it with `createdb`, as a user who may."),
    ("42501", "does not let this user do that", "Grant it; the first to open a new history makes its tables."),
    ("42P07", "has other tables of the same names", "Give the history a database of its own."),
    ("53100", "can't grow: there is no space left", "Free some space on the server. Nothing was half written."),
    ("53300", "has no connection left", "Try again later, or raise max_connections."),
    (
        "55P03",
        "was held by another run all the time",
        "See who: select * from pg_locks where locktype = 'advisory'.",
    ),
    ("57P", "is starting, ending, or went down", "Try again. What was not acknowledged was not kept."),
)
"""The error's message and its cure, by the beginning of the SQLSTATE. Source: PostgreSQL's manual, appendix A."""

WHILE_CONNECTING = (
    ("no password supplied", "28"),
    ("password authentication failed", "28"),
    ("no pg_hba.conf entry", "28"),
    ("does not exist", "3D"),
    ("the database system is", "57P"),
    ("too many clients", "53300"),
)
"""The SQLSTATE by a part of the message, for errors before there is a connection: libpq gives none for them."""


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Raise errors of the database as `HarnessError`, without the password of the URL."""
    try:
        yield
    except DBAPIError as error:
        raise _as_harness_error(url, error.orig or error) from error
    except (sqlite3.Error, psycopg.Error) as error:
        raise _as_harness_error(url, error) from error


def _as_harness_error(url: URL, error: BaseException) -> HarnessError:
    """The error with its cure; one that is not in the tables keeps the database's own message."""
    words = str(error).strip()
    if url.password:
        words = words.replace(str(url.password), "***")
    known, code = (OF_SQLITE, getattr(error, "sqlite_errorname", "")) if is_file(url) else (OF_POSTGRESQL, "")
    if not is_file(url):
        code = getattr(error, "sqlstate", None) or _while_connecting(words)
    for beginning, what, cure in known:
        if code.startswith(beginning):
            return HarnessError(f"The history {shown(url)} {what} ({_first_line(words)}).", cure)
    if not is_file(url) and not code:
        cure = "Check that the server runs and can be reached from here. What was not acknowledged was not kept."
        return HarnessError(f"The history {shown(url)} can't be reached: {_first_line(words)}.", cure)
    return HarnessError(f"The history {shown(url)} failed: {_first_line(words)}.", "Report it with what you did.")


def _while_connecting(words: str) -> str:
    return next((code for part, code in WHILE_CONNECTING if part in words), "")


def _first_line(words: str) -> str:
    """The first line of a server's message, made printable."""
    lines = printable_lines(words) or ["no words"]
    return lines[0][:300].rstrip(".")
