"""Under which key a verdict may be reused: what decided it. Older verdicts have none.

Most rows of a history have an empty key, so the index covers the others alone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and its index; not one row is changed, so the triggers stay as they are."""
    collation = 'COLLATE "C"' if op.get_bind().dialect.name == "postgresql" else ""
    op.execute(f"ALTER TABLE judged ADD COLUMN reuse_key TEXT {collation} NOT NULL DEFAULT ''")
    given = sa.text("reuse_key != ''")
    op.create_index("judged_reuse_key", "judged", ["reuse_key"], sqlite_where=given, postgresql_where=given)
