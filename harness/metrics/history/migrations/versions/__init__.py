"""The steps, oldest first. A step that was published is never changed, and never uses
`harness.metrics.history.schema`."""
