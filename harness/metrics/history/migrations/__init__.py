"""The migrations of Alembic, which bring a history of any age to the newest schema.
`harness.metrics.history.engine` runs them."""
