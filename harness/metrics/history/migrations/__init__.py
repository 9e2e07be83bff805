"""Alembic's: how a history of any age becomes one of today. `harness.metrics.history.engine` runs it."""
