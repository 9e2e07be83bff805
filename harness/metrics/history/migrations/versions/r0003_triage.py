"""What people decide of failures: acknowledged, assigned, to be run again. And in PostgreSQL, who waits is told.

Whoever listens to the channel `osv_harness_history` is told of every commit that has added a record.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels = None
depends_on = None

REFUSAL = "the history is append-only"
CHANNEL = "osv_harness_history"
RECORDS = ("samples", "judged", "documents", "commits", "triage")


def upgrade() -> None:
    """Make the table, its triggers, and those that tell."""
    op.create_table(
        "triage", _own("seq"), *_texts("id", "action", "subject", "identity", "author", "note"),
        sa.Column("body", sa.Text(), nullable=False), sa.Column("taken", sa.Double(), nullable=False),
        sa.UniqueConstraint("id"),
    )  # fmt: skip
    op.create_index("triage_subject", "triage", ["subject"])
    op.create_index("judged_name", "judged", ["test", "seq"])
    _keep("triage")
    if _is_postgresql():
        body = f"$$ BEGIN PERFORM pg_notify('{CHANNEL}', ''); RETURN NULL; END $$"
        op.execute(f"CREATE FUNCTION history_has_grown() RETURNS trigger LANGUAGE plpgsql AS {body}")
        for table in RECORDS:
            act = "FOR EACH STATEMENT EXECUTE FUNCTION history_has_grown()"
            op.execute(f"CREATE TRIGGER {table}_told AFTER INSERT ON {table} {act}")


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


def _own(name: str) -> sa.Column[int]:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, number, sa.Identity(), primary_key=True)


def _texts(*names: str) -> list[sa.Column[str]]:
    collation = "C" if _is_postgresql() else None
    return [sa.Column(name, sa.Text(collation=collation), nullable=False) for name in names]
