"""The history: everything that was ever measured or tested, kept for ever.
`harness.metrics.history.store.History` is its interface."""
