"""Alembic's environment: runs the migrations on the connection, and in the transaction, that it was given."""

from alembic import context

from harness.metrics.history.schema import REVISIONS, TABLES

context.configure(
    connection=context.config.attributes["connection"], target_metadata=TABLES, version_table=REVISIONS
)
with context.begin_transaction():
    context.run_migrations()
