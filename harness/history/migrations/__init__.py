"""Alembic's: how a history of any age becomes one of today. `harness.history.opening` runs it."""
