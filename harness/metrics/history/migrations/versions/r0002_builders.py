"""What built a version, what boots it, how a number was measured; and the commits that order versions.

What was recorded before says nothing of them: those columns are empty, and the procedure of a sample is null.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels = None
depends_on = None

REFUSAL = "the history is append-only"


def upgrade() -> None:
    """Add columns and tables; not one row is changed, so the triggers stay as they are."""
    number = "BIGINT" if _is_postgresql() else "INTEGER"
    for table, name in (("versions", "builder"), ("environments", "firmware")):
        op.execute(f"ALTER TABLE {table} ADD COLUMN {name} TEXT {_collation()} NOT NULL DEFAULT ''")
    op.create_table("procedures", _own("id"), *_texts("content", "facts"), sa.UniqueConstraint("content"))
    op.create_table("commits", _own("seq"), *_texts("commit", "parents"), sa.UniqueConstraint("commit"))
    op.execute(f"ALTER TABLE samples ADD COLUMN procedure_id {number} REFERENCES procedures (id)")
    for table in ("procedures", "commits"):
        _keep(table)


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _collation() -> str:
    return 'COLLATE "C"' if _is_postgresql() else ""


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
