"""Finds the history: a SQLite file of this user, or a PostgreSQL database of a team."""

import os
from pathlib import Path

import platformdirs
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from harness.core.errors import HarnessError

FILE = "history.sqlite"
POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")
EXAMPLES = "Name a file, or postgresql://user@host/database."
TELLING = ("host", "port", "dbname", "service")
"""The parameters of a URL that are shown, because they say where it leads. Any other may be a secret."""


def place(named: str | Path | None = None) -> URL:
    """The URL of the history that `named` says: a path, `sqlite:///path` or `postgresql://…`.

    Without one, OSV_HARNESS_HISTORY names it, or else it is a file in the user's data folder. Raises
    `HarnessError` for other databases, and for an invalid URL.
    """
    text = str(named or os.environ.get("OSV_HARNESS_HISTORY") or "")
    if not text:
        return _file(platformdirs.user_data_path("osv-harness") / FILE)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _file(Path(text).expanduser())
    if scheme == "sqlite":
        return _file(Path(rest.removeprefix("/") or FILE).expanduser())
    if scheme not in POSTGRESQL:
        raise HarnessError("A history is kept in SQLite or PostgreSQL, in no other database.", EXAMPLES)
    if rest.partition("/")[0].count("@") > 1:
        # What follows the first @ would be taken for the host, and be shown.
        raise HarnessError("The history's URL has more than one @.", "Write an @ of a password as %40.")
    try:
        return make_url(text).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        # `from None`: the library's words may quote a part of the password.
        raise HarnessError("The history's URL can't be read.", EXAMPLES) from None


def shown(url: URL) -> str:
    """The URL for people: a path, or a URL without its password and without parameters that may be secret."""
    if is_file(url):
        return url.database or ""
    telling = {name: value for name, value in url.query.items() if name in TELLING}
    return url.set(drivername="postgresql", password=None, query=telling).render_as_string()


def is_file(url: URL) -> bool:
    """Whether it is a SQLite file."""
    return url.get_backend_name() == "sqlite"


def _file(path: Path) -> URL:
    return URL.create("sqlite", database=str(path.absolute()))
