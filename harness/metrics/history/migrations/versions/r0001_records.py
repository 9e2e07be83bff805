"""Metrics, versions, environments; samples, verdicts, documents; and triggers that let nobody change any."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision: str | None = None
branch_labels = None
depends_on = None

PARTS = ("metrics", "versions", "environments")
RECORDS = ("samples", "judged", "documents")
REFUSAL = "the history is append-only"


def upgrade() -> None:
    """Make the tables, then the triggers."""
    real: sa.Double[float] = sa.Double()
    flag = sa.Boolean()
    _part("metrics", *_texts("name", "unit", "better"), _must("exact", flag))
    _part("versions", *_texts("commit", "digest", "described"), _must("committed", real))
    _part(
        "environments", *_texts("host", "cpu"), _must("cpus", sa.Integer()),
        *_texts("governor", "accelerator", "emulator", "host_kernel"),
    )  # fmt: skip
    _record(
        "samples", _one_of("metric"), _must("value", real), *_texts("cell", "subject"), _one_of("version"),
        _one_of("environment"), _must("load", real), *_texts("run"), _must("taken", real), _must("spread", real),
    )  # fmt: skip
    _record(
        "judged", *_texts("suite", "cell", "test", "outcome"), _must("expected", flag), *_texts("reason"),
        _must("seconds", real), _one_of("version"), _one_of("environment"), _must("load", real), *_texts("run"),
        _must("taken", real),
    )  # fmt: skip
    _record(
        "documents", *_texts("kind", "cell", "subject"), _must("body", sa.Text()), _one_of("version"),
        *_texts("run"), _must("taken", real),
    )  # fmt: skip
    op.create_index("samples_series", "samples", ["metric_id", "cell", "subject"])
    op.create_index("judged_test", "judged", ["suite", "cell", "test"])
    op.create_index("documents_about", "documents", ["kind", "cell", "subject"])
    if _is_postgresql():
        op.execute(
            "CREATE FUNCTION history_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$"
        )
    for table in (*PARTS, *RECORDS):
        _keep(table)


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _keep(table: str) -> None:
    """Let rows of the table be added only."""
    if _is_postgresql():
        act = "EXECUTE FUNCTION history_is_append_only()"
        op.execute(f"CREATE TRIGGER {table}_kept BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW {act}")
        op.execute(f"CREATE TRIGGER {table}_kept_all BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {act}")
        return
    for verb in ("UPDATE", "DELETE"):
        body = f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        op.execute(f"CREATE TRIGGER {table}_kept_{verb.lower()} BEFORE {verb} ON {table} {body}")


def _part(table: str, *columns: SchemaItem) -> None:
    """A table of what records share, each known by its content."""
    op.create_table(table, _own("id"), *_texts("content"), *columns, sa.UniqueConstraint("content"))


def _record(table: str, *columns: SchemaItem) -> None:
    op.create_table(table, _own("seq"), *_texts("id"), *columns, sa.UniqueConstraint("id"))
    op.create_index(f"{table}_run", table, ["run"])
    op.create_index(f"{table}_taken", table, ["taken"])


def _number() -> sa.BigInteger:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _own(name: str) -> sa.Column[int]:
    return sa.Column(name, _number(), sa.Identity(), primary_key=True)


def _must(name: str, type_: TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, type_, nullable=False)


def _texts(*names: str) -> list[sa.Column[str]]:
    collation = "C" if _is_postgresql() else None
    return [sa.Column(name, sa.Text(collation=collation), nullable=False) for name in names]


def _one_of(part: str) -> sa.Column[int]:
    return sa.Column(f"{part}_id", _number(), sa.ForeignKey(f"{part}s.id"), nullable=False)
