"""The migrations, oldest first. A published one is never changed, and never uses
`harness.metrics.history.schema`."""
