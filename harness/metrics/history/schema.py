"""The tables of a history, as the newest step of `harness/metrics/history/migrations` leaves them.

What many records share (metric, version, environment) is stored once, by the SHA-256 of its content. The load of
the host differs each time, so it is stored with the record. `seq` is the order in which this history got its
records. Columns that steps 0002 and 0004 added are empty or null in older rows.
"""

import json
import re
from typing import Any

from sqlalchemy import (
    TEXT,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy import text as sql_text
from sqlalchemy.types import TypeEngine

REVISIONS = "history_schema"
"""The table in which Alembic stores which migrations were run."""

_PLAIN = re.compile(r"[ -\[\]-~]*")


class AnyText(TypeDecorator[str]):
    """Any Python string, stored as ASCII: other characters are escaped as in JSON.

    PostgreSQL stores no NUL, neither database stores a lone surrogate, and guests print both. Texts are ordered by
    their bytes.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text without a locale's order."""
        return TEXT(collation="C") if dialect.name == "postgresql" else TEXT()

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The stored form of the text."""
        return escaped(value) if value is not None else None

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """The text of a stored form."""
        return unescaped(value) if value is not None else None


def escaped(text: str) -> str:
    """The stored form of the text. If it has no backslash, it equals the text."""
    return str(text) if _PLAIN.fullmatch(text) else json.dumps(text)[1:-1]


def unescaped(kept: str) -> str:
    """The text of a stored form."""
    if "\\" not in kept:
        return kept
    text: str = json.loads(f'"{kept}"')
    return text


TABLES = MetaData()
_HAS_KEY = sql_text("reuse_key != ''")
_NUMBER = BigInteger().with_variant(Integer, "sqlite")


def _own(name: str) -> Column[int]:
    return Column(name, _NUMBER, Identity(), primary_key=True)


def _text(name: str) -> Column[str]:
    return Column(name, AnyText, nullable=False)


def _later(name: str) -> Column[str]:
    return Column(name, AnyText, nullable=False, server_default="")


def _real(name: str) -> Column[float]:
    return Column(name, Double, nullable=False)


def _one_of(table: str) -> Column[int]:
    return Column(f"{table}_id", _NUMBER, ForeignKey(f"{table}s.id"), nullable=False)


def _content() -> Column[str]:
    return Column("content", AnyText, nullable=False, unique=True)


def _record_id() -> Column[str]:
    return Column("id", AnyText, nullable=False, unique=True)


METRICS = Table(
    "metrics", TABLES, _own("id"), _content(), _text("name"), _text("unit"), _text("better"),
    Column("exact", Boolean, nullable=False),
)  # fmt: skip

VERSIONS = Table(
    "versions", TABLES, _own("id"), _content(), _text("commit"), _text("digest"), _text("described"),
    _real("committed"), _later("builder"),
)  # fmt: skip

ENVIRONMENTS = Table(
    "environments", TABLES, _own("id"), _content(), _text("host"), _text("cpu"),
    Column("cpus", Integer, nullable=False), _text("governor"), _text("accelerator"), _text("emulator"),
    _text("host_kernel"), _later("firmware"),
)  # fmt: skip

PROCEDURES = Table("procedures", TABLES, _own("id"), _content(), _text("facts"))

COMMITS = Table(
    "commits", TABLES, _own("seq"), Column("commit", AnyText, nullable=False, unique=True), _text("parents")
)  # fmt: skip

SAMPLES = Table(
    "samples", TABLES, _own("seq"), _record_id(), _one_of("metric"), _real("value"), _text("cell"),
    _text("subject"), _one_of("version"), _one_of("environment"), _real("load"), _text("run"), _real("taken"),
    _real("spread"), Column("procedure_id", _NUMBER, ForeignKey("procedures.id")),
    Index("samples_series", "metric_id", "cell", "subject"),
    Index("samples_run", "run"),
    Index("samples_taken", "taken"),
)  # fmt: skip

JUDGED = Table(
    "judged", TABLES, _own("seq"), _record_id(), _text("suite"), _text("cell"), _text("test"), _text("outcome"),
    Column("expected", Boolean, nullable=False), _text("reason"), _real("seconds"), _one_of("version"),
    _one_of("environment"), _real("load"), _text("run"), _real("taken"), _later("reuse_key"),
    Index("judged_test", "suite", "cell", "test"),
    Index("judged_run", "run"),
    Index("judged_taken", "taken"),
    Index("judged_name", "test", "seq"),
    Index("judged_reuse_key", "reuse_key", sqlite_where=_HAS_KEY, postgresql_where=_HAS_KEY),
)  # fmt: skip

DOCUMENTS = Table(
    "documents", TABLES, _own("seq"), _record_id(), _text("kind"), _text("cell"), _text("subject"),
    Column("body", Text, nullable=False), _one_of("version"), _text("run"), _real("taken"),
    Index("documents_about", "kind", "cell", "subject"),
    Index("documents_run", "run"),
    Index("documents_taken", "taken"),
)  # fmt: skip

TRIAGE = Table(
    "triage", TABLES, _own("seq"), _record_id(), _text("action"), _text("subject"), _text("identity"),
    _text("author"), _text("note"), Column("body", Text, nullable=False), _real("taken"),
    Index("triage_subject", "subject"),
)  # fmt: skip
